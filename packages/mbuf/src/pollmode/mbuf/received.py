# SPDX-License-Identifier: BSD-3-Clause
"""Making packets of bytes that lie elsewhere: what drivers do that copy out of memory the other side owns."""

from __future__ import annotations

from pollmode.eal.jit import compiled, copy, inlined, load16, load64, store16, store32, store64
from pollmode.mbuf.alloc import mbuf_free
from pollmode.mbuf.cache import pool_get
from pollmode.mbuf.layout import (
    HEADROOM,
    MBUF_BUF_ADDR,
    MBUF_BUF_LEN,
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_PKT_LEN,
    MBUF_REARM,
    REARM_DATA_OFF,
)

__all__ = ["mbuf_received", "mbuf_scatter", "pool_get_some"]

NO_HEADROOM = ~REARM_DATA_OFF.mask


@inlined
def mbuf_received(m: int, rearm: int, length: int) -> None:
    """Make a free mbuf a packet of `length` bytes: everything its first cache line says."""
    store64(m + MBUF_REARM, rearm)
    store64(m + MBUF_OL_FLAGS, 0)
    store64(m + MBUF_PACKET_TYPE, length << 32)  # packet_type and pkt_len
    store64(m + MBUF_DATA_LEN, length)  # data_len, vlan_tci and hash_rss


@compiled
def mbuf_scatter(lcore: int, pool: int, m: int, rearm: int, source: int, length: int) -> int:
    """Copy the `length` bytes at `source` into the free mbuf `m` and as many more of `pool` as they need.

    `rearm` is the first one's rearm word, with HEADROOM bytes before the data; the further ones have none. Returns 1,
    or 0 when the pool has too few: then `m` is free as before.
    """
    room = load16(m + MBUF_BUF_LEN) - HEADROOM
    done = min(room, length)
    head = last = 0
    segments = 1
    while done < length:
        fresh = pool_get(lcore, pool)
        if fresh == 0:
            mbuf_free(lcore, head)
            return 0
        piece = min(length - done, load16(fresh + MBUF_BUF_LEN))
        copy(load64(fresh + MBUF_BUF_ADDR), source + done, piece)
        mbuf_received(fresh, rearm & NO_HEADROOM, piece)
        if head == 0:
            head = fresh
        else:
            store64(last + MBUF_NEXT, fresh)
            store16(head + MBUF_NB_SEGS, segments)  # as they come, so that freeing `head` frees them all
        last = fresh
        segments += 1
        done += piece
    copy(load64(m + MBUF_BUF_ADDR) + HEADROOM, source, min(room, length))
    mbuf_received(m, rearm, min(room, length))
    if head != 0:
        store16(head + MBUF_NB_SEGS, 1)
    store64(m + MBUF_NEXT, head)
    store16(m + MBUF_NB_SEGS, segments)
    store32(m + MBUF_PKT_LEN, length)
    return 1


@compiled
def pool_get_some(lcore: int, pool: int, objs: int, n: int) -> int:
    """Take up to `n` elements' addresses into the array at `objs`, as many as there are; returns how many."""
    got = 0
    while got < n:
        element = pool_get(lcore, pool)
        if element == 0:
            break
        store64(objs + 8 * got, element)
        got += 1
    return got
