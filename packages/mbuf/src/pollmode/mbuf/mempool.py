# SPDX-License-Identifier: BSD-3-Clause
"""Pools of elements of one size: making them, looking into them, checking them (rte_mempool).

A pool is three memzones: the record with the caches, the ring of free elements, and the elements. Each element stands
behind a header of one cache line that names its pool; the distance between two is an odd number of cache lines, so that
the elements' first lines spread over all memory channels.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pollmode.eal.errors import ConfigError, InternalError
from pollmode.eal.jit import compiled
from pollmode.eal.lcore_layout import LCORE, LCORE_ID_ANY, MAX_LCORE
from pollmode.mbuf import ring as rings
from pollmode.mbuf.cache import pool_get_bulk, pool_put_bulk
from pollmode.mbuf.crates import crate_words, words_in_crates
from pollmode.mbuf.layout import (
    CACHE,
    CACHE_MAX_SIZE,
    CACHE_SLOTS,
    MEMPOOL,
    NO_CACHE,
    OBJECT_COOKIE,
    OBJECT_HEADER,
    OBJECT_HEADER_SIZE,
)
from pollmode.mbuf.parts import ZONE, Parts, Shape, reserve

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

__all__ = [
    "Audit",
    "Mempool",
    "create",
    "find",
    "get",
    "live_in",
    "lookup",
    "lookup_all",
    "on_create",
    "put",
    "set_control",
]

DEFAULT_CACHE_SIZE: Final = 256

Words = Sequence[int] | npt.NDArray[np.int64]

_live: dict[int, Mempool] = {}
_told: weakref.WeakKeyDictionary[Memory, list[Callable[[Mempool], object]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Audit:
    """Where a pool's elements are: in its ring or its depot, in caches (by lcore id), and out."""

    count: int
    in_ring: int
    in_caches: dict[int, int]

    @property
    def available(self) -> int:
        """Elements in the ring and in all caches."""
        return self.in_ring + sum(self.in_caches.values())

    @property
    def out(self) -> int:
        """Elements that somebody took and did not put back."""
        return self.count - self.available


