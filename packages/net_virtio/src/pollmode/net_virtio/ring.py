# SPDX-License-Identifier: BSD-3-Clause
"""The driver's side of a split ring: what the device returned, what it is given, how it is kicked.

Every word the device may write is read once, through a verb, into a local, and checked against the private record.
What does not hold breaks the queue: `break_queue` notes what and where, and the callbacks move nothing more until the
control plane has reset the queue. Nothing here raises.
"""

from __future__ import annotations

import numpy as np

from pollmode.eal.jit import (
    compiled,
    delta16,
    fence,
    inlined,
    load8,
    load16,
    load32,
    load_acquire16,
    load_relaxed16,
    record,
    store16,
    store_release16,
    view,
    write_eventfd,
)
from pollmode.mbuf import mbuf_free
from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_IDX,
    INDEX_MASK,
    USED_FLAGS,
    USED_IDX,
    VRING_USED_F_NO_NOTIFY,
)

from .layout import (
    BROADCAST_HIGH,
    BROADCAST_LOW,
    FAULT_USED_INDEX,
    GROUP_BIT,
    MAX_BURST,
    QUEUE_SIZES,
    VIRTQUEUE,
)

I4 = np.dtype("i4")
I8 = np.dtype("i8")

# The second word of a descriptor and a used entry are read and written whole: length | flags << 32 | next << 48, and
# id | len << 32 (virtio 1.2, 2.7.5 and 2.7.8).
WORD32 = 0xFFFFFFFF
FLAGS_SHIFT = 32
NEXT_SHIFT = 48


@compiled
def break_queue(queue: int, code: int, index: int, word: int) -> int:
    """Mark the queue broken by `code` (FAULT_*); the first fault stays. Returns 0, for callers that return a count."""
    q = record(queue, VIRTQUEUE)
    if q.broken == 0:
        q.broken_index = index
        q.broken_word = word
        q.faults += 1
        q.broken = code
    return 0


@compiled
def free_packet(lcore: int, m: int) -> int:
    """Free a packet, whatever it is: one copy of that code for all slow paths. Returns 1."""
    mbuf_free(lcore, m)
    return 1


@inlined
def used_waiting(queue: int) -> int:
    """Return how many used entries have not been taken; 0 for an impossible index, which breaks the queue.

    The device can't have returned more than it was given: that bounds a jump and a step back alike.
    """
    q = record(queue, VIRTQUEUE)
    index = load_acquire16(q.used + USED_IDX)
    waiting = delta16(index, q.used_idx)
    if waiting > delta16(q.avail_idx, q.used_idx):
        return break_queue(queue, FAULT_USED_INDEX, q.used_idx, index)
    return waiting


@inlined
def offer(entries: int, mask: int, position: int, identity: int) -> None:
    """Put a descriptor's number into the available ring.

    With descriptors used in turn the number is there already from the last round; not writing it again keeps the line
    shared with the device's core.
    """
    at = entries + AVAIL_ELEM_SIZE * (position & mask)
    if load_relaxed16(at) != identity:
        store16(at, identity)


@inlined
def publish(queue: int, count: int) -> None:
    """Give the device `count` more available entries, written already, and kick it when it wants to be.

    The fence stands between our index and the device's wish (2.7.13.3): one of both sides sees what the other wrote.
    """
    q = record(queue, VIRTQUEUE)
    index = (q.avail_idx + count) & INDEX_MASK
    q.avail_idx = index
    store_release16(q.avail + AVAIL_IDX, index)
    fence()
    if load_relaxed16(q.used + USED_FLAGS) & VRING_USED_F_NO_NOTIFY == 0:
        write_eventfd(q.kick_fd)
        q.kicks += 1


@inlined
def is_group(data: int) -> int:
    """Return 1 for a frame to a multicast or broadcast address."""
    return load8(data) & GROUP_BIT


@inlined
def is_broadcast(data: int) -> int:
    """Return 1 for a frame to the broadcast address."""
    return 1 if load32(data) == BROADCAST_LOW and load16(data + 4) == BROADCAST_HIGH else 0


@inlined
def count_packets(queue: int, lengths: int, count: int, group: int, broadcast: int) -> None:
    """Count `count` packets of the lengths (i4) at `lengths`, `group` of them to many, `broadcast` of these to all.

    Cumulative counters need no branch and no table: the compiler makes vector compares of this loop.
    """
    total = at64 = at65 = at128 = at256 = at512 = at1024 = at1519 = 0
    values = view(lengths, MAX_BURST, I4)
    for index in range(count):
        length = values[index]
        total += length
        at64 += length >= 64
        at65 += length >= 65
        at128 += length >= 128
        at256 += length >= 256
        at512 += length >= 512
        at1024 += length >= 1024
        at1519 += length >= 1519
    q = record(queue, VIRTQUEUE)
    q.packets += count
    q.bytes += total
    q.multicast += group - broadcast
    q.broadcast += broadcast
    sizes = view(queue + QUEUE_SIZES, 8, I8)
    sizes[0] += at64
    sizes[1] += at65
    sizes[2] += at128
    sizes[3] += at256
    sizes[4] += at512
    sizes[5] += at1024
    sizes[6] += at1519
