# SPDX-License-Identifier: BSD-3-Clause
"""What a driver of PCI devices declares, and finding the driver of a device among the installed packages.

A driver package names its `PciDriver` in the entry-point group `pollmode.pci`, under the driver's name:
`net_vmxnet3 = "pollmode.net_vmxnet3.driver:DRIVER"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from pollmode.bus_pci.access import PciDevice
from pollmode.bus_pci.address import PciId
from pollmode.eal import logs
from pollmode.eal.probing import ProbeContext, ProbedDevice

if TYPE_CHECKING:
    from pollmode.eal.devargs import Parameters

__all__ = ["GROUP", "PciDriver", "Registry"]

log = logs.get("bus.pci")

GROUP = "pollmode.pci"


@dataclass(frozen=True)
class PciDriver:
    """A driver of the PCI devices with one of `ids`, pairs of vendor and device. `parameters` declares its devargs.

    `probe(context, device, name, arguments)` gets an open device, what its port is to be called and the devargs
    converted, and returns a device that is not yet a port. Once that is returned, its `close` closes the PCI device;
    when `probe` raises, it leaves nothing behind but the open device.
    """

    name: str
    ids: tuple[tuple[int, int], ...]
    parameters: Parameters
    probe: Callable[[ProbeContext, PciDevice, str, dict[str, Any]], ProbedDevice]


class Registry:
    """The installed drivers. Their packages are imported when the first device looks for its driver."""

    def __init__(self, installed: Iterable[EntryPoint] | None = None) -> None:
        self._installed = list(entry_points(group=GROUP) if installed is None else installed)
        self._drivers: list[PciDriver] | None = None

    def names(self) -> list[str]:
        """Return the drivers' names."""
        return sorted(point.name for point in self._installed)

    def find(self, identity: PciId) -> PciDriver | None:
        """Return the driver of a device, None when there is none."""
        if self._drivers is None:
            loaded = map(_load, sorted(self._installed, key=lambda point: point.name))
            self._drivers = [driver for driver in loaded if driver is not None]
        wanted = (identity.vendor, identity.device)
        return next((driver for driver in self._drivers if wanted in driver.ids), None)


def _load(point: EntryPoint) -> PciDriver | None:
    """Return the driver of an entry point. A package that is broken is told of: nobody may have asked for it."""
    try:
        driver = point.load()
    except Exception as error:
        log.error(f"the driver {point.name} cannot be used: {type(error).__name__}: {error}")
        return None
    if not isinstance(driver, PciDriver) or driver.name != point.name:
        log.error(f"entry point {point.name} in {GROUP} does not name a PciDriver called {point.name}")
        return None
    return driver
