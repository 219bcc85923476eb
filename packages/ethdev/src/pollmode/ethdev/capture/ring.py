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
from pollmode.mbuf import MBUF_DATA_LEN, MBUF_PKT_LEN, NO_ROOM, mbuf_data, mbuf_gather, place_for
from pollmode.net.pcapng import (
    ENHANCED,
    PACKET_DIRECTION,
    PACKET_END_OF_OPTIONS,
    PACKET_HEADER_SIZE,
    PACKET_HIGH,
    PACKET_INTERFACE,
    PACKET_KIND,
    PACKET_LENGTH,
    PACKET_LOW,
    PACKET_ORIGINAL,
    PACKET_OVERHEAD,
    PACKET_QUEUE,
    PACKET_TRAILER_SIZE,
)

from .layout import HEAD, TAIL, TAP_QUEUE, WRAP

__all__ = ["gather", "make_tap", "now"]


@inlined
def write_block(queue: int, at: int, length: int, stamp: int, captured: int, original: int) -> int:
    """Write an enhanced packet block but for its data (section 4.3); returns where that goes."""
    q = record(queue, TAP_QUEUE)
    end = at + length - PACKET_TRAILER_SIZE
    store32(end - 4, 0)  # padding; of a packet of no bytes this is the header's last word, so it comes first
    # Two words of the header in each store, and of the trailer's last.
    store64(at + PACKET_KIND, ENHANCED | length << 32)
    store64(at + PACKET_INTERFACE, q.interface | (stamp >> 32) << 32)
    store64(at + PACKET_LOW, (stamp & 0xFFFFFFFF) | captured << 32)
    store32(at + PACKET_ORIGINAL, original)
    store64(end + PACKET_DIRECTION, q.direction)
    store64(end + PACKET_QUEUE, q.queue)
    store64(end + PACKET_END_OF_OPTIONS, length << 32)
    return at + PACKET_HEADER_SIZE


@functools.cache
def make_tap() -> Callback:
    """Return the callback of a captured queue. All packets of a burst have the time of the burst."""

    def capture_tap(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, TAP_QUEUE)
        if n == 0 or q.armed == 0:
            return n
        stamp = realtime()
        head, tail = q.head, load_acquire64(queue + TAIL)
        kept = 0
        while kept < n:
            m = load64(burst + 8 * kept)
            original = load32(m + MBUF_PKT_LEN)
            captured = min(original, q.snaplen)
            length = PACKET_OVERHEAD + captured + (-captured & 3)
            place = place_for(head, tail, q.size, length)
            if place == NO_ROOM:
                break
            if place < head:
                store64(queue + WRAP, head)
            data = write_block(queue, q.buffer + place, length, stamp, captured, original)
            if load16(m + MBUF_DATA_LEN) >= captured:
                copy(data, mbuf_data(m), captured)
            else:
                mbuf_gather(m, 0, captured, data)
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
    if q.next > q.limit and q.next == load64(queue + WRAP):
        q.next = 0
    return 0 if q.next == q.limit else q.buffer + q.next


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
                stamp = load32(at + PACKET_HIGH) << 32 | load32(at + PACKET_LOW)
                if stamp < earliest:
                    first, block, earliest = queue, at, stamp
        length = load32(block + PACKET_LENGTH) if first != 0 else room + 1
        if filled + length > room:
            break
        copy(out + filled, block, length)
        filled += length
        q = record(first, TAP_QUEUE)
        q.next = block - q.buffer + length
    for i in range(count):
        queue = load64(queues + 8 * i)
        store_release64(queue + TAIL, record(queue, TAP_QUEUE).next)
    return filled
