# SPDX-License-Identifier: BSD-3-Clause
"""The PCI bus, names, modules and kinds, on a machine made of files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pollmode.host_report.kernel_modules import DeviceModules, builtin, driver_there, passthrough_drivers
from pollmode.host_report.pci_devices import KINDS, PciDevice, has_iommu, names_of, pci_devices
from pollmode.host_report.testing import FakeHost
from pollmode.host_report.testing_kernel import FakeKernel

MODULES = "/lib/modules/6.12.0"


@pytest.fixture
def machine(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path)


def test_a_device_as_sysfs_tells_it(machine: FakeKernel) -> None:
    machine.add_pci("0000:03:00.0", "8086:1528", "0x020000", "ixgbe", "eth2", node=1, group="21")
    assert pci_devices(machine) == [
        PciDevice(
            "0000:03:00.0",
            "8086:1528",
            "020000",
            "ixgbe",
            ("eth2",),
            1,
            "21",
            "pci:v00008086d00001528sv00000000sd00000000bc02sc00i00",
        )
    ]


def test_a_folder_without_files_is_a_device_of_no_kind(machine: FakeKernel) -> None:
    machine.folder("/sys/bus/pci/devices/0000:03:00.0")
    assert pci_devices(machine) == [PciDevice("0000:03:00.0", "0000:0000", "000000")]
    assert not any(pci_devices(machine, kind) for kind in KINDS)


def test_what_stands_below_a_bridge_is_not_the_bridges(machine: FakeKernel) -> None:
    machine.add_pci("0000:00:1c.0", "8086:8c10", "0x060400", "pcieport")
    machine.folder("/sys/bus/pci/devices/0000:00:1c.0/0000:03:00.0/net/eth2")
    assert pci_devices(machine)[0].interfaces == ()


@pytest.mark.parametrize(
    ("ids", "code", "kinds"),
    [
        ("8086:1528", "020000", {"net"}),
        ("1af4:1110", "050000", {"net"}),
        ("1af4:1111", "050000", set()),
        ("8086:0b30", "120000", {"net", "baseband"}),
        ("1172:0b30", "120000", {"baseband"}),
        ("177d:a037", "120000", {"baseband", "compress"}),
        ("8086:0435", "0b4000", {"crypto"}),
        ("8086:2714", "0b4000", {"crypto", "event"}),
        ("1002:0435", "0b4000", set()),
        ("177d:a0f0", "080000", {"misc"}),
        ("177d:a092", "080000", {"ml"}),
        ("19e5:a122", "088000", {"dma"}),
        ("1af4:1001", "010000", {"misc"}),
        ("8086:347e", "068000", {"misc"}),
    ],
)
def test_kinds(ids: str, code: str, kinds: set[str]) -> None:
    device = PciDevice("0000:03:00.0", ids, code)
    assert {kind for kind in KINDS if device.is_a(kind)} == kinds


def test_names_come_from_the_list_of_the_distribution(machine: FakeKernel) -> None:
    devices = [PciDevice("0000:03:00.0", ids, "020000") for ids in ("8086:1528", "8086:ffff", "ffff:1528")]
    assert set(names_of(machine, devices).values()) == {"Device"}
    machine.write(
        "/usr/share/hwdata/pci.ids", "# a comment\n8086  Intel\n\t1528  X540 [dual]\n\t\t8086 ffff  Sub\nC 02  Net"
    )
    assert names_of(machine, devices) == {"8086:1528": "X540 [dual]", "8086:ffff": "Device", "ffff:1528": "Device"}


def test_a_list_that_is_not_text_names_nothing(machine: FakeKernel) -> None:
    machine.folder("/usr/share/misc")
    machine.at("/usr/share/misc/pci.ids").write_bytes(gzip.compress(b"8086  Intel\n\t1528  X540\n"))
    assert names_of(machine, [PciDevice("0000:03:00.0", "8086:1528", "020000")]) == {"8086:1528": "Device"}


def test_drivers_loaded_and_built_in(host: FakeHost) -> None:
    host.remove("/sys/module/vfio_pci")
    assert passthrough_drivers(host) == []
    host.folder("/sys/module/uio_pci_generic")
    host.write(f"{MODULES}/modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko\nkernel/fs/ext4/ext4.ko")
    assert builtin(host) == {"vfio_pci", "ext4"}
    assert passthrough_drivers(host) == ["vfio-pci", "uio_pci_generic"]
    host.folder("/sys/bus/pci/drivers/LiquidIO")
    assert [driver_there(host, name) for name in ("LiquidIO", "liquidio", "ext4")] == [True, False, True]


def test_modules_by_alias(host: FakeHost) -> None:
    alias = "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00"
    assert DeviceModules(host).of(alias) == ""
    host.write(
        f"{MODULES}/modules.builtin.modinfo", "virtio_pci.license=GPL\0virtio_pci.alias=pci:v00001AF4d*sv*sd*bc*sc*i*"
    )
    assert DeviceModules(host).of(alias) == "virtio_pci"
    host.write(
        f"{MODULES}/modules.alias", "alias pci:v*d*sv*sd*bc02sc00i* generic\nalias pci:v000015ADd*sv*sd*bc*sc*i* vmw"
    )
    assert DeviceModules(host).of(alias) == "generic"
    assert DeviceModules(host).of(alias.replace("bc02", "bc01")) == "virtio_pci"
    assert DeviceModules(host).of("") == ""


def test_an_iommu_is_seen_in_its_class(machine: FakeKernel) -> None:
    assert not has_iommu(machine)
    machine.folder("/sys/class/iommu/dmar0")
    assert has_iommu(machine)


def test_a_program_that_fails_says_why_in_a_line(host: FakeHost) -> None:
    assert host.run(["true"]) == ""
    assert host.run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"]) == "one two"
    assert host.run(["sh", "-c", "exit 3"]) == "exit code 3"
    assert host.run(["no-such-program-here"]) == "no-such-program-here: No such file or directory"


def test_a_file_of_the_kernel_must_be_there_to_be_written(host: FakeHost) -> None:
    with pytest.raises(FileNotFoundError):
        host.put("/sys/bus/pci/drivers/none/bind", "x")
    assert not host.exists("/sys/bus/pci/drivers/none")
