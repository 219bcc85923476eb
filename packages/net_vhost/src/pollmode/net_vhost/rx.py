# SPDX-License-Identifier: BSD-3-Clause
"""Receive: packets from the front end's transmit ring, copied into mbufs (DPDK's rte_vhost_dequeue_burst).

One pass over the burst. A packet in one plain descriptor that fits one mbuf is the fast case; chains, indirect tables,
headers spread over descriptors, packets of several mbufs and all that is wrong go through `receive_chain`.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    copy,
    inlined,
    load64,
    load_relaxed16,
    load_relaxed64,
    prefetch,
    record,
    store64,
)
from pollmode.mbuf import pool_get_bulk, pool_put_bulk
from pollmode.mbuf.layout import (
    HEADROOM,
    MBUF_BUF_ADDR,
    MBUF_DATA_LEN,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_REARM,
    REARM_NB_SEGS,
)
from pollmode.vhost.memory import REGION_DELTA, REGION_LENGTH, REGION_START, REGIONS_HIT
from pollmode.vhost.pacing import found_none, held_back, hold_back, took
from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_RING,
    DESC_LEN,
    HDR_MRG_SIZE,
    HDR_SIZE,
    USED_RING,
    VRING_DESC_SIZE,
)

from .layout import (
    FAULT_HEAD,
    FAULT_SHORT,
    MAX_FRAME,
    MIN_FRAME,
    QUEUE,
    QUEUE_PACING,
    VARIANT_LEGACY,
)
from .ring import (
    FLAGS_SHIFT,
    KIND_MASK,
    LENGTH_MASK,
    account,
    break_queue,
    count_sizes,
    enter,
    gather,
    pieces_size,
    publish,
    read_pieces,
    return_entry,
    skip_pieces,
)

SEGMENTS_SHIFT = REARM_NB_SEGS.shift
AHEAD = 4  # packets that the prefetches run ahead
DROPPED = 0  # of receive_chain: the packet was taken from the ring and dropped
STOP = -1  # of receive_chain: the packet stays in the ring


@inlined
def write_mbuf(m: int, rearm: int, pkt_len: int, data_len: int) -> None:
    """Write the fields of a received mbuf's first cache line; every offload field becomes 0."""
    store64(m + MBUF_REARM, rearm)
    store64(m + MBUF_OL_FLAGS, 0)
    store64(m + MBUF_PACKET_TYPE, pkt_len << 32)
    store64(m + MBUF_DATA_LEN, data_len)


@compiled
def receive_chain(lcore: int, queue: int, head: int, m: int, header: int) -> int:
    """Receive the chain at `head` into mbuf `m` and further ones; return its length, DROPPED or STOP.

    STOP: the chain broke the queue, or the pool has too few mbufs.
    """
    q = record(queue, QUEUE)
    vector = q.vector
    pieces = gather(queue, head, 0, 0)
    if pieces < 0:
        return STOP
    length = pieces_size(vector, 0, pieces) - header
    if length < 0:
        break_queue(queue, FAULT_SHORT, head, length + header)
        return STOP
    room = q.room
    segments = (length + room - 1) // room
    if length < MIN_FRAME:
        q.short += 1
        return DROPPED
    if length > MAX_FRAME or segments > q.segments_max:
        q.long += 1
        return DROPPED
    if segments > 1 and pool_get_bulk(lcore, q.pool, q.segments, segments - 1) == 0:
        q.nombuf += 1
        return STOP
    fill_segments(queue, m, segments, length, header)
    return length


@compiled
def fill_segments(queue: int, m: int, segments: int, length: int, header: int) -> None:
    """Copy `length` bytes behind the header out of the vector into `m` and the `segments` - 1 mbufs at hand."""
    q = record(queue, QUEUE)
    room = q.room
    vector = skip_pieces(q.vector, header)
    write_mbuf(m, q.rearm + ((segments - 1) << SEGMENTS_SHIFT), length, min(length, room))
    left = length
    last = m
    for index in range(segments):
        run = min(left, room)
        if index > 0:
            segment = load64(q.segments + 8 * (index - 1))
            write_mbuf(segment, q.rearm, run, run)
            store64(last + MBUF_NEXT, segment)
            last = segment
        vector = read_pieces(vector, load64(last + MBUF_BUF_ADDR) + HEADROOM, run)
        left -= run


