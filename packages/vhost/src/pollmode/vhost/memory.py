# SPDX-License-Identifier: BSD-3-Clause
"""Guest memory as compiled code sees it: a record of at most eight regions, and the translation of a guest range.

A range is translated whole or not at all. Buffers that run over the end of a region are what CVE-2018-1059 was made
of; here such a range is not translated, whether or not another region happens to follow.

A record belongs to one thread: a hit in another region than the last one is remembered in the record itself. Each
vring therefore has a record of its own (`Vring.regions`), so that two lcores never write to one cache line.
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

REGION = le_struct("vhost_region", 24, start="i8", length="i8", delta="i8")
REGION_SIZE = REGION.itemsize
REGION_START = offset_of(REGION, "start")
REGION_LENGTH = offset_of(REGION, "length")
REGION_DELTA = offset_of(REGION, "delta")

REGIONS = le_struct("vhost_regions", 256, hit=REGION, count="i8", regions=(REGION, MAX_REGIONS), pad=("i8", 4))
"""`hit` is the region of the last translation (a copy), `delta` what turns a guest address into ours."""
REGIONS_SIZE = REGIONS.itemsize
REGIONS_HIT = offset_of(REGIONS, "hit")
REGIONS_COUNT = offset_of(REGIONS, "count")
REGIONS_TABLE = offset_of(REGIONS, "regions")


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
def _search(regions: int, address: int, length: int) -> int:
    count = load64(regions + REGIONS_COUNT)
    for index in range(count):
        region = regions + REGIONS_TABLE + index * REGION_SIZE
        if _inside(region, address, length):
            for word in range(0, REGION_SIZE, 8):
                store64(regions + REGIONS_HIT + word, load64(region + word))
            return address + load64(region + REGION_DELTA)
    return 0


@inlined
def translate(regions: int, address: int, length: int) -> int:
    """Return where `length` bytes at guest `address` lie in this process, or 0 unless all lie inside one region.

    `regions` is the address of a REGIONS record that no other thread uses.
    """
    hit = regions + REGIONS_HIT
    if _inside(hit, address, length):
        return address + load64(hit + REGION_DELTA)
    return _search(regions, address, length)


class RegionsRecord:
    """A REGIONS record, aligned to a cache line, in this process's private memory; `address` is for compiled code."""

    def __init__(self, regions: Sequence[Region] = ()) -> None:
        self._bytes = np.zeros(REGIONS_SIZE + 64, np.uint8)
        start = -self._bytes.ctypes.data % 64
        self._record = self._bytes[start : start + REGIONS_SIZE].view(REGIONS)
        self.address: int = self._record.ctypes.data
        self.fill(regions)

    def fill(self, regions: Sequence[Region]) -> None:
        """Replace the regions. Only while no compiled code uses the record. Raises ValueError for more than eight."""
        if len(regions) > MAX_REGIONS:
            raise ValueError(f"at most {MAX_REGIONS} regions, not {len(regions)}")
        record = self._record[0]
        record["count"] = 0
        record["regions"] = np.zeros(MAX_REGIONS, REGION)
        for index, region in enumerate(regions):
            delta = region.host_address - region.guest_address
            record["regions"][index] = (region.guest_address, region.size, delta)
        record["count"] = len(regions)
        record["hit"] = record["regions"][0]


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
