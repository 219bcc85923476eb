# SPDX-License-Identifier: BSD-3-Clause
"""Named pieces of the EAL's memory, and the arithmetic that hands them out."""

from __future__ import annotations

import bisect
import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Extents", "Memzone", "array_at"]


def array_at(address: int, dtype: Any, count: int = 1) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a writable view of `count` elements at an address that stays mapped while the view is used."""
    raw: Any = (ctypes.c_char * (np.dtype(dtype).itemsize * count)).from_address(address)
    return np.frombuffer(raw, dtype=dtype, count=count)


@dataclass(frozen=True)
class Memzone:
    """A named, contiguous piece of memory: address and length in bytes, and the address a device uses for its start."""

    name: str
    address: int
    size: int
    iova: int

    def array(self, dtype: Any, count: int = 1, offset: int = 0) -> np.ndarray[Any, np.dtype[Any]]:
        """Return a writable view of `count` elements from byte `offset` on; valid until the zone is freed.

        Raises ValueError when the elements don't lie within the zone.
        """
        length = np.dtype(dtype).itemsize * count
        if offset < 0 or count < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not within {self.name!r} of {self.size} bytes")
        return array_at(self.address + offset, dtype, count)


class Extents:
    """The free parts of a range of `size` bytes, first fit from the low end; offsets, not addresses."""

    def __init__(self, size: int) -> None:
        self._free = [(0, size)]

    @property
    def largest(self) -> int:
        """Bytes in the largest free part."""
        return max((length for _, length in self._free), default=0)

    @property
    def free_bytes(self) -> int:
        """Bytes that are free in all."""
        return sum(length for _, length in self._free)

    def take(self, size: int, align: int, boundary: int = 0) -> int | None:
        """Return the offset of `size` bytes now taken, or None when no free part holds them.

        A piece no larger than `boundary` crosses no multiple of it.
        """
        for place, (start, length) in enumerate(self._free):
            at = -(-start // align) * align
            if size <= boundary and at // boundary != (at + size - 1) // boundary:
                at = -(-at // boundary) * boundary
            if at + size <= start + length:
                rest = ((start, at - start), (at + size, start + length - at - size))
                self._free[place : place + 1] = [part for part in rest if part[1]]
                return at
        return None

    def give(self, offset: int, size: int) -> None:
        """Give a taken piece back and join it with the free parts beside it."""
        place = bisect.bisect(self._free, (offset, size))
        self._free.insert(place, (offset, size))
        for left in (place, place - 1):
            if 0 <= left < len(self._free) - 1:
                (start, length), (follower, more) = self._free[left : left + 2]
                if start + length == follower:
                    self._free[left : left + 2] = [(start, length + more)]
