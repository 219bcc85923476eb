# SPDX-License-Identifier: BSD-3-Clause
"""BARs of the kernel's devices: memory that is mapped, and what is read and written through a file.

A file serves for ports (sysfs resourceN, a region of VFIO: neither wants the right to ports that DPDK's iopl wants) and
for the pages of a BAR that must not be mapped because the MSI-X table is in them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pollmode.bus_pci.access import Bar, PciDevice, all_ones
from pollmode.bus_pci.layout import DOORBELL_STORE, DOORBELL_WRITE
from pollmode.eal import libc
from pollmode.eal.errors import HostError

__all__ = ["FileBar", "Piece", "map_pieces"]

_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True)
class Piece:
    """Bytes of a BAR that can be mapped: multiples of the page size."""

    offset: int
    size: int


def map_pieces(fd: int, start: int, size: int, pieces: Sequence[Piece]) -> int:
    """Map pieces of a BAR of `size` bytes, which stands at `start` of a file; return the address of the whole.

    Raises HostError.
    """
    try:
        address = libc.reserve_addresses(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        for piece in pieces:
            libc.map_over(fd, start + piece.offset, piece.size, address + piece.offset)
    except OSError as error:
        raise HostError(f"cannot map a device's registers: {error.strerror}", errno=error.errno) from error
    return address


class FileBar(Bar):
    """A BAR at `start` of a file, the `pieces` of it that are mapped being at `mapped` and on."""

    def __init__(
        self,
        device: PciDevice,
        index: int,
        size: int,
        fd: int,
        start: int = 0,
        *,
        port: bool = False,
        pieces: Sequence[Piece] = (),
    ) -> None:
        mapped = map_pieces(fd, start, size, pieces) if pieces else 0
        super().__init__(device, index, size, port=port, mapped=mapped)
        self._fd, self._start, self._pieces = fd, start, tuple(pieces)

    def close(self) -> None:
        """Unmap it; the file is its owner's."""
        if self.mapped:
            libc.unmap(self.mapped, -(-self.size // mmap.PAGESIZE) * mmap.PAGESIZE)
            self.mapped, self._pieces = 0, ()

    def doorbell_fields(self, offset: int, size: int) -> Mapping[str, Any]:
        """Have compiled code store, or write to the file."""
        if self._is_mapped(offset, size):
            return {"kind": DOORBELL_STORE, "target": self.mapped + offset}
        return {"kind": DOORBELL_WRITE, "fd": self._fd, "target": self._start + offset}

    def _is_mapped(self, offset: int, size: int) -> bool:
        return any(piece.offset <= offset <= piece.offset + piece.size - size for piece in self._pieces)

    def _read(self, offset: int, size: int) -> int:
        if self._is_mapped(offset, size):
            return int(_words(self.mapped + offset, size)[0])
        try:
            raw = os.pread(self._fd, size, self._start + offset)
        except OSError:  # VFIO refuses what the device has lost
            return all_ones(size)
        return int.from_bytes(raw, "little") if len(raw) == size else all_ones(size)

    def _write(self, offset: int, value: int, size: int) -> None:
        if self._is_mapped(offset, size):
            _words(self.mapped + offset, size)[0] = value
            return
        try:
            os.pwrite(self._fd, value.to_bytes(size, "little"), self._start + offset)
        except OSError:
            self.device.check_presence()


def _words(address: int, size: int) -> Any:
    """Return one register as a view: a read or write of it is one access of its size (a ctypes integer's is two)."""
    raw: Any = memoryview((ctypes.c_char * size).from_address(address))
    return raw.cast("B").cast(_FORMATS[size])