@inlined
def rest(queue: int, waiting: int) -> None:
    """End a poll that brings nothing: `waiting` packets found no mbuf, or none waits."""
    q = record(queue, QUEUE)
    if waiting > 0:
        q.nombuf += waiting
    else:
        found_none(queue + QUEUE_PACING)


@inlined
def prefetch_entry(queue: int, slot: int) -> None:
    """Prefetch the packet of a ring slot some packets before it is its turn.

    The address is only a guess, right when the buffer is in the region of the last translation: a prefetch may have
    any address. Nothing else is done with what is read here.
    """
    q = record(queue, QUEUE)
    head = load_relaxed16(q.avail + AVAIL_RING + AVAIL_ELEM_SIZE * slot)
    address = load_relaxed64(q.desc + VRING_DESC_SIZE * (head & (q.num - 1)))
    prefetch(address + load64(q.regions + REGIONS_HIT + REGION_DELTA) + HDR_MRG_SIZE)


@inlined
def finish(
    lcore: int, queue: int, burst: int, n: int, done: int, taken: int, total: int, alike: int, run: int, logged: int
) -> None:
    """Publish what was taken, give back the mbufs that were not needed, count."""
    q = record(queue, QUEUE)
    if taken > 0:
        publish(queue, taken, logged)
    if done < n:
        pool_put_bulk(lcore, q.pool, burst + 8 * done, n - done)
    if run > 0:
        count_sizes(queue, alike, run)
    q.packets += done
    q.bytes += total
    took(queue + QUEUE_PACING, taken)


def make_rx(variant: int, logged: int) -> Callback:
    """Return the receive callback of the rings of one VARIANT_*: DPDK's eth_vhost_rx for one header size.

    With `logged` (1) what it writes to the guest's memory is marked in the front end's log.
    """
    header = HDR_SIZE if variant == VARIANT_LEGACY else HDR_MRG_SIZE

    def rx(lcore: int, queue: int, burst: int, n: int) -> int:
        if held_back(queue + QUEUE_PACING):
            return 0
        q = record(queue, QUEUE)
        waiting = enter(queue)
        if waiting < 0 or hold_back(queue + QUEUE_PACING, waiting, q.num):
            return 0
        n = min(waiting, n)
        if n <= 0 or pool_get_bulk(lcore, q.pool, burst, n) == 0:
            rest(queue, n)
            return 0
        desc, mask, rearm, room, begin = q.desc, q.num - 1, q.rearm, q.room, q.next
        avail, used = q.avail + AVAIL_RING, q.used + USED_RING
        hit = q.regions + REGIONS_HIT
        start, size, delta = load64(hit + REGION_START), load64(hit + REGION_LENGTH), load64(hit + REGION_DELTA)
        done = taken = total = alike = run = 0
        for ahead in range(min(AHEAD, n)):
            prefetch_entry(queue, (begin + ahead) & mask)
        while taken < n:
            slot = (begin + taken) & mask
            head = load_relaxed16(avail + AVAIL_ELEM_SIZE * slot)
            if head > mask:
                break_queue(queue, FAULT_HEAD, slot, head)
                break
            if taken + AHEAD < n:  # beyond, the front end is writing
                prefetch_entry(queue, (slot + AHEAD) & mask)
            m = load64(burst + 8 * done)
            address = load_relaxed64(desc + VRING_DESC_SIZE * head)
            word = load_relaxed64(desc + VRING_DESC_SIZE * head + DESC_LEN)
            length = (word & LENGTH_MASK) - header
            offset = address - start
            data = load64(m + MBUF_BUF_ADDR) + HEADROOM
            plain = (word >> FLAGS_SHIFT) & KIND_MASK == 0 and MIN_FRAME <= length <= room
            if plain and address >= 0 and 0 <= offset <= size - length - header:
                copy(data, address + delta + header, length)
                write_mbuf(m, rearm, length, length)
            else:
                length = receive_chain(lcore, queue, head, m, header)
                if length == STOP:
                    break
            return_entry(used, slot, head)
            taken += 1
            if length != DROPPED:
                done += 1
                total += length
                alike, run = account(queue, length, load64(data), alike, run)
        finish(lcore, queue, burst, n, done, taken, total, alike, run, logged)
        return done

    return burst_callback(rx, f"vhost_rx_split_{header}{'_logged' if logged else ''}")