class Mempool:
    """A pool of `count` elements of `element_size` bytes; `address` is what compiled code works with.

    Made by `create`, or by `pollmode.mbuf.create_pool` as a pool of mbufs; found by `lookup`.
    """

    def __init__(self, memory: Memory, name: str, shape: Shape, parts: Parts) -> None:
        self.name = name
        self.count = shape.count
        self.element_size = shape.element_size
        self.cache_size = shape.cache_size
        self.holds_mbufs = False
        self.data_room = 0
        self.private_size = 0
        self._memory = memory
        self._stride = shape.stride
        self._cache_stride = shape.cache_stride
        self._zone, self._elements, self._ring = parts
        self._depot: Memzone | None = None
        self.address: int = self._zone.address
        _live[self.address] = self

    def write(self) -> None:
        """Write everything that stands in a new pool, and put all elements into its ring. For `create`."""
        self._write_record()
        self._write_headers()
        self._write_caches()
        self._ring.enqueue(self.elements())

    def _write_record(self) -> None:
        record = self.record()
        record["caches"] = self.address + MEMPOOL.itemsize
        record["cache_stride"] = self._cache_stride
        record["cache_size"] = self.cache_size
        record["ring"] = self._ring.address
        record["count"] = self.count
        record["objects"] = self._elements.address
        record["stride"] = self._stride
        record["element_size"] = self.element_size

    def _write_headers(self) -> None:
        headers = self.column(OBJECT_HEADER, -OBJECT_HEADER_SIZE)
        headers["pool"] = self.address
        elements = self.elements()
        same = self._memory.iova_mode == "va"
        headers["iova"] = elements if same else [self._memory.iova(address) for address in elements.tolist()]
        headers["index"] = np.arange(self.count)
        headers["cookie"] = OBJECT_COOKIE

    def _write_caches(self) -> None:
        if self.cache_size:
            for lcore in range(MAX_LCORE):
                self._cache(lcore)["limit"] = self.cache_size + self.cache_size // 2
        self._cache(MAX_LCORE)["limit"] = NO_CACHE

    def cache_header(self, lcore: int) -> np.void:
        """Return the CACHE record of an lcore, writable."""
        self.record()
        return self._cache(lcore)

    def cached(self, lcore: int) -> list[int]:
        """Return the elements in the cache of an lcore that does not run."""
        length = min(max(int(self.cache_header(lcore)["length"]), 0), 2 * self.cache_size)
        offset = MEMPOOL.itemsize + lcore * self._cache_stride + CACHE_SLOTS
        return self._zone.array("<i8", length, offset).tolist()  # type: ignore[no-any-return]

    def attach_depot(self, zone: Memzone) -> None:
        """Let the lcores of this process know where those of others put elements; the zone is freed with the pool."""
        self._depot = zone
        self.record()["depot"] = zone.address

    def _in_depot(self) -> int:
        """Return how many elements are in crates; a snapshot."""
        return words_in_crates(self._depot) if self._depot is not None else 0

    def _depot_words(self) -> npt.NDArray[np.int64]:
        return crate_words(self._depot) if self._depot is not None else np.zeros(0, np.int64)

    def _cache(self, lcore: int) -> np.void:
        offset = MEMPOOL.itemsize + lcore * self._cache_stride
        header: np.void = self._zone.array(CACHE, 1, offset)[0]
        return header

    @property
    def live(self) -> bool:
        """False when the pool was freed, or the memory it is in was closed."""
        if self.address:
            with contextlib.suppress(ConfigError):
                return self._memory.lookup(self._zone.name) is self._zone
        return False

    def is_in(self, memory: Memory) -> bool:
        """Tell whether it is a live pool in that memory."""
        return self._memory is memory and self.live

    def record(self) -> np.void:
        """Return the pool's MEMPOOL record, writable. Raises ConfigError when the pool was freed, or its memory."""
        if not self.live:
            raise ConfigError(f"mempool {self.name} is gone: it was freed, or the memory it is in was closed")
        record: np.void = self._zone.array(MEMPOOL)[0]
        return record

    def elements(self) -> npt.NDArray[np.int64]:
        """Return every element's address, wherever it is."""
        first = self._elements.address + OBJECT_HEADER_SIZE
        return first + self._stride * np.arange(self.count, dtype=np.int64)

    def column(self, dtype: np.dtype[Any], offset: int = 0) -> npt.NDArray[Any]:
        """Return what stands `offset` bytes into every element, as a writable array of `count` values of `dtype`."""
        self.record()
        raw = self._elements.array(np.dtype("u1"), self.count * self._stride)
        return np.ndarray((self.count,), dtype, raw, OBJECT_HEADER_SIZE + offset, (self._stride,))

    def index(self, address: int) -> int:
        """Return which element stands at `address`, or -1 when none does."""
        index, rest = divmod(address - self._elements.address - OBJECT_HEADER_SIZE, self._stride)
        return index if rest == 0 and 0 <= index < self.count else -1

    def walk(self) -> Iterator[int]:
        """Return every element's address in turn, wherever it is (rte_mempool_obj_iter)."""
        self.record()
        return iter(self.elements().tolist())

    def available(self) -> int:
        """Return how many elements are in the ring and in all caches; a snapshot (rte_mempool_avail_count)."""
        self.record()
        return len(self._ring) + sum(self._cache_lengths().values()) + self._in_depot()

    def in_use(self) -> int:
        """Return how many elements are out; a snapshot (rte_mempool_in_use_count)."""
        return self.count - self.available()

    def get(self, n: int) -> npt.NDArray[np.int64]:
        """Take `n` elements, all or none, past the caches; returns their addresses."""
        self.record()
        return get(self.address, n)

    def put(self, addresses: Words) -> None:
        """Put elements back, past the caches. Raises ConfigError for an address that is not an element's."""
        self.record()
        for address in addresses:
            if self.index(int(address)) < 0:
                raise ConfigError(f"mempool {self.name}: {int(address):#x} is not the address of one of its elements")
        put(self.address, addresses)

    def audit(self) -> Audit:
        """Check that every element is in the ring, in a cache or out, and in one place only.

        Nobody may use the pool meanwhile. Raises InternalError that names the first address which is not an element's,
        the first that was put twice, or how many puts found the ring full; ConfigError when the pool was freed.
        """
        record = self.record()
        kept = {"ring": self._ring.words()}
        for lcore, length in self._cache_lengths().items():
            kept[f"cache of lcore {lcore}"] = self._zone.array(
                np.dtype("<i8"), length, MEMPOOL.itemsize + lcore * self._cache_stride + CACHE_SLOTS
            )
        kept["depot"] = self._depot_words()
        for place, words in kept.items():
            for address in words.tolist():
                if self.index(address) < 0:
                    raise InternalError(f"mempool {self.name}: {address:#x} in the {place} is not one of its elements")
        everything = np.concatenate(list(kept.values()))
        values, times = np.unique(everything, return_counts=True)
        if (times > 1).any():
            twice = int(values[times > 1][0])
            places = ", ".join(place for place, words in kept.items() if twice in words)
            raise InternalError(f"mempool {self.name}: element {twice:#x} was put back twice; it is in the {places}")
        if record["lost"]:
            raise InternalError(
                f"mempool {self.name}: {int(record['lost'])} puts found the ring full: put twice or foreign"
            )
        return Audit(self.count, len(kept["ring"]) + len(kept["depot"]), self._cache_lengths())

    def free(self) -> None:
        """Give the memory back; elements that are out become invalid. Raises ConfigError when that was done before.

        Raises ConfigError too in a secondary process.
        """
        self.record()
        self._memory.require_own(f"mempool {self.name}", "freed")
        if self._depot is not None and any(self._cache(lcore)["depot"] for lcore in range(MAX_LCORE)):
            raise ConfigError(f"mempool {self.name} is used by another process; end that first", errno=16)
        del _live[self.address]
        self.address = 0
        if self._depot is not None:
            self._memory.free(self._depot)
        self._ring.free()
        self._memory.free(self._elements)
        self._memory.free(self._zone)

    def _cache_lengths(self) -> dict[int, int]:
        if not self.cache_size:
            return {}
        raw = self._zone.array(np.dtype("u1"), MAX_LCORE * self._cache_stride, MEMPOOL.itemsize)
        lengths = np.ndarray((MAX_LCORE,), np.dtype("<i8"), raw, 0, (self._cache_stride,))
        return {int(lcore): int(lengths[lcore]) for lcore in np.flatnonzero(lengths)}


