# SPDX-License-Identifier: BSD-3-Clause
"""Guest memory as compiled code sees it: a table of ranges in order, and the translation of an address through it.

A range is translated whole or not at all. Buffers that run over the end of a region are what CVE-2018-1059 was made
of; here such a range is not translated, whether or not another region happens to follow.

A table is only read by compiled code, so that all rings share one. A REGIONS record belongs to one thread: a hit in
another range than the last one is remembered in it. Each vring has a record of its own (`Vring.regions`), and two
lcores never write to one cache line.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pollmode.eal.jit import compiled, inlined, load64, store64
from pollmode.eal.layout import le_struct, offset_of

MAX_REGIONS = 8  # DPDK's VHOST_MEMORY_MAX_NREGIONS, and vhost-user's own limit for SET_MEM_TABLE
ADDRESS_LIMIT = 1 << 63  # addresses are int64 in compiled code; no machine has memory above

ACCESS_READ = 1  # VHOST_ACCESS_RO: we may read
ACCESS_WRITE = 2  # VHOST_ACCESS_WO
ACCESS_BOTH = ACCESS_READ | ACCESS_WRITE

REGION = le_struct("vhost_region", 32, start="i8", length="i8", delta="i8", access="i8")
"""A range: `delta` is what turns its addresses into ours, `access` what we may do there."""
REGION_SIZE = REGION.itemsize
REGION_START = offset_of(REGION, "start")
REGION_LENGTH = offset_of(REGION, "length")
REGION_DELTA = offset_of(REGION, "delta")
REGION_ACCESS = offset_of(REGION, "access")

REGIONS = le_struct("vhost_regions", 64, hit=REGION, table="i8", access="i8", pad=("i8", 2))
"""`hit` is the range of the last translation (a copy); `table` is searched for what `access` may be done to."""
REGIONS_SIZE = REGIONS.itemsize
REGIONS_HIT = offset_of(REGIONS, "hit")
REGIONS_TABLE = offset_of(REGIONS, "table")
REGIONS_ACCESS = offset_of(REGIONS, "access")


@dataclass(frozen=True)
class Region:
    """One stretch of the front end's memory: where it lies for the guest, for the front end and for us."""

    guest_address: int
    size: int
    user_address: int
    host_address: int


@inlined
def _inside(region: int, address: int, length: int) -> bool:
    # An address with its top bit set is negative here; a start is not, so the difference cannot wrap when it counts.
    offset = address - load64(region + REGION_START)
    size = load64(region + REGION_LENGTH)
    # One sign test for three words. The second test also holds for length 0: an address nothing was said about is not
    # handed out (CVE-2020-10725).
    return (address | offset | length) >= 0 and offset < size and length <= size - offset


@compiled
def find(table: int, address: int, access: int) -> int:
    """Return the address of the REGION of a table that `address` is in and `access` allowed, 0 without one."""
    low, high = 0, load64(table)
    while low < high:
        middle = (low + high) >> 1
        if load64(table + REGION_SIZE * (middle + 1) + REGION_START) <= address:
            low = middle + 1
        else:
            high = middle
    region = table + REGION_SIZE * low
    if low == 0 or not _inside(region, address, 0) or (load64(region + REGION_ACCESS) & access) != access:
        return 0
    return region


@compiled
def reach(regions: int, address: int) -> int:
    """Make the range of `address` the hit; return how many bytes of it follow there, 0 when it is in none."""
    region = find(load64(regions + REGIONS_TABLE), address, load64(regions + REGIONS_ACCESS))
    if region == 0:
        return 0
    for word in range(0, REGION_SIZE, 8):
        store64(regions + REGIONS_HIT + word, load64(region + word))
    return load64(region + REGION_LENGTH) - (address - load64(region + REGION_START))


@compiled
def _search(regions: int, address: int, length: int) -> int:
    if length >= 0 and reach(regions, address) >= max(length, 1):
        return address + load64(regions + REGIONS_HIT + REGION_DELTA)
    return 0


@inlined
def translate(regions: int, address: int, length: int) -> int:
    """Return where `length` bytes at guest `address` lie in this process, or 0 unless all lie inside one range.

    `regions` is the address of a REGIONS record that no other thread uses.
    """
    hit = regions + REGIONS_HIT
    if _inside(hit, address, length):
        return address + load64(hit + REGION_DELTA)
    return _search(regions, address, length)


@compiled
def locate(regions: int, address: int, length: int, access: int) -> int:
    """Return where `length` bytes at `address` lie, if all of one range allows `access`; else 0. Remembers no hit."""
    region = find(load64(regions + REGIONS_TABLE), address, access)
    if region == 0 or not _inside(region, address, length):
        return 0
    return address + load64(region + REGION_DELTA)


