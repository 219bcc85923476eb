# SPDX-License-Identifier: BSD-3-Clause
"""The host `kernel`: the machine's own devices, through VFIO or UIO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.bus_pci.access import PciDevice
from pollmode.bus_pci.address import PciAddress
from pollmode.bus_pci.host import Found, PciHost
from pollmode.bus_pci.kernel.container import Container
from pollmode.bus_pci.kernel.reasons import UIO_DRIVERS, VFIO_DRIVER, group_of, held_by, uio_node, why_not
from pollmode.bus_pci.kernel.sysfs import SysfsDevice, devices, devices_folder
from pollmode.bus_pci.kernel.uevents import Uevents
from pollmode.bus_pci.kernel.uio import UioDevice
from pollmode.bus_pci.kernel.vfio import VfioDevice, open_vfio
from pollmode.eal.errors import HostError, UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = ["KernelHost"]


class KernelHost(PciHost):
    """The devices that sysfs lists."""

    name = "kernel"

    def __init__(self, environment: Environment) -> None:
        self._memory, self._thread = environment.memory, environment.interrupts
        self._wanted_mode = environment.options.iova_mode
        self._container: Container | None = None
        self._opened: dict[PciAddress, PciDevice] = {}
        self._uevents: Uevents | None = None

    def scan(self) -> list[Found]:
        """Return the devices in sysfs."""
        return [Found(device.address, device.id, held_by(device), why_not(device)) for device in devices()]

    def prepare(self, chosen: Sequence[Found]) -> None:
        """Choose by which addresses devices reach memory: virtual ones where each is behind an IOMMU."""
        if chosen:
            unsafe = any(not _behind_iommu(_in_sysfs(found.address)) for found in chosen)
            self._memory.use_iova(self._wanted_mode or ("pa" if unsafe else "va"))

    def open(self, found: Found) -> PciDevice:
        """Open a device through the driver that has it."""
        device = _in_sysfs(found.address)
        if not _behind_iommu(device) and self._memory.iova_mode != "pa":
            told = f"{found.address} has no IOMMU and needs physical addresses"
            raise HostError(told, mend="start with --iova-mode pa, as root and with hugepages")
        if self._uevents is None:
            self._uevents = Uevents(self._thread, self._removed)
        opened = self._open(device)
        self._opened[found.address] = opened
        return opened

    def close(self) -> None:
        """Close VFIO's container and listen no more."""
        if self._uevents is not None:
            self._uevents.close()
            self._uevents = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self, device: SysfsDevice) -> PciDevice:
        if device.driver in UIO_DRIVERS:
            return UioDevice(device, self._memory, uio_node(device))
        if device.driver != VFIO_DRIVER:
            raise UnsupportedError(f"{device.address}: {why_not(device)}")
        if self._container is None:
            self._container = Container(self._memory)
        fd = open_vfio(self._container, group_of(device), device.address)
        try:
            opened = VfioDevice(device.address, device.id, self._memory, fd, self._thread)
        except OSError as error:
            raise HostError(f"VFIO does not describe {device.address}: {error.strerror}") from error
        opened.numa_node = device.numa_node
        return opened

    def _removed(self, address: PciAddress) -> None:
        device = self._opened.pop(address, None)
        if device is not None:
            device.set_gone()


def _in_sysfs(address: PciAddress) -> SysfsDevice:
    return SysfsDevice(address, devices_folder() / str(address))


def _behind_iommu(device: SysfsDevice) -> bool:
    return device.driver == VFIO_DRIVER and not group_of(device).startswith("noiommu")
