# SPDX-License-Identifier: BSD-3-Clause
"""The verbs of pollmode.mbuf as entry points, kept on disk between runs, and what every test asks of a pool."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from pollmode import mbuf
from pollmode.eal.jit import compiled
from pollmode.eal.lcore_layout import LCORE
from pollmode.mbuf.layout import MBUF


@compiled
def enqueue(ring: int, objs: int, n: int, whole: int) -> int:
    return mbuf.ring_enqueue_bulk(ring, objs, n) if whole else mbuf.ring_enqueue_burst(ring, objs, n)


@compiled
def dequeue(ring: int, objs: int, n: int, whole: int) -> int:
    return mbuf.ring_dequeue_bulk(ring, objs, n) if whole else mbuf.ring_dequeue_burst(ring, objs, n)


@compiled
def enqueue_one(ring: int, word: int) -> int:
    return mbuf.ring_enqueue(ring, word)


@compiled
def dequeue_one(ring: int) -> int:
    return mbuf.ring_dequeue(ring)


@compiled
def counts(ring: int, free: int) -> int:
    return mbuf.ring_free_count(ring) if free else mbuf.ring_count(ring)


@compiled
def get_bulk(lcore: int, pool: int, objs: int, n: int) -> int:
    return mbuf.pool_get_bulk(lcore, pool, objs, n)


@compiled
def put_bulk(lcore: int, pool: int, objs: int, n: int) -> int:
    mbuf.pool_put_bulk(lcore, pool, objs, n)
    return n


@compiled
def get_one(lcore: int, pool: int) -> int:
    return mbuf.pool_get(lcore, pool)


@compiled
def put_one(lcore: int, pool: int, element: int) -> int:
    mbuf.pool_put(lcore, pool, element)
    return 1


@compiled
def alloc(lcore: int, pool: int) -> int:
    return mbuf.mbuf_alloc(lcore, pool)


@compiled
def alloc_bulk(lcore: int, pool: int, burst: int, n: int) -> int:
    return mbuf.mbuf_alloc_bulk(lcore, pool, burst, n)


@compiled
def free(lcore: int, m: int) -> int:
    mbuf.mbuf_free(lcore, m)
    return 1


@compiled
def free_segment(lcore: int, m: int) -> int:
    mbuf.mbuf_free_segment(lcore, m)
    return 1


@compiled
def free_bulk(lcore: int, burst: int, n: int) -> int:
    mbuf.mbuf_free_bulk(lcore, burst, n)
    return n


@compiled
def free_fast(lcore: int, pool: int, burst: int, n: int) -> int:
    mbuf.mbuf_free_fast(lcore, pool, burst, n)
    return n


@compiled
def rearm(m: int, data_off: int, port: int) -> int:
    mbuf.mbuf_rearm(m, data_off, port)
    return 1


@compiled
def refcnt_update(m: int, change: int) -> int:
    return mbuf.mbuf_refcnt_update(m, change)


@compiled
def chain(head: int, tail: int) -> int:
    return mbuf.mbuf_chain(head, tail)


@compiled
def attach(indirect: int, m: int) -> int:
    mbuf.mbuf_attach(indirect, m)
    return mbuf.mbuf_direct(indirect)


@compiled
def room(m: int, which: int) -> int:
    """0 headroom, 1 tailroom, 2 address of the data, 3 its IO address, 4 last segment, 5 contiguous, 6 owners."""
    if which == 0:
        return mbuf.mbuf_headroom(m)
    if which == 1:
        return mbuf.mbuf_tailroom(m)
    if which == 2:
        return mbuf.mbuf_data(m)
    if which == 3:
        return mbuf.mbuf_data_iova(m)
    if which == 4:
        return mbuf.mbuf_last(m)
    return mbuf.mbuf_is_contiguous(m) if which == 5 else mbuf.mbuf_refcnt(m)


@compiled
def append(m: int, n: int) -> int:
    return mbuf.mbuf_append(m, n)


@compiled
def prepend(m: int, n: int) -> int:
    return mbuf.mbuf_prepend(m, n)


@compiled
def adj(m: int, n: int) -> int:
    return mbuf.mbuf_adj(m, n)


@compiled
def trim(m: int, n: int) -> int:
    return mbuf.mbuf_trim(m, n)


@compiled
def read(m: int, offset: int, length: int, buffer: int) -> int:
    return mbuf.mbuf_read(m, offset, length, buffer)


class Lcore:
    """An lcore's record in ordinary memory, and an array for a burst of up to 64."""

    def __init__(self, number: int) -> None:
        self._record = np.zeros(1, LCORE)
        self._record["id"] = number
        self.address: int = self._record.ctypes.data
        self.words: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.array: int = self.words.ctypes.data


def header(address: int) -> np.void:
    """The mbuf at an address, writable."""
    raw = memoryview((ctypes.c_char * MBUF.itemsize).from_address(address))
    record: np.void = np.frombuffer(raw, MBUF)[0]
    return record


def write(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


def packet(lcore: Lcore, pool: mbuf.Mempool, *segments: bytes) -> int:
    """A packet of these segments; its address."""
    head = 0
    for data in segments:
        m = alloc(lcore.address, pool.address)
        assert m
        write(append(m, len(data)), data)
        if head:
            assert chain(head, m) == 1
        else:
            head = m
    return head


def content(address: int) -> list[bytes]:
    """The bytes of each segment of a packet."""
    found = []
    while address:
        record = header(address)
        found.append(ctypes.string_at(int(record["buf_addr"]) + int(record["data_off"]), int(record["data_len"])))
        address = int(record["next"])
    return found


def assert_all_home(pool: mbuf.Mempool) -> None:
    """Every mbuf is back in its pool, sound, and as a free mbuf has to be."""
    assert pool.audit().out == 0
    mbufs = pool.column(MBUF)
    assert (mbufs["refcnt"] == 1).all()
    assert (mbufs["nb_segs"] == 1).all()
    assert (mbufs["next"] == 0).all()
    assert (mbufs["buf_addr"] == pool.elements() + MBUF.itemsize + pool.private_size).all()
    assert (mbufs["ol_flags"] & mbuf.INDIRECT == 0).all()