def create(memory: Memory, name: str, count: int, *, element_size: int, cache_size: int | None = None) -> Mempool:
    """Make a pool of `count` elements of `element_size` bytes (rte_mempool_create).

    `cache_size` elements are kept for each lcore; left out, 256, or fewer when the pool is small. Raises ConfigError
    for numbers that are not allowed or a name that is taken, HostError when memory is short.
    """
    if count < 1 or element_size < 1:
        raise ConfigError(f"mempool {name}: count {count} and element size {element_size} must be at least 1")
    largest = min(CACHE_MAX_SIZE, (2 * count + 1) // 3)  # one and a half times the cache must not exceed the pool
    if cache_size is None:
        cache_size = min(DEFAULT_CACHE_SIZE, largest)
    if not 0 <= cache_size <= largest:
        raise ConfigError(
            f"mempool {name}: cache size {cache_size} is not between 0 and {largest}: at most {CACHE_MAX_SIZE}, and one"
            f" and a half times the cache is at most the {count} elements"
        )
    memory.require_own(f"mempool {name}", "made")
    shape = Shape(count, element_size, cache_size)
    pool = Mempool(memory, name, shape, reserve(memory, name, shape))
    pool.write()
    for told in _told.get(memory, ()):
        told(pool)
    return pool


def lookup(memory: Memory, name: str) -> Mempool:
    """Return a pool that is there, whichever process made it (rte_mempool_lookup). Raises ConfigError."""
    zone = memory.lookup(f"{ZONE}{name}")
    known = _live.get(zone.address)
    if known is not None and known.live:
        return known
    record = zone.array(MEMPOOL)[0]
    shape = Shape(*(int(record[field]) for field in ("count", "element_size", "cache_size")))
    pool = Mempool(memory, name, shape, Parts(zone, memory.lookup(f"{ZONE}{name}_0"), rings.lookup(memory, zone.name)))
    pool.data_room, pool.private_size = int(record["data_room"]), int(record["private_size"])
    pool.holds_mbufs = bool(record["rearm"])
    return pool


def lookup_all(memory: Memory) -> list[Mempool]:
    """Return every pool in a memory: what has a record, and a ring of its name."""
    names = {zone.name for zone in memory.zones()}
    pools = [name for name in names if name.startswith(ZONE) and f"{rings.ZONE}{name}" in names]
    return [lookup(memory, name.removeprefix(ZONE)) for name in sorted(pools)]


def live_in(memory: Memory) -> list[Mempool]:
    """Return the pools that this process has in a memory."""
    return [pool for pool in list(_live.values()) if pool.is_in(memory)]


def on_create(memory: Memory, callback: Callable[[Mempool], object]) -> None:
    """Call `callback(pool)` for every pool that is made in a memory from now on."""
    _told.setdefault(memory, []).append(callback)


def find(address: int) -> Mempool | None:
    """Return the live pool of this process that has an element at `address`, or None."""
    for key, pool in list(_live.items()):
        if not pool.live:
            _live.pop(key, None)
        elif pool.index(address) >= 0:
            return pool
    return None


_control: Final = np.zeros(1, LCORE)
_control["id"] = LCORE_ID_ANY
CONTROL_LCORE: Final[int] = _control.ctypes.data
"""Address of an lcore record for the interpreter's threads: its id has no cache."""


def set_control(lcore: int) -> None:
    """Give the interpreter's threads another lcore id: in a secondary process, the one that the primary gave it."""
    _control["id"] = lcore


@compiled
def _get_now(lcore: int, pool: int, objs: int, n: int) -> int:
    return pool_get_bulk(lcore, pool, objs, n)


@compiled
def _put_now(lcore: int, pool: int, objs: int, n: int) -> int:
    pool_put_bulk(lcore, pool, objs, n)
    return n


def get(pool: int, n: int) -> npt.NDArray[np.int64]:
    """Take `n` elements of the pool at address `pool`, all or none, past the caches."""
    array = np.zeros(n, np.int64)
    return array[: _get_now(CONTROL_LCORE, pool, array.ctypes.data, n)]


def put(pool: int, addresses: Words) -> None:
    """Put elements of the pool at address `pool` back, past the caches; unchecked."""
    array = np.ascontiguousarray(addresses, np.int64)
    _put_now(CONTROL_LCORE, pool, array.ctypes.data, len(array))
