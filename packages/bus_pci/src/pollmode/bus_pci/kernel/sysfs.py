# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel's sysfs says of PCI devices (Linux Documentation/PCI/sysfs-pci.rst).

A file that is missing or must not be read holds nothing: in a container half of /sys may be absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pollmode.bus_pci.address import PciAddress, PciId
from pollmode.eal.errors import ConfigError

__all__ = ["Resource", "SysfsDevice", "devices", "devices_folder"]

# linux/ioport.h
_IO, _MEMORY = 0x100, 0x200


def devices_folder() -> Path:
    """Return the folder of the PCI devices: SYSFS_PCI_DEVICES of the environment, as in DPDK, or the kernel's."""
    return Path(os.environ.get("SYSFS_PCI_DEVICES") or "/sys/bus/pci/devices")


@dataclass(frozen=True)
class Resource:
    """A BAR as the kernel placed it: physical address or port, bytes, and whether it is ports."""

    start: int
    size: int
    port: bool


@dataclass(frozen=True)
class SysfsDevice:
    """One device's folder."""

    address: PciAddress
    folder: Path

    def text(self, name: str) -> str:
        """Return what a file holds, "" when it can't be read."""
        try:
            return (self.folder / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def number(self, name: str, missing: int = 0) -> int:
        """Return the number that a file holds."""
        try:
            return int(self.text(name), 0)
        except ValueError:
            return missing

    def link(self, name: str) -> str:
        """Return the last part of what a symbolic link points to, "" when there is none."""
        try:
            return os.path.basename(os.readlink(self.folder / name))
        except OSError:
            return ""

    @property
    def id(self) -> PciId:
        """What the device says it is."""
        names = ("vendor", "device", "subsystem_vendor", "subsystem_device", "class")
        return PciId(*(self.number(name) for name in names))

    @property
    def driver(self) -> str:
        """The kernel's driver that has it, "" when none has."""
        return self.link("driver")

    @property
    def numa_node(self) -> int:
        """The NUMA node it is at, -1 when that is not known."""
        return self.number("numa_node", -1)

    def interfaces(self) -> list[str]:
        """Return the names of its network interfaces."""
        folders = [self.folder / "net", *sorted(self.folder.glob("virtio*/net"))]
        return [name for folder in folders if folder.is_dir() for name in sorted(os.listdir(folder))]

    def resources(self) -> dict[int, Resource]:
        """Return its BARs by index: lines of "start end flags" in the file `resource`."""
        found = {}
        for index, line in enumerate(self.text("resource").splitlines()[:6]):
            try:
                start, end, flags = (int(word, 16) for word in line.split())
            except ValueError:
                continue
            if end > start and flags & (_IO | _MEMORY):
                found[index] = Resource(start, end - start + 1, bool(flags & _IO))
        return found


def devices(folder: Path | None = None) -> Iterator[SysfsDevice]:
    """Yield the devices by address."""
    where = folder or devices_folder()
    addresses = []
    for name in os.listdir(where) if where.is_dir() else ():
        try:
            addresses.append(PciAddress.parse(name))
        except ConfigError:
            continue
    for address in sorted(addresses):
        yield SysfsDevice(address, where / str(address))
