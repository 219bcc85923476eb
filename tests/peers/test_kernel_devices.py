# SPDX-License-Identifier: BSD-3-Clause
"""Devices of a kernel through VFIO and UIO, in a Linux guest with a virtual IOMMU: one boot, QEMU's vmxnet3.

The program in the guest is support/kernel_device.py; the other end of the wire is a virtio NIC of the guest's kernel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.guest import Guest, require_guest, write_initramfs
from support.guest_python import python_files, run_in_guest

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]  # an emulated CPU on a busy machine

MODULES = ("virtio_pci", "virtio_net", "vmxnet3", "vfio_pci", "vfio_iommu_type1", "uio_pci_generic")
NIC, FAR, BEHIND_PORT = "0000:00:03.0", "0000:00:04.0", "0000:01:00.0"
WITH_LEVEL, WITH_PORTS = "0000:00:06.0", "0000:00:07.0"
MACHINE = [
    *("-cpu", "max"),  # numpy wants more than the oldest
    *("-device", "intel-iommu,intremap=on,caching-mode=on"),
    *("-netdev", "hubport,id=h0,hubid=0", "-device", "vmxnet3,netdev=h0,addr=3,romfile=,mac=52:54:00:11:22:33"),
    *("-netdev", "hubport,id=h1,hubid=0"),
    *("-device", "virtio-net-pci,netdev=h1,addr=4,disable-legacy=on,iommu_platform=on,romfile="),
    *("-device", "pcie-root-port,id=slot5,addr=5,chassis=1"),
    *("-netdev", "hubport,id=h2,hubid=0"),
    *("-device", "vmxnet3,netdev=h2,bus=slot5,romfile=,mac=52:54:00:11:22:33"),
    *("-device", "e1000,addr=6,romfile=", "-device", "e1000e,addr=7,romfile="),  # the guest has no driver for them
]
SUPPORT = Path(__file__).parents[1]
PROGRAM = "/tests/support/kernel_device.py"
IMPORTS = """
import os
os.environ["NUMBA_DISABLE_JIT"] = "1"
import json, runpy, select, socket, struct, threading
import pollmode.bus_pci.kernel
from pollmode.eal.environment import Environment
Environment.start(["--in-memory", "--no-huge", "-m", "16", "--no-telemetry", "--log-level=error", "-l", "0"]).close()
"""
BIND = """
echo {driver} > /sys/bus/pci/devices/{address}/driver_override
[ ! -e /sys/bus/pci/devices/{address}/driver ] || echo {address} > /sys/bus/pci/devices/{address}/driver/unbind
echo {address} > /sys/bus/pci/drivers_probe
"""


class Machine:
    """The guest and its programs."""

    def __init__(self, guest: Guest, interface: str) -> None:
        self.guest = guest
        self.interface = interface

    def bind(self, address: str, driver: str) -> None:
        """Hand a device to a driver."""
        self.guest.run("; ".join(BIND.format(address=address, driver=driver).strip().splitlines()))

    def without_iommu(self, address: str) -> None:
        """Have the IOMMU leave a device's addresses as they are, as iommu=pt does: UIO needs that."""
        folder = f"/sys/bus/pci/devices/{address}"
        self.guest.run(f"[ ! -e {folder}/driver ] || echo {address} > {folder}/driver/unbind")
        self.guest.run(f"echo identity > {folder}/iommu_group/type")

    def tell(self, what: str, address: str, words: str) -> Any:
        """Run the program in the guest and return what it saw."""
        code, printed, errors = run_in_guest(self.guest, f"{PROGRAM} {what} {address} {self.interface} {words}")
        assert code == 0, f"{printed}\n{errors}"
        return json.loads(printed.splitlines()[-1])

    def faults(self) -> int:
        """Return how often the IOMMU refused a device since the start."""
        return int(self.guest.run("dmesg | grep -c 'DMAR:.*fault' || true"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    require_guest()
    start, files = python_files(IMPORTS)
    for name in ("support/kernel_device.py", "bus_pci/wire.py"):
        files[f"tests/{name}"] = (SUPPORT / name).read_bytes()
    initramfs = write_initramfs(tmp_path_factory.mktemp("guest"), modules=MODULES, files=files)
    guest = Guest(initramfs, options=MACHINE, memory=640, append="intel_iommu=on loglevel=1")
    try:
        guest.wait_for_boot()
        guest.run(start)
        interface = guest.run(f"basename $(find /sys/bus/pci/devices/{FAR}/ -path '*/net/*' | head -1)").strip()
        guest.run(f"ip link set {interface} up promisc on; echo 16 > /proc/sys/vm/nr_hugepages")
        yield Machine(guest, interface)
    finally:
        guest.close()


ORDINARY, HUGE = "--no-huge -m 16", "-m 16"


def test_vfio_maps_the_registers_and_has_the_vectors(machine: Machine) -> None:
    machine.bind(NIC, "vfio-pci")
    bars = {"0": [4096, True, False], "1": [4096, True, False], "2": [8192, True, False]}
    assert machine.tell("describe", NIC, ORDINARY) == {"id": "15ad:07b0", "bars": bars, "interrupts": 25, "revision": 1}


def test_vfio_moves_frames_and_raises_message_interrupts(machine: Machine) -> None:
    machine.bind(NIC, "vfio-pci")
    saw = machine.tell("exchange", NIC, ORDINARY)
    assert saw == {"iova": "va", "rounds": [[True] * 4] * 2, "reset": False}
    assert machine.faults() == 0


def test_memory_that_was_freed_is_out_of_the_devices_reach(machine: Machine) -> None:
    machine.bind(NIC, "vfio-pci")
    before = machine.faults()
    machine.tell("stray", NIC, ORDINARY)
    assert machine.faults() > before


def test_vfio_with_hugepages_and_a_function_that_can_be_reset(machine: Machine) -> None:
    machine.bind(BEHIND_PORT, "vfio-pci")
    saw = machine.tell("exchange", BEHIND_PORT, HUGE)
    assert saw == {"iova": "va", "rounds": [[True] * 4] * 2, "reset": True}
    assert machine.tell("exchange", BEHIND_PORT, f"{HUGE} --iova-mode pa")["iova"] == "pa"


def test_uio_moves_frames_and_raises_its_interrupt(machine: Machine) -> None:
    machine.without_iommu(NIC)
    machine.bind(NIC, "uio_pci_generic")
    bars = {"0": [4096, True, False], "1": [4096, True, False], "2": [8192, True, False]}
    assert machine.tell("describe", NIC, HUGE) == {"id": "15ad:07b0", "bars": bars, "interrupts": 1, "revision": 1}
    before = machine.faults()
    saw = machine.tell("exchange", NIC, HUGE)
    assert saw == {"iova": "pa", "rounds": [[True] * 4] * 2, "reset": False}
    assert machine.faults() == before


def test_uio_needs_memory_that_stays_where_it_is(machine: Machine) -> None:
    machine.without_iommu(NIC)
    machine.bind(NIC, "uio_pci_generic")
    words = f"{PROGRAM} describe {NIC} {machine.interface} {ORDINARY}"
    code, _, errors = run_in_guest(machine.guest, words)
    assert code != 0
    assert "devices that use physical addresses need hugepages" in errors


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic"])
def test_ports_are_reached_through_a_file(machine: Machine, driver: str) -> None:
    machine.without_iommu(WITH_PORTS)
    machine.bind(WITH_PORTS, driver)
    assert machine.tell("ports", WITH_PORTS, HUGE) == {"port": True, "mapped": 0, "same": True, "rung": 0x1234}


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic"])
def test_a_level_is_an_interrupt_that_can_be_held_back(machine: Machine, driver: str) -> None:
    machine.without_iommu(WITH_LEVEL)
    machine.bind(WITH_LEVEL, driver)
    assert machine.tell("level", WITH_LEVEL, HUGE) == {"counts": [1, 0, 1], "quiet": True, "left": 0}


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic"])
def test_a_device_that_the_kernel_takes_away_is_gone(machine: Machine, driver: str) -> None:
    machine.bind(BEHIND_PORT, driver)
    saw = machine.tell("unplug", BEHIND_PORT, HUGE)
    assert saw == {"heard": True, "gone": True, "answer": 0xFFFFFFFF, "there": False}
    machine.guest.run("echo 1 > /sys/bus/pci/rescan")
    machine.guest.run(f"test -e /sys/bus/pci/devices/{BEHIND_PORT}")
