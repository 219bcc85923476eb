# SPDX-License-Identifier: BSD-3-Clause
"""What is shown: kinds, blocks, columns. tests/peers holds the same against DPDK's tool."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pci_machine import FREE, made_machine

from pollmode.devbind import cli
from pollmode.devbind.inventory import Inventory
from pollmode.devbind.status import status
from pollmode.host_report.pci_devices import KINDS
from pollmode.host_report.testing_kernel import FakeKernel


def test_network_devices_in_three_blocks(host: FakeKernel, run) -> None:
    host.routed.add("eth2")
    assert run("--status-dev", "net") == (
        0,
        [
            "",
            "Network devices using DPDK-compatible driver",
            "============================================",
            "0000:04:00.0 '82599ES 10-Gigabit SFI/SFP+ Network Connection 10fb' numa_node=1 drv=vfio-pci"
            " unused=uio_pci_generic",
            "0000:06:00.0 'Device 1110' numa_node=1 drv=uio_pci_generic unused=virtio_pci,vfio-pci",
            "",
            "Network devices using kernel driver",
            "===================================",
            "0000:00:03.0 'Virtio 1.0 network device 1041' numa_node=0 if=ens3 drv=virtio-pci"
            " unused=virtio_pci,vfio-pci,uio_pci_generic ",
            "0000:03:00.0 'Ethernet Controller 10-Gigabit X540-AT2 1528' numa_node=0 if=eth2 drv=ixgbe"
            " unused=vfio-pci,uio_pci_generic *Active*",
            "0000:03:00.1 'Ethernet Controller 10-Gigabit X540-AT2 1528' numa_node=0 if=eth3 drv=ixgbe"
            " unused=vfio-pci,uio_pci_generic ",
            "0000:09:00.0 'Device 0b30' numa_node=1 if= drv=dfl-pci unused=vfio-pci,uio_pci_generic ",
            "",
            "Other Network devices",
            "=====================",
            "0000:05:00.0 'VMXNET3 Ethernet Controller 07b0' numa_node=1 unused=vmxnet3,vfio-pci,uio_pci_generic",
            "0000:0a:00.0 'Device ef01' numa_node=0 unused=vfio-pci,uio_pci_generic",
        ],
        [],
    )


def test_one_device_without_a_node_takes_the_column_from_its_kind(tmp_path: Path) -> None:
    inventory = Inventory(made_machine(tmp_path, net_nodes=False))
    assert not any("numa_node" in line for line in status(inventory, ["net"]))
    assert all("numa_node=0" in line for line in status(inventory, ["crypto"]) if line.startswith("0"))


def test_all_kinds_stand_in_dpdks_order(run) -> None:
    code, lines, errors = run("--status")
    assert (code, errors) == (0, [])
    heads = [line for above, line, below in zip(lines, lines[1:], lines[2:], strict=False) if not above and below]
    assert heads[3:] == [
        "Baseband devices using kernel driver",
        "Crypto devices using kernel driver",
        "DMA devices using kernel driver",
        "No 'Eventdev' devices detected",
        "No 'Mempool' devices detected",
        "No 'Compress' devices detected",
        "Misc (rawdev) devices using kernel driver",
        "No 'Regex' devices detected",
        "ML devices using DPDK-compatible driver",
    ]
    assert lines[lines.index("No 'Mempool' devices detected") + 1] == "=" * len("No 'Mempool' devices detected")
    shown = {line.split()[0] for line in lines if line[:1] == "0"}
    assert not shown & {"0000:00:00.0", "0000:00:1f.2", "0000:02:00.0", "0001:01:00.0"}  # of no kind that is known


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_is_its_part_of_all(host: FakeKernel, kind: str) -> None:
    inventory = Inventory(host)
    alone, everything = list(status(inventory, [kind])), list(status(inventory, KINDS))
    start = everything.index(alone[1]) - 1
    assert everything[start : start + len(alone)] == alone


def test_of_several_modules_the_last_is_shown(host: FakeKernel) -> None:
    modules = f"/lib/modules/{host.system[1]}/modules.alias"
    host.replace(modules, "alias pci:v000015AD", "alias pci:v000015ADd*sv*sd*bc*sc*i* first\nalias pci:v000015AD")
    assert Inventory(host).entries[FREE].unused == ("vmxnet3", "vfio-pci", "uio_pci_generic")


def test_a_machine_without_lists_and_modules_shows_the_ids(host: FakeKernel, run) -> None:
    host.remove("/usr")
    host.remove("/lib")
    for name in ("vfio_pci", "uio_pci_generic"):
        host.remove(f"/sys/module/{name}")
    for name in ("vfio-pci", "uio_pci_generic"):
        host.remove(f"/sys/bus/pci/drivers/{name}")
    _, lines, errors = run("--status-dev", "net")
    assert "0000:05:00.0 'Device 07b0' numa_node=1 unused=" in lines
    assert errors == []
    assert "0000:04:00.0 'Device 10fb' numa_node=1 if= drv=vfio-pci unused= " in lines  # nobody can use it now


def test_a_machine_without_a_pci_bus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-s"], FakeKernel(tmp_path)) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("No")]
    assert heads == [f"No '{name}' devices detected" for name in KINDS.values()]


def test_junk_in_sysfs_is_shown_and_ends_nothing(host: FakeKernel, run) -> None:
    for name in ("vendor", "device", "numa_node", "modalias"):
        host.at(f"/sys/bus/pci/devices/{FREE}/{name}").write_bytes(b"\xff[junk]*\0\n")
    code, lines, errors = run("--status-dev", "net")
    assert (code, errors) == (0, [])
    assert "0000:05:00.0 'Device 0000' unused=vfio-pci,uio_pci_generic" in lines
