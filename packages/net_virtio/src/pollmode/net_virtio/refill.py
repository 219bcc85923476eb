# SPDX-License-Identifier: BSD-3-Clause
"""Posting receive buffers: all free descriptors in one piece, from the pool, as far as the pool has mbufs.

A ring that got less than it wanted asks again at each later poll: no failed refill leaves it dead.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, inlined, load16, load64, record, store16, store64, view
from pollmode.mbuf import pool_get_bulk
from pollmode.vhost.virtqueue import AVAIL_RING, DESC_LEN, VRING_DESC_F_WRITE, VRING_DESC_SIZE

from .layout import VIRTQUEUE
from .ring import FLAGS_SHIFT, I8, free_packet, offer, publish


@compiled
def fetch(lcore: int, queue: int, count: int) -> int:
    """Take `count` mbufs out of the pool into the scratch; when it has not so many half of that, a quarter, or none."""
    q = record(queue, VIRTQUEUE)
    while count > 0:
        if pool_get_bulk(lcore, q.pool, q.scratch, count) != 0:
            return count
        count >>= 1
    return 0


@compiled
def post(queue: int, count: int) -> int:
    """Post the `count` mbufs in the scratch at as many free descriptors, and publish them; returns `count`."""
    q = record(queue, VIRTQUEUE)
    mask = q.mask
    ids = q.ids
    desc = q.desc
    entries = q.avail + AVAIL_RING
    position = q.avail_idx
    shadow = view(q.shadow, mask + 1, I8)
    scratch = q.scratch
    header_offset = q.header_offset
    for index in range(count):
        m = load64(scratch + 8 * index)
        identity = load16(ids + 2 * index)
        shadow[identity] = m
        store64(desc + VRING_DESC_SIZE * identity, m + header_offset)
        offer(entries, mask, position + index, identity)
    for index in range(count, q.free):
        store16(ids + 2 * (index - count), load16(ids + 2 * index))
    q.free -= count
    publish(queue, count)
    return count


@inlined
def refill(lcore: int, queue: int, arrived: int) -> None:
    """Give the device a new buffer for every free descriptor, or for as many as the pool has.

    `arrived` of the free descriptors came with this burst; those of them that stay empty count as nombuf.
    """
    q = record(queue, VIRTQUEUE)
    free = q.free
    count = fetch(lcore, queue, free)
    if count < free:
        q.nombuf += min(arrived, free - count)
    if count > 0:
        post(queue, count)


@compiled
def post_all(lcore: int, queue: int) -> int:
    """Write every descriptor of a fresh receive ring and post as many as the pool can fill; returns how many."""
    q = record(queue, VIRTQUEUE)
    for identity in range(q.mask + 1):
        store64(q.desc + VRING_DESC_SIZE * identity, 0)
        store64(q.desc + VRING_DESC_SIZE * identity + DESC_LEN, q.room | (VRING_DESC_F_WRITE << FLAGS_SHIFT))
        store16(q.ids + 2 * identity, identity)
    q.free = q.mask + 1
    before = 0
    while q.free > 0 and q.free != before:
        before = q.free
        refill(lcore, queue, 0)
    posted: int = q.mask + 1 - q.free
    return posted


@compiled
def give_back_posted(lcore: int, queue: int) -> int:
    """Put every buffer of a silent receive ring back into its pool; returns how many."""
    q = record(queue, VIRTQUEUE)
    shadow = view(q.shadow, q.mask + 1, I8)
    count = 0
    for identity in range(q.mask + 1):
        if shadow[identity] != 0:
            free_packet(lcore, shadow[identity])
            shadow[identity] = 0
            count += 1
    return count
