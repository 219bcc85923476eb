# SPDX-License-Identifier: BSD-3-Clause
"""Posting receive buffers: all free descriptors in one piece, from the pool, as far as the pool has mbufs.

A ring that got less than it wanted asks again at each later poll: no failed refill leaves it dead (DPDK 8fce14b789).
"""

from __future__ import annotations

from pollmode.bus_pci import ring_doorbell
from pollmode.eal.jit import compiled, inlined, load8, load64, record, store64, store_release64, view
from pollmode.mbuf import pool_get_bulk
from pollmode.mbuf.layout import HEADROOM, MBUF_BUF_IOVA

from .layout import DESC_SIZE, DESC_WORD1, RXD_GEN, RXQ_UPDATE_PROD
from .records import QUEUE, RING
from .ring import I8, free_packet, free_slots

GEN_SHIFT = RXD_GEN.shift


@compiled
def fetch(lcore: int, queue: int, count: int) -> int:
    """Take `count` mbufs out of the pool into the scratch; when it has not so many half of that, a quarter, or none."""
    q = record(queue, QUEUE)
    while count > 0:
        if pool_get_bulk(lcore, q.pool, q.scratch, count) != 0:
            return count
        count >>= 1
    return 0


@compiled
def post(queue: int, ring: int, count: int) -> int:
    """Post the `count` mbufs in the scratch at as many free descriptors; returns `count`."""
    q = record(queue, QUEUE)
    r = record(ring, RING)
    shadow = view(r.shadow, r.size, I8)
    desc, size, fill, scratch = r.desc, r.size, r.fill, q.scratch
    offset, scattered = q.iova_offset, q.scattered_iova
    word = r.word | r.gen << GEN_SHIFT
    for index in range(count):
        m = load64(scratch + 8 * index)
        shadow[fill] = m
        entry = desc + DESC_SIZE * fill
        store64(entry, load64(m + MBUF_BUF_IOVA) + HEADROOM if scattered else m + offset)
        store_release64(entry + DESC_WORD1, word)
        fill += 1
        if fill == size:
            fill = 0
            word ^= 1 << GEN_SHIFT
    r.fill = fill
    r.gen = (word >> GEN_SHIFT) & 1
    r.used += count
    return count


@compiled
def tell(queue: int, ring: int) -> int:
    """Tell the device how far a ring is filled; returns 1."""
    q = record(queue, QUEUE)
    r = record(ring, RING)
    ring_doorbell(r.doorbell, r.fill)
    q.kicks += 1
    return 1


@inlined
def refill(lcore: int, queue: int, ring: int, arrived: int) -> None:
    """Give the device a new buffer for every free descriptor of a ring, or for as many as the pool has.

    `arrived` of the free descriptors came with this burst; those of them that stay empty count as nombuf.
    """
    q = record(queue, QUEUE)
    free = free_slots(ring)
    count = fetch(lcore, queue, free)
    if count < free:
        q.nombuf += min(arrived, free - count)
    if count > 0:
        post(queue, ring, count)
        if load8(q.control + RXQ_UPDATE_PROD) != 0:
            tell(queue, ring)


@compiled
def refill_body(lcore: int, queue: int, arrived: int) -> int:
    """Refill ring 1; returns 1."""
    refill(lcore, queue, record(queue, QUEUE).ring1, arrived)
    return 1


@compiled
def post_all(lcore: int, queue: int, ring: int) -> int:
    """Post as many buffers to an empty ring as the pool has; returns how many."""
    r = record(ring, RING)
    before = -1
    while free_slots(ring) > 0 and r.used != before:
        before = r.used
        count = fetch(lcore, queue, free_slots(ring))
        post(queue, ring, count)
    posted: int = r.used
    return posted


@compiled
def drop_head(lcore: int, queue: int) -> int:
    """Free the packet that has begun and not ended; returns 1 when there was one."""
    q = record(queue, QUEUE)
    if q.head == 0:
        return 0
    free_packet(lcore, q.head)
    q.head = 0
    return 1
