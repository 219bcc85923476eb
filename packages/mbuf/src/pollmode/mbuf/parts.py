# SPDX-License-Identifier: BSD-3-Clause
"""What a pool is made of: its zones and its ring, and how large they are."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pollmode.eal.lcore_layout import MAX_LCORE
from pollmode.mbuf import ring as rings
from pollmode.mbuf.layout import CACHE, CACHE_LINE, CACHE_SLOTS, MEMPOOL, OBJECT_HEADER_SIZE

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

__all__ = ["ZONE", "Parts", "Shape", "reserve"]

ZONE: Final = "MP_"
"""How the names of pools' zones begin."""


class Parts(NamedTuple):
    """What a pool is made of: the zones of its record and of its elements, and the ring of those that are free."""

    record: Memzone
    elements: Memzone
    ring: rings.Ring


@dataclass(frozen=True)
class Shape:
    """How many elements of what size a pool has, and how many an lcore keeps."""

    count: int
    element_size: int
    cache_size: int

    @property
    def cache_stride(self) -> int:
        """Bytes between two lcores' caches."""
        return CACHE_SLOTS + _round_up(2 * 8 * self.cache_size) if self.cache_size else 0

    @property
    def stride(self) -> int:
        """Bytes between two elements: an odd number of cache lines."""
        lines = (OBJECT_HEADER_SIZE + _round_up(self.element_size)) // CACHE_LINE
        return (lines | 1) * CACHE_LINE


def reserve(memory: Memory, name: str, shape: Shape) -> Parts:
    """Reserve what a pool needs, or nothing."""
    with contextlib.ExitStack() as undo:
        size = MEMPOOL.itemsize + MAX_LCORE * shape.cache_stride + CACHE.itemsize
        record = memory.reserve(f"{ZONE}{name}", size)
        undo.callback(memory.free, record)
        elements = memory.reserve(f"{ZONE}{name}_0", shape.count * shape.stride)
        undo.callback(memory.free, elements)
        ring = rings.create(memory, f"{ZONE}{name}", shape.count, exact=True)
        undo.pop_all()
    return Parts(record, elements, ring)


def _round_up(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE
