# SPDX-License-Identifier: BSD-3-Clause
"""PCI configuration space of QEMU's PC, by ports 0xCF8 and 0xCFC (PCI 3.2.2.3.2), and what firmware would have done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pollmode.bus_pci.address import PciAddress
from pollmode.bus_pci.layout import (
    BAR_IS_PORT,
    BAR_MEMORY_FLAGS,
    BAR_PORT_FLAGS,
    BAR_TYPE,
    BAR_TYPE_64,
    BARS,
    COMMAND_IO,
    COMMAND_MEMORY,
    CONFIG,
)
from pollmode.bus_pci.qemu.channel import Channel

__all__ = ["Addresses", "Range", "place_bars", "read_config", "write_config"]

_ADDRESS, _DATA = 0xCF8, 0xCFC
_ENABLE = 1 << 31
_FIRST_MEMORY, _LAST_MEMORY = 0xC0000000, 0xFEC00000  # between the memory of the PC and its interrupt controllers
_FIRST_PORT, _LAST_PORT = 0xC000, 0x10000
_PAGE = 4096
_LETTERS = {1: "b", 2: "w", 4: "l", 8: "q"}


@dataclass(frozen=True)
class Range:
    """Where a BAR is: an address of the machine's memory or, for ports, a port."""

    start: int
    size: int
    port: bool

    def read(self, channel: Channel, offset: int, size: int) -> int:
        """Read; 64 bits at once in memory only."""
        verb = f"in{_LETTERS[size]}" if self.port else f"read{_LETTERS[size]}"
        return channel.read(f"{verb} {self.start + offset:#x}")

    def write_text(self, offset: int, value: int, size: int) -> str:
        """Return the command that writes."""
        verb = f"out{_LETTERS[size]}" if self.port else f"write{_LETTERS[size]}"
        return f"{verb} {self.start + offset:#x} {value:#010x}"


class Addresses:
    """Hands out the addresses of BARs, each a multiple of its size."""

    def __init__(self) -> None:
        self._next = {False: _FIRST_MEMORY, True: _FIRST_PORT}

    def take(self, size: int, port: bool) -> int | None:
        """Return where a BAR goes, None when there is no room."""
        at = -(-self._next[port] // size) * size
        if at + size > (_LAST_PORT if port else _LAST_MEMORY):
            return None
        self._next[port] = at + (size if port else max(size, _PAGE))
        return at


def _select(address: PciAddress, offset: int) -> str:
    where = address.bus << 16 | address.device << 11 | address.function << 8 | (offset & 0xFC)
    return f"outl {_ADDRESS:#x} {_ENABLE | where:#x}"


def read_config(channel: Channel, address: PciAddress, offset: int, size: int) -> int:
    """Read from the configuration space. Raises Ended."""
    return channel.read(_select(address, offset), f"in{_LETTERS[size]} {_DATA + offset % 4:#x}")


def write_config(channel: Channel, address: PciAddress, offset: int, value: int, size: int) -> None:
    """Write to the configuration space. Raises Ended."""
    channel.write(_select(address, offset), f"out{_LETTERS[size]} {_DATA + offset % 4:#x} {value:#x}")


def place_bars(channel: Channel, address: PciAddress, take: Callable[[int, bool], int | None]) -> dict[int, Range]:
    """Give every BAR of a device an address and switch them on (PCI 6.2.5.1). Raises Ended."""
    ranges: dict[int, Range] = {}
    index = 0
    while index < BARS:
        at = CONFIG["BAR0"].offset + 4 * index
        write_config(channel, address, at, 0xFFFFFFFF, 4)
        low = read_config(channel, address, at, 4)
        port = bool(low & BAR_IS_PORT)
        wide = not port and BAR_TYPE.get(low) == BAR_TYPE_64
        mask = low & ~(BAR_PORT_FLAGS if port else BAR_MEMORY_FLAGS)
        if wide:
            write_config(channel, address, at + 4, 0xFFFFFFFF, 4)
            mask |= read_config(channel, address, at + 4, 4) << 32
        size = mask & -mask
        if size and (start := take(size, port)) is not None:
            write_config(channel, address, at, start & 0xFFFFFFFF, 4)
            if wide:
                write_config(channel, address, at + 4, start >> 32, 4)
            ranges[index] = Range(start, size, port)
        index += 2 if wide else 1
    command = read_config(channel, address, CONFIG["COMMAND"].offset, 2)
    write_config(channel, address, CONFIG["COMMAND"].offset, command | COMMAND_IO | COMMAND_MEMORY, 2)
    return ranges