@compiled
def guest_address(table: int, host: int) -> int:
    """Return the guest address of what lies at `host` in this process, -1 when that is in no range of the table."""
    for index in range(load64(table)):
        region = table + REGION_SIZE * (index + 1)
        address = host - load64(region + REGION_DELTA)
        if _inside(region, address, 0):
            return address
    return -1


Range = tuple[int, int, int, int]
"""Start, length, delta and access, as in a REGION."""


class RangeTable:
    """Up to `capacity` ranges in the order of their starts, in this process's private memory.

    `address` is for compiled code: a REGION-sized head whose first word is the count, and the ranges behind it.
    """

    def __init__(self, capacity: int = MAX_REGIONS) -> None:
        self.capacity = capacity
        self._rows = np.zeros(capacity + 1, REGION)
        self.address: int = self._rows.ctypes.data

    @property
    def count(self) -> int:
        """How many ranges there are."""
        return int(self._rows["start"][0])

    def fill(self, ranges: Sequence[Range]) -> None:
        """Replace all ranges by these, which don't overlap; see `replace`."""
        self.replace(0, self.count, sorted(ranges))

    def replace(self, first: int, last: int, ranges: Sequence[Range]) -> None:
        """Replace the ranges from number `first` up to `last` by these, in order.

        Only while no compiled code uses the table. Raises ValueError for more than fit.
        """
        count = self.count
        size = count - (last - first) + len(ranges)
        if size > self.capacity:
            raise ValueError(f"at most {self.capacity} ranges, not {size}")
        tail = self._rows[last + 1 : count + 1].copy()
        self._rows[first + 1 : first + 1 + len(ranges)] = np.array(ranges, REGION)
        self._rows[first + 1 + len(ranges) : size + 1] = tail
        self._rows["start"][0] = size

    def rows(self, first: int, last: int) -> list[Range]:
        """Return the ranges from number `first` up to `last`."""
        return [(int(s), int(n), int(d), int(a)) for s, n, d, a in self._rows[first + 1 : last + 1]]

    def touching(self, start: int, end: int) -> tuple[int, int]:
        """Return numbers: from `first` up to `last` are the ranges that hold any address from `start` to `end`."""
        held = self._rows[1 : self.count + 1]
        ends = held["start"] + (held["length"] - 1)
        return int(np.searchsorted(ends, start, "left")), int(np.searchsorted(held["start"], end, "right"))


class RegionsRecord:
    """A REGIONS record on a table, aligned to a cache line; `address` is for compiled code.

    Methods are called only while no compiled code uses the record.
    """

    def __init__(self, regions: Sequence[Region] = ()) -> None:
        self._bytes = np.zeros(REGIONS_SIZE + 64, np.uint8)
        start = -self._bytes.ctypes.data % 64
        self._record = self._bytes[start : start + REGIONS_SIZE].view(REGIONS)
        self.address: int = self._record.ctypes.data
        self.table = RangeTable()
        self.fill(regions)

    def fill(self, regions: Sequence[Region]) -> None:
        """Translate through these regions, all of which may be read and written. ValueError for more than eight."""
        rows = [(r.guest_address, r.size, r.host_address - r.guest_address, ACCESS_BOTH) for r in regions]
        self.table.fill(rows)
        self.use(self.table, ACCESS_BOTH)
        if rows:
            self._record["hit"] = rows[0]

    def use(self, table: RangeTable, access: int) -> None:
        """Translate through a table, what may be accessed so; the last hit is forgotten."""
        self.forget_hit()
        self._record["table"], self._record["access"] = table.address, access

    def forget_hit(self) -> None:
        """Have the next translation search the table."""
        self._record["hit"] = 0


def overlap(regions: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the indexes of two (start, size) ranges that share a byte, or None."""
    order = sorted(range(len(regions)), key=lambda index: regions[index])
    for lower, upper in itertools.pairwise(order):
        if regions[lower][0] + regions[lower][1] > regions[upper][0]:
            return lower, upper
    return None


def user_to_host(regions: Sequence[Region], address: int, length: int) -> int:
    """Return where `length` bytes at the front end's own `address` lie here, or 0 unless all lie in one region.

    Ring addresses (SET_VRING_ADDR) are of this kind; buffers in descriptors are guest addresses, see `translate`.
    """
    for region in regions:
        offset = address - region.user_address
        if 0 <= offset < region.size and 0 < length <= region.size - offset:
            return region.host_address + offset
    return 0
