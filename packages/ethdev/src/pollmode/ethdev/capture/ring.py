# SPDX-License-Identifier: BSD-3-Clause
"""The memory of a captured queue, compiled: the callback that fills it, and taking blocks out in the order of time."""

from __future__ import annotations

import functools

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    copy,
    inlined,
    load16,
    load32,
    load64,
    load_acquire64,
    realtime,
    record,
    store32,
    store64,
    store_release64,
)
from pollmode.mbuf import MBUF_DATA_LEN, MBUF_NEXT, MBUF_PKT_LEN, mbuf_data
from pollmode.net.pcapng import ENHANCED, PACKET_HEADER_SIZE, PACKET_OVERHEAD

from .layout import HEAD, TAIL, TAP_QUEUE, WRAP

__all__ = ["gather", "make_tap", "now"]

NO_ROOM = -1


@inlined
def place_for(queue: int, head: int, length: int) -> int:
    """Return the offset for a block of `length` bytes when the last one ends at `head`, or NO_ROOM."""
    q = record(queue, TAP_QUEUE)
    tail = load_acquire64(queue + TAIL)
    if head < tail:
        return head if head + length < tail else NO_ROOM
    if head + length <= q.size:
        return head
    if length < tail:
        store64(queue + WRAP, head)
        return 0
    return NO_ROOM


@compiled
def copy_chain(to: int, m: int, length: int) -> int:
    """Copy the first `length` bytes of a packet of several segments; returns how many there were."""
    done = 0
    while m != 0 and done < length:
        piece = min(load16(m + MBUF_DATA_LEN), length - done)
        copy(to + done, mbuf_data(m), piece)
        done += piece
        m = load64(m + MBUF_NEXT)
    return done


@inlined
def write_block(queue: int, at: int, length: int, stamp: int, captured: int, original: int) -> int:
    """Write an enhanced packet block but for its data (section 4.3); returns where that goes."""
    q = record(queue, TAP_QUEUE)
    end = at + length - 24
    store32(end - 4, 0)  # padding; of a packet of no bytes this is the header's last word, so it comes first
    store64(at, ENHANCED | length << 32)
    store64(at + 8, q.interface | (stamp >> 32) << 32)
    store64(at + 16, (stamp & 0xFFFFFFFF) | captured << 32)
    store32(at + 24, original)
    store64(end, q.direction)
    store64(end + 8, q.queue)
    store64(end + 16, length << 32)  # the end of options, the length again
    return at + PACKET_HEADER_SIZE


@functools.cache
def make_tap() -> Callback:
    """Return the callback of a captured queue. All packets of a burst have the time of the burst."""

    def capture_tap(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, TAP_QUEUE)
        if n == 0 or q.armed == 0:
            return n
        stamp = realtime()
        head = q.head
        kept = 0
        while kept < n:
            m = load64(burst + 8 * kept)
            original = load32(m + MBUF_PKT_LEN)
            captured = min(original, q.snaplen)
            length = PACKET_OVERHEAD + captured + (-captured & 3)
            place = place_for(queue, head, length)
            if place == NO_ROOM:
                break
            data = write_block(queue, q.buffer + place, length, stamp, captured, original)
            if load16(m + MBUF_DATA_LEN) >= captured:
                copy(data, mbuf_data(m), captured)
            else:
                copy_chain(data, m, captured)
            head = place + length
            kept += 1
        store_release64(queue + HEAD, head)
        q.seen += n
        q.missed += n - kept
        return n

    return burst_callback(capture_tap, "capture_tap")


@compiled
def now() -> int:
    """Return the time that packets are stamped with: nanoseconds since 1970."""
    return realtime()


@inlined
def oldest_of(queue: int) -> int:
    """Return the address of the block that is next in a queue's memory, 0 when there is none."""
    q = record(queue, TAP_QUEUE)
    tail = q.tail
    if tail > q.limit and tail == load64(queue + WRAP):
        tail = 0
        store_release64(queue + TAIL, tail)
    return 0 if tail == q.limit else q.buffer + tail


@compiled
def gather(queues: int, count: int, out: int, room: int, until: int) -> int:
    """Copy the blocks of `count` queues stamped before `until` to `out`, oldest first, and free their memory.

    `queues` is an array of addresses; returns the bytes, at most `room`.
    """
    for i in range(count):
        queue = load64(queues + 8 * i)
        record(queue, TAP_QUEUE).limit = load_acquire64(queue + HEAD)
    filled = 0
    while True:
        first, block, earliest = 0, 0, until
        for i in range(count):
            queue = load64(queues + 8 * i)
            at = oldest_of(queue)
            if at != 0:
                stamp = (load64(at + 8) >> 32) << 32 | load32(at + 16)
                if stamp < earliest:
                    first, block, earliest = queue, at, stamp
        length = load32(block + 4) if first != 0 else room + 1
        if filled + length > room:
            return filled
        copy(out + filled, block, length)
        filled += length
        q = record(first, TAP_QUEUE)
        store_release64(first + TAIL, block - q.buffer + length)
