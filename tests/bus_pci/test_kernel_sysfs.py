# SPDX-License-Identifier: BSD-3-Clause
"""What a made-up sysfs says of devices: ids, BARs, who has them, and why they cannot be taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollmode.bus_pci import PciAddress, PciBus, PciId, Registry
from pollmode.bus_pci.kernel import KernelHost
from pollmode.bus_pci.kernel.reasons import why_not
from pollmode.bus_pci.kernel.sysfs import Resource, SysfsDevice, devices
from pollmode.bus_pci.kernel.uevents import removed_address
from pollmode.eal.environment import Environment
from pollmode.eal.errors import UnsupportedError
from pollmode.ethdev import Ports

RESOURCES = """\
0x00000000febf0000 0x00000000febf0fff 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x000000000000c000 0x000000000000c01f 0x0000000000040101
0x000000000000zzzz 0x000000000000c01f 0x0000000000040101
"""

Make = Callable[..., SysfsDevice]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make devices below a folder that SYSFS_PCI_DEVICES names."""
    monkeypatch.setenv("SYSFS_PCI_DEVICES", str(tmp_path / "devices"))

    def made(address: str, driver: str = "", group: str = "", net: str = "", **files: str) -> SysfsDevice:
        folder = tmp_path / "devices" / address
        folder.mkdir(parents=True)
        words = {"vendor": "0x15ad", "device": "0x07b0", "class": "0x020000", "resource": RESOURCES, **files}
        for name, text in words.items():
            (folder / name).write_text(f"{text}\n")
        for name, target in (("driver", driver), ("iommu_group", group)):
            if target:
                (folder / name).symlink_to(f"/somewhere/{target}")
        if net:
            (folder / "net" / net).mkdir(parents=True)
        return SysfsDevice(PciAddress.parse(address), folder)

    return made


def test_devices_are_listed_by_address_with_their_ids(make: Make, tmp_path: Path) -> None:
    make("0000:0a:00.0", subsystem_vendor="0x15ad", subsystem_device="0x0001", numa_node="1")
    make("0000:03:00.0", device="broken")
    (tmp_path / "devices" / "not-a-device").mkdir()
    first, second = devices()
    assert [str(device.address) for device in (first, second)] == ["0000:03:00.0", "0000:0a:00.0"]
    assert second.id == PciId(0x15AD, 0x07B0, 0x15AD, 1, 0x020000)
    assert (first.id.device, first.numa_node, second.numa_node) == (0, -1, 1)


def test_bars_are_read_and_lines_that_make_no_sense_are_not(make: Make) -> None:
    found = make("0000:03:00.0").resources()
    assert found == {0: Resource(0xFEBF0000, 0x1000, False), 2: Resource(0xC000, 0x20, True)}


def test_a_machine_without_pci_has_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSFS_PCI_DEVICES", str(tmp_path / "nothing"))
    assert list(devices()) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"driver": "vmxnet3"}, "the kernel's driver vmxnet3 has it; run: sudo pollmode-devbind --bind vfio-pci 0000:"),
        ({}, "no driver has it that hands it to a program; run: sudo pollmode-devbind --bind vfio-pci 0000:03:00.0"),
        ({"driver": "vfio-pci"}, "vfio-pci has it and it is in no IOMMU group"),
        ({"driver": "vfio-pci", "group": "77777"}, "/dev/vfio/77777 is not there"),
        ({"driver": "uio_pci_generic"}, "uio_pci_generic has it and made no /dev/uio for it"),
    ],
)
def test_each_device_says_why_it_cannot_be_opened(make: Make, settings: dict[str, str], told: str) -> None:
    assert why_not(make("0000:03:00.0", **settings)).startswith(told)


def test_a_group_that_is_anothers_is_named_with_the_way_out(make: Make, tmp_path: Path) -> None:
    node = tmp_path / "dev/vfio/7"
    node.parent.mkdir(parents=True)
    node.touch()
    device = make("0000:03:00.0", driver="vfio-pci", group="7")
    assert why_not(device, tmp_path) == ""
    if os.geteuid():
        node.chmod(0)
        assert why_not(device, tmp_path) == f"{node} is not yours to open; run: sudo chown $(id -u) {node}"


@pytest.fixture
def bus() -> Iterator[PciBus]:
    words = ["--in-memory", "--no-huge", "-m", "64", "-l", "0", "--log-level=bus.pci:critical"]
    with Environment.start(words) as environment:
        ports = Ports(environment)
        yield PciBus(environment, ports, Registry([]))
        ports.close()


def test_the_bus_tells_of_each_device_why_it_is_none_of_its_ports(make: Make, bus: PciBus) -> None:
    make("0000:03:00.0", driver="vmxnet3", net="eth7")
    assert bus.probe_all() == []
    assert list(bus.reasons.values()) == ["no driver for 15ad:07b0; the drivers are none"]
    (found,) = bus.host.scan()
    assert found.told == "vmxnet3, interface eth7"
    assert isinstance(bus.host, KernelHost)
    with pytest.raises(UnsupportedError, match="no driver for 15ad:07b0"):
        bus.attach("0000:03:00.0")


@pytest.mark.parametrize(
    ("message", "address"),
    [
        (b"remove@/devices/pci0000:00/x\0ACTION=remove\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:03:00.0\0", "0000:03:00.0"),
        (b"ACTION=add\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:03:00.0\0", None),
        (b"ACTION=remove\0SUBSYSTEM=net\0PCI_SLOT_NAME=0000:03:00.0\0", None),
        (b"ACTION=remove\0SUBSYSTEM=pci\0PCI_SLOT_NAME=\xff\xfe\0", None),
        (b"ACTION=remove\0SUBSYSTEM=pci\0", None),
        (b"", None),
    ],
)
def test_only_the_removal_of_a_pci_device_is_one(message: bytes, address: str | None) -> None:
    assert removed_address(message) == (PciAddress.parse(address) if address else None)
