# SPDX-License-Identifier: BSD-3-Clause
"""The primary's memory as a secondary has it: the same bytes at the same addresses, handed out by the primary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollmode.eal import libc
from pollmode.eal.backing import Backing
from pollmode.eal.errors import ConfigError, HostError, UnsupportedError, nearest
from pollmode.eal.hugepages import format_size
from pollmode.eal.memory import Memory
from pollmode.eal.memzone import Memzone

__all__ = ["AttachedMemory", "zone_of"]

_MAPS = Path("/proc/self/maps")

Ask = Callable[..., Any]


def zone_of(told: dict[str, Any]) -> Memzone:
    """Return the zone that a plain value describes."""
    return Memzone(str(told["name"]), int(told["address"]), int(told["size"]), int(told["iova"]))


class AttachedMemory(Memory):
    """Memory of the primary. Zones are reserved by asking it; what a process did not free goes with it.

    `ask(name, **arguments)` asks the primary. Zones are looked up once: who keeps one for long sees to it that the
    primary keeps it too.
    """

    def __init__(self, told: dict[str, Any], descriptor: int, ask: Ask) -> None:
        kind = f"{told['kind']} of process {told['pid']}"
        backing = Backing(descriptor, int(told["size"]), int(told["page_size"]), kind)
        super().__init__(backing, _map(backing, int(told["address"])), str(told["iova_mode"]))
        self._ask = ask

    def reserve(self, name: str, size: int, align: int = 64) -> Memzone:
        """Return a new zone, whose name gets this process's number; see `Memory.reserve`."""
        self._check_request(name, size, align)
        zone = zone_of(self._ask("reserve", zone=name, size=size, align=align))
        self._zones[zone.name] = zone
        return zone

    def free(self, zone: Memzone) -> None:
        """Give a zone back that this process reserved. Raises ConfigError for another one."""
        self._ask("free", zone=zone.name)
        self._zones.pop(zone.name, None)

    def lookup(self, name: str) -> Memzone:
        """Return the zone of that name. Raises ConfigError when there is none."""
        if self._closed:
            raise ConfigError(f"cannot look up {name!r}: the memory is closed")
        if name not in self._zones and name not in {zone.name for zone in self.zones()}:
            raise ConfigError(f"no memory zone is named {name!r}{nearest(name, self._zones)}", errno=2)
        return self._zones[name]

    def zones(self) -> list[Memzone]:
        """Return the zones reserved now, by whomever, by address."""
        there = [zone_of(told) for told in self._ask("zones")]
        # A zone that was found before stays the same object.
        self._zones = {zone.name: known if (known := self._zones.get(zone.name)) == zone else zone for zone in there}
        return sorted(self._zones.values(), key=lambda zone: zone.address)

    def require_own(self, what: str, done: str) -> None:
        """Refuse: what others use must not go with this process."""
        raise UnsupportedError(f"{what} can't be {done} in a secondary process; do it in the primary")

    def leave(self) -> None:
        """Let nothing be found or reserved any more; what was mapped stays so until `close`."""
        self._closed = True

    def close(self) -> None:
        """Unmap everything. Closing twice is no error."""
        if self._backing.fd < 0:
            return
        self._closed = True
        self._zones.clear()
        libc.unmap(self._address, self._backing.size)
        self._backing.remove()
        self._backing = Backing(-1, 0, self._backing.page_size, "closed")


def _map(backing: Backing, address: int) -> int:
    """Map the primary's memory where the primary has it. Raises HostError that names what lies there."""
    size = format_size(backing.size)
    try:
        return libc.map_shared(backing.fd, backing.size, address, promised=backing.huge)
    except FileExistsError:
        why = f"this process has {_what_lies_at(address, backing.size)} there"
    except OSError as error:
        why = str(error.strerror)
    backing.remove()
    told = f"address: the primary's {size} of memory can't be mapped at {address:#x}: {why}"
    mend = "start the primary with another --base-virtaddr, for example 0x10000000000"
    raise HostError(told, mend=mend)


def _what_lies_at(address: int, size: int) -> str:
    """Return the first mapping of this process in a range, for people."""
    for line in _MAPS.read_text(errors="replace").splitlines():
        extent, *_, name = f"{line} -".split(maxsplit=5)
        start, end = (int(part, 16) for part in extent.split("-"))
        if start < address + size and address < end:
            name = name.removesuffix("-").strip()
            return f"{name or 'anonymous memory'} ({start:#x} to {end:#x})"
    return "something"
