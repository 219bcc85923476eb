# SPDX-License-Identifier: BSD-3-Clause
"""The /mempool and /ring commands of telemetry, with DPDK's names, keys and helps.

Pools and rings are found by the names of their memory zones and read from their records, so whoever made them, a
program's own ring as well as the ring of a pool, is told about. The numbers are snapshots: nobody is stopped for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from pollmode.eal.errors import ConfigError
from pollmode.eal.lcore_layout import MAX_LCORE
from pollmode.mbuf.crates import words_in_crates
from pollmode.mbuf.layout import (
    CACHE_LENGTH,
    MEMPOOL,
    OBJECT_HEADER_SIZE,
    RING,
    RING_SINGLE_CONSUMER,
    RING_SINGLE_PRODUCER,
)

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone
    from pollmode.eal.telemetry import Telemetry

__all__ = ["register"]

_POOL, _RING = "MP_", "RG_"  # what the names of their zones begin with, as in DPDK
_POOL_CREATED: Final = 0x10  # RTE_MEMPOOL_F_POOL_CREATED
_LONGEST_NAME = 31  # RTE_MEMZONE_NAMESIZE - 1: more of a name is not compared


def register(telemetry: Telemetry, memory: Memory) -> None:
    """Have telemetry tell about the pools and rings in `memory`. `Ports` does it; without ports, do it yourself."""
    told = _Commands(memory)
    for name, command, text in (
        ("/mempool/list", told.pool_list, "Returns list of available mempool. Takes no parameters"),
        ("/mempool/info", told.pool_info, "Returns mempool info. Parameters: pool_name"),
        ("/ring/list", told.ring_list, "Returns list of available rings. Takes no parameters"),
        ("/ring/info", told.ring_info, "Returns ring info. Parameters: ring_name."),
    ):
        telemetry.register(name, command, text)


class _Commands:
    """The commands about one memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def pool_list(self, _: str | None) -> list[str]:
        return list(self._pools())

    def pool_info(self, parameters: str | None) -> dict[str, object]:
        return _named(self._pools(), parameters, self._pool)

    def ring_list(self, _: str | None) -> list[str]:
        return list(self._rings())

    def ring_info(self, parameters: str | None) -> dict[str, object]:
        return _named(self._rings(), parameters, self._ring)

    def _rings(self) -> dict[str, Memzone]:
        return {zone.name[len(_RING) :]: zone for zone in self._memory.zones() if zone.name.startswith(_RING)}

    def _pools(self) -> dict[str, Memzone]:
        """Return the zones of pools' records: what has a ring of its name. (A pool's elements have none.)"""
        zones = {zone.name: zone for zone in self._memory.zones()}
        return {
            name[len(_POOL) :]: zone
            for name, zone in zones.items()
            if name.startswith(_POOL) and f"{_RING}{name}" in zones
        }

    def _pool(self, name: str, zone: Memzone) -> dict[str, object]:
        record = zone.array(MEMPOOL)[0]
        ring = self._rings()[zone.name].array(RING)[0]
        cached = _cached(zone, int(record["cache_stride"]))
        count, size = int(record["count"]), int(record["element_size"])
        depots = [each for each in self._memory.zones() if each.address == record["depot"]]
        common = _words_in(ring) + sum(words_in_crates(depot) for depot in depots)
        return {
            "name": name,
            "pool_id": record["ring"],
            "flags": _POOL_CREATED,
            "socket_id": 0,
            "size": count,
            "cache_size": record["cache_size"],
            "elt_size": size,
            "header_size": OBJECT_HEADER_SIZE,
            "trailer_size": int(record["stride"]) - OBJECT_HEADER_SIZE - size,
            "private_data_size": 0,
            "ops_index": 0,
            "populated_size": count,
            "total_cache_count": cached,
            "common_pool_count": min(common, count - cached),
        } | self._zone(zone)

    def _ring(self, name: str, zone: Memzone) -> dict[str, object]:
        record = zone.array(RING)[0]
        flags = int(record["flags"])
        return {
            "name": name,
            "socket": 0,
            "flags": flags,
            "producer_type": "SP" if flags & RING_SINGLE_PRODUCER else "MP",
            "consumer_type": "SC" if flags & RING_SINGLE_CONSUMER else "MC",
            "size": record["slots"],
            "mask": hex(record["mask"]),
            "capacity": record["capacity"],
            "used_count": _words_in(record),
        } | self._zone(zone, flags=hex(0))

    def _zone(self, zone: Memzone, flags: object = 0) -> dict[str, object]:
        return {
            "mz_name": zone.name,
            "mz_len": zone.size,
            "mz_hugepage_sz": self._memory.regions()[0].page_size,
            "mz_socket_id": 0,
            "mz_flags": flags,
        }


def _named(
    zones: dict[str, Memzone], name: str | None, tell: Callable[[str, Memzone], dict[str, object]]
) -> dict[str, object]:
    """Return what is told of the zone of that name, nothing when there is none, as DPDK does."""
    if not name:
        raise ConfigError("the name is missing")
    for each, zone in zones.items():
        if each[:_LONGEST_NAME] == name[:_LONGEST_NAME]:
            return tell(each, zone)
    return {}


def _words_in(ring: np.void) -> int:
    return max(int(ring["producer_tail"]) - int(ring["consumer_tail"]), 0)


def _cached(zone: Memzone, stride: int) -> int:
    """Return how many elements all caches hold; they stand behind the pool's record, `stride` bytes apart."""
    if not stride:
        return 0
    raw = zone.array(np.dtype("u1"), MAX_LCORE * stride, MEMPOOL.itemsize)
    return int(np.ndarray((MAX_LCORE,), np.dtype("<i8"), raw, CACHE_LENGTH, (stride,)).sum())
