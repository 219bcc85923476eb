# SPDX-License-Identifier: BSD-3-Clause
"""The host `kernel`: the machine's own devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.bus_pci.access import PciDevice
from pollmode.bus_pci.host import Found, PciHost
from pollmode.bus_pci.kernel.sysfs import SysfsDevice, devices
from pollmode.eal.errors import UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = ["KernelHost"]


class KernelHost(PciHost):
    """The devices that sysfs lists."""

    name = "kernel"

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def scan(self) -> list[Found]:
        """Return the devices in sysfs."""
        return [Found(device.address, device.id, _told(device), _why_not(device)) for device in devices()]

    def open(self, found: Found) -> PciDevice:
        """Refuse."""
        raise UnsupportedError(f"{found.address}: devices of the kernel are not supported yet")

    def close(self) -> None:
        """Do nothing."""


def _told(device: SysfsDevice) -> str:
    interfaces = ", ".join(device.interfaces())
    driver = device.driver or "no driver of the kernel"
    return f"{driver}, interface {interfaces}" if interfaces else driver


def _why_not(device: SysfsDevice) -> str:
    return "the kernel's devices are not supported yet; with --pci-host=qemu:... there are those of a QEMU"
