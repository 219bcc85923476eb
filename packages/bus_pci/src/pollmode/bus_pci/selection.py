# SPDX-License-Identifier: BSD-3-Clause
"""Which of the devices that are there are to be used: -a, -b, -A, and the reason why another one is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pollmode.bus_pci.address import PciAddress
from pollmode.bus_pci.host import Found
from pollmode.eal import devargs, logs
from pollmode.eal.devargs import PCI_ADDRESS, Devargs
from pollmode.eal.errors import ConfigError

if TYPE_CHECKING:
    from pollmode.eal.options import EalOptions

__all__ = ["Selection"]

log = logs.get("bus.pci")


class Selection:
    """What the command line says about PCI devices. Raises ConfigError for a device that is named twice."""

    def __init__(self, options: EalOptions) -> None:
        self.allowed: dict[PciAddress, Devargs] = {}
        for parsed in map(devargs.parse, options.allow):
            address = PciAddress.parse(parsed.name)
            if address in self.allowed:
                raise ConfigError(f"-a {parsed.name}: the device {address} is given twice")
            self.allowed[address] = parsed
        self.blocked = {PciAddress.parse(name) for name in options.block if PCI_ADDRESS.fullmatch(name)}
        self._only_named = bool(self.allowed) or options.no_auto_probing

    def arguments(self, address: PciAddress) -> Devargs:
        """Return the devargs of a device."""
        return self.allowed.get(address) or Devargs("pci", str(address), (), str(address))

    def refusal(self, found: Found) -> str:
        """Return why the command line keeps a device from being used, or an empty text."""
        if found.address in self.blocked:
            return f"not taken, -b {found.address} says so"
        if self._only_named and found.address not in self.allowed:
            return f"not taken, not named; name it with -a {found.address}"
        return ""

    def check(self, there: Iterable[PciAddress]) -> None:
        """Raise ConfigError for a device that was named and is not there; one to be left alone is told."""
        present = set(there)
        for address in self.allowed:
            if address not in present:
                known = ", ".join(map(str, sorted(present))) or "no PCI device at all"
                raise ConfigError(f"-a {address}: there is no such device; there is {known}")
        for address in self.blocked - present:
            log.warning(f"-b {address}: there is no such device")
