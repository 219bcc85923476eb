# SPDX-License-Identifier: BSD-3-Clause
"""Taking mbufs out of their pools and giving them back.

The invariant that makes this cheap is DPDK's: a free mbuf has refcnt = 1, nb_segs = 1 and next = 0. Who takes one
writes only what changes from packet to packet, and who gives one back that still is like that writes nothing.

Giving back a burst first reads the burst's first cache lines and asks one question of them all: is each a single
segment with one owner and a buffer of its own, and are all of one pool? Then the burst is one put. Anything else goes
the general way, segment by segment.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    compiled,
    fence_acquire,
    fence_release,
    fetch_add16,
    inlined,
    load16,
    load64,
    load_relaxed16,
    load_relaxed64,
    store16,
    store64,
)
from pollmode.eal.layout import offset_of
from pollmode.mbuf.cache import pool_get, pool_get_bulk, pool_put, pool_put_bulk
from pollmode.mbuf.layout import (
    ATTACHED,
    INDIRECT,
    MBUF_BUF_ADDR,
    MBUF_BUF_IOVA,
    MBUF_BUF_LEN,
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_POOL,
    MBUF_PRIV_SIZE,
    MBUF_REARM,
    MBUF_REFCNT,
    MBUF_SIZE,
    MBUF_TX_OFFLOAD,
    MBUF_VLAN_TCI_OUTER,
    MEMPOOL_DATA_ROOM,
    MEMPOOL_PRIVATE_SIZE,
    MEMPOOL_REARM,
    OBJECT_HEADER,
    OBJECT_HEADER_SIZE,
    REARM_ONE_OWNER,
    REARM_OWNERS_MASK,
    REARM_PORT,
)

__all__ = [
    "mbuf_alloc",
    "mbuf_alloc_bulk",
    "mbuf_detach",
    "mbuf_direct",
    "mbuf_free",
    "mbuf_free_bulk",
    "mbuf_free_fast",
    "mbuf_free_segment",
    "mbuf_rearm",
    "mbuf_refcnt",
    "mbuf_refcnt_update",
    "mbuf_refcnt_update_all",
    "mbuf_reset",
]

HEADER_IOVA = offset_of(OBJECT_HEADER, "iova") - OBJECT_HEADER_SIZE
PORT_SHIFT = REARM_PORT.shift


@inlined
def mbuf_rearm(m: int, data_off: int, port: int) -> None:
    """Make a free mbuf a received one: data offset and port, one owner, one segment, in one store."""
    store64(m + MBUF_REARM, data_off | REARM_ONE_OWNER | (port << PORT_SHIFT))


@inlined
def _reset(m: int, rearm: int) -> None:
    store64(m + MBUF_REARM, rearm)
    store64(m + MBUF_OL_FLAGS, 0)
    store64(m + MBUF_PACKET_TYPE, 0)  # and pkt_len
    store64(m + MBUF_DATA_LEN, 0)  # and vlan_tci, hash_rss
    store16(m + MBUF_VLAN_TCI_OUTER, 0)
    store64(m + MBUF_TX_OFFLOAD, 0)


@inlined
def mbuf_reset(m: int) -> None:
    """Make a free mbuf an empty packet with headroom (rte_pktmbuf_reset)."""
    _reset(m, load64(load64(m + MBUF_POOL) + MEMPOOL_REARM))


@inlined
def mbuf_alloc(lcore: int, pool: int) -> int:
    """Take an empty mbuf out of a pool; returns its address, or 0 when the pool is empty (rte_pktmbuf_alloc)."""
    m = pool_get(lcore, pool)
    if m != 0:
        _reset(m, load64(pool + MEMPOOL_REARM))
    return m


@inlined
def mbuf_alloc_bulk(lcore: int, pool: int, burst: int, n: int) -> int:
    """Take `n` empty mbufs, all or none; returns n or 0 (rte_pktmbuf_alloc_bulk)."""
    got = pool_get_bulk(lcore, pool, burst, n)
    rearm = load64(pool + MEMPOOL_REARM)
    for i in range(got):
        _reset(load64(burst + 8 * i), rearm)
    return got


@inlined
def mbuf_free_fast(lcore: int, pool: int, burst: int, n: int) -> None:
    """Give back `n` mbufs of which the caller knows: of this pool, one owner, one segment, a buffer of their own
    (RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE).
    """
    pool_put_bulk(lcore, pool, burst, n)


@inlined
def _special(m: int) -> int:
    """Return 0 when an mbuf is one segment with one owner and its own buffer."""
    return ((load_relaxed64(m + MBUF_REARM) ^ REARM_ONE_OWNER) & REARM_OWNERS_MASK) | (
        load64(m + MBUF_OL_FLAGS) & ATTACHED
    )


@inlined
def mbuf_free_bulk(lcore: int, burst: int, n: int) -> None:
    """Give back `n` packets, whatever they are: chains, shared, indirect, of several pools; 0 is passed over
    (rte_pktmbuf_free_bulk).
    """
    special = 0
    pool = 0
    for i in range(n):
        m = load64(burst + 8 * i)
        if m == 0:
            special = 1
            break
        home = load64(m + MBUF_POOL)
        if i == 0:
            pool = home
        special |= _special(m) | (home ^ pool)
    if special != 0:
        _free_each(lcore, burst, n)
    elif n > 0:
        fence_acquire()  # who else owned one of them has finished with it
        pool_put_bulk(lcore, pool, burst, n)


@inlined
def mbuf_free(lcore: int, m: int) -> None:
    """Give back a packet with all its segments; 0 is passed over (rte_pktmbuf_free)."""
    if m != 0:
        if _special(m) == 0:
            fence_acquire()
            pool_put(lcore, load64(m + MBUF_POOL), m)
        else:
            _free_chain(lcore, m)


@compiled
def _free_chain(lcore: int, m: int) -> int:
    segments = 0
    while m != 0:
        following = load64(m + MBUF_NEXT)
        mbuf_free_segment(lcore, m)
        m = following
        segments += 1
    return segments


@compiled
def _free_each(lcore: int, burst: int, n: int) -> int:
    for i in range(n):
        mbuf_free(lcore, load64(burst + 8 * i))
    return n


@inlined
def mbuf_free_segment(lcore: int, m: int) -> None:
    """Give up one segment: its pool gets it when nobody else owns it (rte_pktmbuf_free_seg)."""
    if _drop(m) != 0:
        if load64(m + MBUF_OL_FLAGS) & ATTACHED != 0:
            mbuf_detach(lcore, m)
        store64(m + MBUF_NEXT, 0)
        store16(m + MBUF_NB_SEGS, 1)
        pool_put(lcore, load64(m + MBUF_POOL), m)


@inlined
def _drop(m: int) -> int:
    """Give up a share of an mbuf; returns 1 when it was the last one, and then refcnt is 1 again."""
    if load_relaxed16(m + MBUF_REFCNT) != 1:
        fence_release()
        if fetch_add16(m + MBUF_REFCNT, -1) != 1:
            return 0
        store16(m + MBUF_REFCNT, 1)
    fence_acquire()
    return 1


@inlined
def mbuf_refcnt(m: int) -> int:
    """Return how many own the mbuf."""
    return load_relaxed16(m + MBUF_REFCNT)


@inlined
def mbuf_refcnt_update(m: int, change: int) -> int:
    """Add `change` to the number of owners of one segment; returns the new number (rte_mbuf_refcnt_update).

    A sole owner needs no atomic addition: nobody else can be changing it.
    """
    if load_relaxed16(m + MBUF_REFCNT) == 1:
        store16(m + MBUF_REFCNT, 1 + change)
        return 1 + change
    return (fetch_add16(m + MBUF_REFCNT, change) + change) & 0xFFFF


@compiled
def mbuf_refcnt_update_all(m: int, change: int) -> int:
    """Add `change` to the number of owners of every segment of a packet; returns its segments
    (rte_pktmbuf_refcnt_update).
    """
    segments = 0
    while m != 0:
        mbuf_refcnt_update(m, change)
        m = load64(m + MBUF_NEXT)
        segments += 1
    return segments


@inlined
def mbuf_direct(m: int) -> int:
    """Return the mbuf that owns the buffer of `m`: itself, or for an indirect one another."""
    if load64(m + MBUF_OL_FLAGS) & INDIRECT == 0:
        return m
    return load64(m + MBUF_BUF_ADDR) - MBUF_SIZE - load16(m + MBUF_PRIV_SIZE)


@compiled
def mbuf_detach(lcore: int, m: int) -> int:
    """Give an indirect mbuf its own buffer again and give up its share of the other one's (rte_pktmbuf_detach).

    Returns 1. `m` comes out empty.
    """
    direct = mbuf_direct(m)
    pool = load64(m + MBUF_POOL)
    private_size = load64(pool + MEMPOOL_PRIVATE_SIZE)
    before_buffer = MBUF_SIZE + private_size
    store64(m + MBUF_BUF_ADDR, m + before_buffer)
    store64(m + MBUF_BUF_IOVA, load64(m + HEADER_IOVA) + before_buffer)
    store16(m + MBUF_BUF_LEN, load64(pool + MEMPOOL_DATA_ROOM))
    store16(m + MBUF_PRIV_SIZE, private_size)
    store16(m + MBUF_REARM, load64(pool + MEMPOOL_REARM))  # data_off is its low half
    store16(m + MBUF_DATA_LEN, 0)
    store64(m + MBUF_OL_FLAGS, 0)
    if direct != m and _drop(direct) != 0:
        store64(direct + MBUF_NEXT, 0)
        store16(direct + MBUF_NB_SEGS, 1)
        pool_put(lcore, load64(direct + MBUF_POOL), direct)
    return 1
