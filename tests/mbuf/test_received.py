# SPDX-License-Identifier: BSD-3-Clause
"""Packets made of bytes from elsewhere; what is taken while a pool lasts."""

from __future__ import annotations

import numpy as np
import pytest
from support.mbuf_verbs import Lcore, content, header

from pollmode.eal.jit import compiled
from pollmode.mbuf import (
    HEADROOM,
    REARM_ONE_OWNER,
    REARM_PORT,
    Mempool,
    mbuf_free,
    mbuf_received,
    mbuf_scatter,
    pool_get,
    pool_get_some,
    pool_put_bulk,
)

REARM = REARM_PORT.put(REARM_ONE_OWNER | HEADROOM, 7)
ROOM, WHOLE = 256, 384  # bytes of the pool's mbufs behind the headroom, and without one
SOURCE = np.arange(4096, dtype=np.uint16).astype(np.uint8)


@compiled
def take(lcore: int, pool: int) -> int:
    return pool_get(lcore, pool)


@compiled
def give(lcore: int, m: int) -> int:
    mbuf_free(lcore, m)
    return 0


@compiled
def give_back(lcore: int, pool: int, objs: int, n: int) -> int:
    pool_put_bulk(lcore, pool, objs, n)
    return n


@compiled
def receive(m: int, rearm: int, length: int) -> int:
    mbuf_received(m, rearm, length)
    return m


@pytest.mark.parametrize(
    ("length", "segments"),
    [(1, [1]), (ROOM, [ROOM]), (ROOM + 1, [ROOM, 1]), (ROOM + WHOLE, [ROOM, WHOLE]), (1400, [ROOM, WHOLE, WHOLE, 376])],
)
def test_bytes_become_as_many_segments_as_they_need(
    length: int, segments: list[int], mbufs: Mempool, worker: Lcore
) -> None:
    m = take(worker.address, mbufs.address)
    assert mbuf_scatter(worker.address, mbufs.address, m, REARM, SOURCE.ctypes.data, length) == 1
    parts = content(m)
    assert [len(part) for part in parts] == segments
    assert b"".join(parts) == SOURCE[:length].tobytes()
    assert (header(m)["pkt_len"], header(m)["nb_segs"], header(m)["port"]) == (length, len(segments), 7)
    assert header(m)["data_off"] == HEADROOM
    give(worker.address, m)


@pytest.mark.parametrize("left", range(4))
def test_a_pool_with_too_few_gives_none(left: int, mbufs: Mempool, worker: Lcore) -> None:
    m = take(worker.address, mbufs.address)
    taken = np.zeros(64, np.int64)
    count = pool_get_some(worker.address, mbufs.address, taken.ctypes.data, mbufs.available() - left)
    assert mbuf_scatter(worker.address, mbufs.address, m, REARM, SOURCE.ctypes.data, ROOM + 3 * WHOLE + 1) == 0
    assert mbufs.available() == left
    assert (header(m)["nb_segs"], header(m)["next"], header(m)["refcnt"]) == (1, 0, 1)
    give_back(worker.address, mbufs.address, taken.ctypes.data, count)
    give(worker.address, m)


def test_as_many_are_taken_as_there_are(mbufs: Mempool, worker: Lcore) -> None:
    taken = np.zeros(100, np.int64)
    assert pool_get_some(worker.address, mbufs.address, taken.ctypes.data, 10) == 10
    assert pool_get_some(worker.address, mbufs.address, taken[10:].ctypes.data, 90) == 54
    assert pool_get_some(worker.address, mbufs.address, taken[64:].ctypes.data, 1) == 0
    assert len(set(taken[:64].tolist())) == 64
    give_back(worker.address, mbufs.address, taken.ctypes.data, 64)


def test_a_received_mbuf_has_a_clean_first_cache_line(mbufs: Mempool, worker: Lcore) -> None:
    m = take(worker.address, mbufs.address)
    for field in ("ol_flags", "packet_type", "vlan_tci", "hash_rss"):
        header(m)[field] = 0x5A
    receive(m, REARM, 60)
    found = {name: int(header(m)[name]) for name in ("ol_flags", "packet_type", "vlan_tci", "hash_rss", "pkt_len")}
    assert found == {"ol_flags": 0, "packet_type": 0, "vlan_tci": 0, "hash_rss": 0, "pkt_len": 60}
    give(worker.address, m)
