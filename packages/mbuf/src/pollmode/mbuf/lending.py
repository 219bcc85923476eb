# SPDX-License-Identifier: BSD-3-Clause
"""Pools for the lcores of other processes: their caches and depots, and what comes back when such a process is gone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from pollmode.eal import logs
from pollmode.eal.errors import PollmodeError, UnsupportedError
from pollmode.mbuf import mempool
from pollmode.mbuf.depot import feed_from_ring, give_crate
from pollmode.mbuf.layout import (
    CRATE,
    CRATE_SLOTS,
    DEPOT,
    NO_CACHE,
    STACK_NUMBER,
)
from pollmode.mbuf.mempool import Mempool

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Alarm, Interrupts
    from pollmode.eal.memory import Memory, Memzone

__all__ = ["Lending"]

log = logs.get("lib.mempool")

_PERIOD = 0.01
"""Seconds between two looks at who is hungry: the lcores that put elements back feed sooner."""
_FED = 4
"""Crates filled at a time."""


class Lending:
    """The pools in one memory, as far as the lcores of other processes use them."""

    def __init__(self, memory: Memory, interrupts: Interrupts) -> None:
        self._memory = memory
        self._interrupts = interrupts
        self._lock = threading.Lock()  # members come and go in several threads, and pools are made in any
        self._depots: dict[Mempool, Depot] = {}
        self._borrowers: dict[int, bool] = {}
        self._alarm: Alarm | None = None
        mempool.on_create(memory, self._made)

    def lend(self, lcores: Collection[int], control: int) -> None:
        """Let these lcores of another process use every pool there is, and those to come; `control` has no cache.

        Raises UnsupportedError when a pool keeps no caches, HostError when memory is short. Twice is no error.
        """
        with self._lock:
            for pool in mempool.live_in(self._memory):
                depot = self._depot(pool)
                for each in (*lcores, control):
                    depot.admit(each, cached=each != control)
            if self._alarm is None:
                self._alarm = self._interrupts.alarm(_PERIOD, self._feed)
            self._borrowers |= {each: each != control for each in (*lcores, control)}

    def take_back(self, lcores: Collection[int]) -> None:
        """Take back what the lcores of a process that is gone kept; what they had in their hands is lost."""
        with self._lock:
            for each in lcores:
                self._borrowers.pop(each, None)
            self._forget_freed()
            for depot in self._depots.values():
                depot.dismiss(lcores)

    def _depot(self, pool: Mempool) -> Depot:
        found = self._depots.get(pool)
        if found is None:
            found = self._depots[pool] = Depot(self._memory, pool)
        return found

    def _forget_freed(self) -> None:
        self._depots = {pool: depot for pool, depot in self._depots.items() if pool.live}

    def _made(self, pool: Mempool) -> None:
        """Lend a new pool too. Where that can't be, its maker goes on and the next that wants to borrow is refused."""
        with self._lock:
            self._forget_freed()
            try:
                for each, cached in self._borrowers.items():
                    self._depot(pool).admit(each, cached=cached)
            except PollmodeError as error:
                log.warning(f"mempool {pool.name} is not lent to the processes that are there: {error}")

    def _feed(self) -> None:
        """Fill crates where somebody found none, every 10 ms while there is somebody."""
        with self._lock:
            self._alarm = None
            if self._borrowers:
                with contextlib.suppress(PollmodeError):  # the interrupt thread has ended
                    self._alarm = self._interrupts.alarm(_PERIOD, self._feed)
            self._forget_freed()
            for pool, depot in self._depots.items():
                if depot.hungry:
                    feed_from_ring(pool.address, _FED)


class Depot:
    """The depot of a pool, and the lcores that use it."""

    def __init__(self, memory: Memory, pool: Mempool) -> None:
        if not pool.cache_size:
            told = f"mempool {pool.name} keeps no elements for an lcore (cache size 0, --mbcache=0)"
            raise UnsupportedError(f"{told}: another process can't use it")
        self._pool = pool
        self._capacity = 2 * (pool.cache_size + pool.cache_size // 2)
        self._stride = CRATE_SLOTS + 8 * -(-self._capacity // 8) * 8
        self._count = 4 * -(-pool.count // self._capacity) + 64
        if self._count > STACK_NUMBER.mask:
            raise UnsupportedError(f"mempool {pool.name} is too large for another process to use it")
        self._users: set[int] = set()
        self._zone: Memzone = memory.reserve(f"MP_{pool.name}_depot", DEPOT.itemsize + self._count * self._stride)
        self._record = self._zone.array(DEPOT)[0]
        self._write()
        pool.attach_depot(self._zone)

    @property
    def hungry(self) -> bool:
        """Whether a get found nothing."""
        return bool(self._record["hungry"])

    def admit(self, lcore: int, *, cached: bool) -> None:
        """Let an lcore of another process use the pool, with a cache or without."""
        if lcore in self._users:
            return
        header = self._pool.cache_header(lcore)
        header["owner"] = lcore + 1
        header["limit"] = self._limit if cached else NO_CACHE
        header["depot"] = self._zone.address
        self._users.add(lcore)
        feed_from_ring(self._pool.address, 1)

    def dismiss(self, lcores: Collection[int]) -> None:
        """Take back what these lcores have in their caches and in crates; they run no more."""
        kept: list[int] = []
        for lcore in self._users.intersection(lcores):
            header = self._pool.cache_header(lcore)
            kept += self._pool.cached(lcore)
            header["length"], header["depot"], header["owner"] = 0, 0, 0
            header["limit"] = self._limit
            self._users.discard(lcore)
        kept += self._crates_of({lcore + 1 for lcore in lcores})
        own = [address for address in dict.fromkeys(kept) if self._pool.index(address) >= 0]
        if len(own) < len(kept):
            log.warning(f"mempool {self._pool.name}: {len(kept) - len(own)} words of a dead process were no elements")
        if own:
            self._pool.put(own)

    @property
    def _limit(self) -> int:
        return self._pool.cache_size + self._pool.cache_size // 2

    def _crates_of(self, owners: set[int]) -> list[int]:
        """Return what is in the crates in these hands, and empty them: they count as empty crates again."""
        words: list[int] = []
        for number in range(1, self._count + 1):
            offset = DEPOT.itemsize + (number - 1) * self._stride
            crate = self._zone.array(CRATE, 1, offset)[0]
            if int(crate["owner"]) in owners:
                length = min(max(int(crate["length"]), 0), self._capacity)
                words += self._zone.array("<i8", length, offset + CRATE_SLOTS).tolist()
                crate["length"] = 0
                give_crate(self._zone.address, self._zone.address + offset)
        return words

    def _write(self) -> None:
        first = self._zone.address + DEPOT.itemsize
        self._record["crates"], self._record["crate_stride"] = first, self._stride
        self._record["capacity"], self._record["count"] = self._capacity, self._count
        raw = self._zone.array("u1", self._count * self._stride, DEPOT.itemsize)
        crates = np.ndarray((self._count,), CRATE, raw, 0, (self._stride,))
        crates["number"] = np.arange(1, self._count + 1)
        crates["next"] = np.arange(self._count)  # number 1 lies at the bottom
        self._record["empty"] = self._count
