# SPDX-License-Identifier: BSD-3-Clause
"""The loops that are measured, compiled: the same as in libdpdk.c. Each returns the cycles that all rounds took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pollmode.eal import memory
from pollmode.eal.jit import compiled, cycles, load64, store64
from pollmode.eal.lcore_layout import LCORE
from pollmode.mbuf import (
    create_pool,
    mbuf_alloc,
    mbuf_alloc_bulk,
    mbuf_free,
    mbuf_free_bulk,
    mempool,
    pool_get_bulk,
    pool_put_bulk,
    ring,
    ring_dequeue,
    ring_dequeue_bulk,
    ring_enqueue,
    ring_enqueue_bulk,
)
from pollmode.net.checksum import raw_checksum

BULK: Final = 32
COUNT: Final = 8191
ROOM: Final = 64 << 20


@compiled
def ring_bulk(address: int, objs: int, rounds: int) -> int:
    start = cycles()
    for _ in range(rounds):
        ring_enqueue_bulk(address, objs, BULK)
        ring_dequeue_bulk(address, objs, BULK)
    return cycles() - start


@compiled
def ring_single(address: int, objs: int, rounds: int) -> int:
    word = load64(objs)
    start = cycles()
    for _ in range(rounds):
        ring_enqueue(address, word)
        word = ring_dequeue(address)
    spent = cycles() - start
    store64(objs, word)
    return spent


@compiled
def pool_bulk(lcore: int, pool: int, objs: int, rounds: int) -> int:
    start = cycles()
    for _ in range(rounds):
        if pool_get_bulk(lcore, pool, objs, BULK) != 0:
            pool_put_bulk(lcore, pool, objs, BULK)
    return cycles() - start


@compiled
def mbuf_bulk(lcore: int, pool: int, burst: int, rounds: int) -> int:
    start = cycles()
    for _ in range(rounds):
        if mbuf_alloc_bulk(lcore, pool, burst, BULK) != 0:
            mbuf_free_bulk(lcore, burst, BULK)
    return cycles() - start


@compiled
def mbuf_single(lcore: int, pool: int, rounds: int) -> int:
    start = cycles()
    for _ in range(rounds):
        mbuf_free(lcore, mbuf_alloc(lcore, pool))
    return cycles() - start


@compiled
def checksum(address: int, length: int, objs: int, rounds: int) -> int:
    total = 0
    start = cycles()
    for i in range(rounds):
        store64(objs, i)  # may lie anywhere for all that LLVM knows, so the sum is taken anew each time
        total += raw_checksum(address, length)
    spent = cycles() - start
    store64(objs, total)
    return spent


@dataclass(frozen=True)
class Loop:
    """One row of the table: what it is called, and operations in one of its rounds."""

    name: str
    operations: int
    run: Callable[[int], int]


class Bench:
    """Everything that the loops work on."""

    def __init__(self) -> None:
        self.memory = memory.private(ROOM)
        self._lcore = np.zeros(1, LCORE)
        self._objs = self.memory.reserve("objs", 16 * BULK)  # on a cache line, like the C program's array
        self._bytes = self.memory.reserve("bytes", 2048)
        self._bytes.array(np.uint8, 2048)[:] = np.arange(2048) * 7 % 256
        self._single = ring.create(self.memory, "sp", 1024, single_producer=True, single_consumer=True)
        self._many = ring.create(self.memory, "mp", 1024)
        self._cached = mempool.create(self.memory, "cached", COUNT, element_size=2048, cache_size=256)
        self._uncached = mempool.create(self.memory, "uncached", COUNT, element_size=2048, cache_size=0)
        self._mbufs = create_pool(self.memory, "mbufs", COUNT, cache_size=256)

    def loops(self) -> list[Loop]:
        """Return the rows of the table, each ready to run for a number of rounds."""
        lcore, objs, text = self._lcore.ctypes.data, self._objs.address, self._bytes.address
        sp, mp, mbufs = self._single.address, self._many.address, self._mbufs.address
        sums = [
            Loop(f"checksum_{length}", 1, lambda n, length=length: checksum(text, length, objs, n))  # type: ignore[misc]
            for length in (20, 64, 1500)
        ]
        return [
            Loop("ring_sp_bulk", BULK, lambda n: ring_bulk(sp, objs, n)),
            Loop("ring_mp_bulk", BULK, lambda n: ring_bulk(mp, objs, n)),
            Loop("ring_sp_single", 1, lambda n: ring_single(sp, objs, n)),
            Loop("ring_mp_single", 1, lambda n: ring_single(mp, objs, n)),
            Loop("pool_cached_bulk", BULK, lambda n: pool_bulk(lcore, self._cached.address, objs, n)),
            Loop("pool_uncached_bulk", BULK, lambda n: pool_bulk(lcore, self._uncached.address, objs, n)),
            Loop("mbuf_bulk", BULK, lambda n: mbuf_bulk(lcore, mbufs, objs, n)),
            Loop("mbuf_single", 1, lambda n: mbuf_single(lcore, mbufs, n)),
            *sums,
        ]

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
