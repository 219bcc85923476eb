# SPDX-License-Identifier: BSD-3-Clause
"""The devices that can be bound: their names, the drivers they could have, and how a user may call them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pollmode.eal.errors import ConfigError, nearest
from pollmode.host_report import Host
from pollmode.host_report.kernel_modules import DeviceModules, passthrough_drivers
from pollmode.host_report.pci_devices import KINDS, PCI, PciDevice, names_of, pci_devices

__all__ = ["Entry", "Inventory"]

CLASS_INTERFACES = "/sys/class/net"


@dataclass(frozen=True)
class Entry:
    """A device as it is shown: its name, the drivers it could have instead, whether a route goes over it.

    `active` holds the routed interface: one of the device's own, or one that stands on it (a bridge, a bond).
    """

    device: PciDevice
    name: str
    unused: tuple[str, ...]
    active: str

    @property
    def active_itself(self) -> bool:
        """Whether an interface of its own is in the routing table."""
        return self.active in self.device.interfaces


class Inventory:
    """All devices of a kind that is known, by address, and the loaded drivers that hand a device to a program."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.passthrough = passthrough_drivers(host)
        devices = [device for device in pci_devices(host) if any(device.is_a(kind) for kind in KINDS)]
        names = names_of(host, devices)
        modules = DeviceModules(host)
        routed = host.routed_interfaces()
        self.entries = {
            device.address: Entry(
                device,
                names[device.ids],
                tuple(self._unused(device, modules.of(device.modalias))),
                next((name for name in self._above(device) if name in routed), ""),
            )
            for device in devices
        }

    def _unused(self, device: PciDevice, module: str) -> Iterator[str]:
        for name in ([module] if module else []) + [name for name in self.passthrough if name not in module]:
            if name != device.driver:
                yield name

    def _above(self, device: PciDevice) -> Iterator[str]:
        """Yield a device's interfaces, then those that the kernel has built on them."""
        seen = list(device.interfaces)
        for name in seen:
            yield name
            links = self.host.names(f"{CLASS_INTERFACES}/{name}")
            above = [link.removeprefix("upper_") for link in links if link.startswith("upper_")]
            seen += [upper for upper in above if upper not in seen]

    def of_kind(self, kind: str) -> list[Entry]:
        """Return the devices of one of host_report's KINDS."""
        return [entry for entry in self.entries.values() if entry.device.is_a(kind)]

    def address(self, word: str) -> str | None:
        """Return the address of the device that a word names: an address, one without its domain, an interface."""
        for address in (word, f"0000:{word}"):
            if address in self.entries:
                return address
        return next((entry.device.address for entry in self.entries.values() if word in entry.device.interfaces), None)

    def chosen(self, words: Sequence[str]) -> list[Entry]:
        """Return the devices that words name, each once; a word may be a pattern of addresses. Raises ConfigError."""
        found: dict[str, Entry] = {}
        for word in words:
            for name in self._matching(word):
                address = self.address(name)
                if address is None:
                    raise ConfigError(self._unknown(name))
                found[address] = self.entries[address]
        return list(found.values())

    def _matching(self, word: str) -> list[str]:
        for pattern in (word, f"0000:{word}"):
            if names := [name for name in self.host.names(PCI) if fnmatchcase(name, pattern)]:
                return names
        return [word]

    def _unknown(self, name: str) -> str:
        text = f'Unknown device: {name}. Please specify device in "bus:slot.func" format'
        if f"0000:{name}" in self.host.names(PCI) or name in self.host.names(PCI):
            return f"{text}; {name} is there, but of no class that is bound for DPDK"
        known = [name for entry in self.entries.values() for name in (entry.device.address, *entry.device.interfaces)]
        return f"{text}{nearest(name, known)}; pollmode-devbind --status lists them"
