# SPDX-License-Identifier: BSD-3-Clause
"""The receive callback, made for what was configured.

The common completion is one whole packet in the oldest buffer of ring 0: that is one compare of its first word against
a constant and the index expected, and one of its second. Everything else (several buffers, damaged frames, LRO, what
must not be) goes through `special`.

The device completes a ring's buffers in order. One that names a later buffer has passed over those between: they go
back to the pool. So what the device holds is always the range from `tail`, and a descriptor named twice, or one never
posted, is seen for what it is.
"""

from __future__ import annotations

from collections.abc import Callable

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
    load_relaxed64,
    prefetch,
    prefetch_write,
    record,
    store16,
    store64,
    view,
)
from pollmode.mbuf import mbuf_received
from pollmode.mbuf.layout import (
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_PKT_LEN,
    MBUF_REARM,
    MBUF_TX_OFFLOAD,
    RX_LRO,
    RX_RSS_HASH,
    RX_VLAN,
    RX_VLAN_STRIPPED,
    TX_TSO_SEGSZ,
)
from pollmode.net.ptype import (
    L2_LENGTH_MASK,
    L3_LENGTH_MASK,
    L3_LENGTH_SHIFT,
    L4_LENGTH_MASK,
    L4_LENGTH_SHIFT,
    header_lengths,
    parse_headers,
)

from .layout import (
    DESC_SIZE,
    DESC_WORD1,
    RCD_CNC,
    RCD_EOP,
    RCD_ERR,
    RCD_FCS,
    RCD_HASH,
    RCD_INDEX,
    RCD_LEN,
    RCD_MSS,
    RCD_PARSED,
    RCD_RQID,
    RCD_RSS_TYPE,
    RCD_SEGCNT,
    RCD_SOP,
    RCD_TCI,
    RCD_TS,
    RCD_TYPE,
    TYPE_RX,
    TYPE_RX_LRO,
)
from .records import (
    FAULT_BEGIN,
    FAULT_BUFFER,
    FAULT_ENDLESS,
    FAULT_INDEX,
    FAULT_LENGTH,
    FAULT_NO_BEGIN,
    FAULT_NOT_OUT,
    FAULT_QUEUE,
    FAULT_TYPE,
    MIN_FRAME,
    PARSED_BITS,
    QUEUE,
    RING,
)
from .refill import drop_head, refill, refill_body
from .ring import I8, INDEX_MASK, ahead, break_queue, free_slots, generation, give_back

WORD16 = 0xFFFF
WORD32 = 0xFFFFFFFF
LEN_MASK = RCD_LEN.mask
SOP, EOP, ERR, FCS = RCD_SOP.mask, RCD_EOP.mask, RCD_ERR.mask, RCD_FCS.mask
RQID_SHIFT, RQID_MASK = RCD_RQID.shift, RCD_RQID.mask >> RCD_RQID.shift
TYPE_SHIFT, TYPE_MASK = RCD_TYPE.shift, RCD_TYPE.mask >> RCD_TYPE.shift
PARSED_SHIFT, PARSED_MASK = RCD_PARSED.shift, RCD_PARSED.mask >> RCD_PARSED.shift
CNC_SHIFT, TS_SHIFT, TCI_SHIFT, HASH_SHIFT = RCD_CNC.shift, RCD_TS.shift, RCD_TCI.shift, RCD_HASH.shift
RSS_TYPE = RCD_RSS_TYPE.mask
MSS_SHIFT, SEGCNT_SHIFT, SEGCNT_MASK = RCD_MSS.shift, RCD_SEGCNT.shift, RCD_SEGCNT.mask >> RCD_SEGCNT.shift
SEGSZ_SHIFT = TX_TSO_SEGSZ.shift
TCI_PLACE, HASH_PLACE = 16, 32  # vlan_tci and hash_rss behind data_len, in one word of the mbuf

# What a plain completion's words must say: the bits looked at, and those of the second word.
PLACE_BITS = RCD_INDEX.mask | EOP | SOP | RCD_RQID.mask
# QEMU leaves the type 0, so all up to TYPE_RX are plain packets.
KIND_BITS = RCD_TYPE.mask & ~(TYPE_RX << TYPE_SHIFT) | ERR
AHEAD = 4  # buffers between a prefetch and its use


@inlined
def parsed(word0: int, word1: int, table: int) -> int:
    """Return flags (low half) and packet type (high half) of a packet by the completion of its last buffer."""
    return load64(table + 8 * (((word1 >> PARSED_SHIFT) & PARSED_MASK) | ((word0 >> CNC_SHIFT) & 1) << PARSED_BITS))


@inlined
def describe(
    m: int, word0: int, word1: int, table: int, rearm: int, held: int, total: int, more: int, strip: bool, rss: bool
) -> None:
    """Write everything an mbuf's first cache line says of a packet: `held` bytes here, `total` in all."""
    known = parsed(word0, word1, table)
    flags = (known & WORD32) | more
    last = held
    if strip:
        tagged = -((word1 >> TS_SHIFT) & 1)
        flags |= tagged & (RX_VLAN | RX_VLAN_STRIPPED)
        last |= (tagged & (word1 >> TCI_SHIFT) & WORD16) << TCI_PLACE
    if rss and word0 & RSS_TYPE != 0:
        flags |= RX_RSS_HASH
        last |= ((word0 >> HASH_SHIFT) & WORD32) << HASH_PLACE
    store64(m + MBUF_REARM, rearm)
    store64(m + MBUF_OL_FLAGS, flags)
    store64(m + MBUF_PACKET_TYPE, ((known >> 32) & WORD32) | total << 32)
    store64(m + MBUF_DATA_LEN, last)


@compiled
def check(queue: int, ring: int, word0: int, word1: int) -> int:
    """Judge a completion of a known ring against what the device holds; returns 0, or -1 when it breaks the queue."""
    q = record(queue, QUEUE)
    r = record(ring, RING)
    index, length = word0 & INDEX_MASK, word1 & LEN_MASK
    begins = word0 & SOP != 0
    if index >= r.size:
        return break_queue(queue, FAULT_INDEX, index)
    if ahead(ring, index) >= r.used:
        return break_queue(queue, FAULT_NOT_OUT, index)
    if begins and q.head != 0:
        return break_queue(queue, FAULT_BEGIN, word0)
    if not begins and q.head == 0:
        return break_queue(queue, FAULT_NO_BEGIN, word0)
    if begins != (ring == q.ring0):
        return break_queue(queue, FAULT_BUFFER, word0)
    if not begins and q.segments >= r.size:
        return break_queue(queue, FAULT_ENDLESS, q.segments)
    copied = q.data_size != 0 and (word0 >> RQID_SHIFT) & RQID_MASK == (q.expected_data >> RQID_SHIFT) & RQID_MASK
    if length > (q.data_size if copied else q.room):
        return break_queue(queue, FAULT_LENGTH, length)
    if length == 0 and not (begins and word0 & EOP != 0) and not (word0 & EOP != 0 and word1 & ERR != 0):
        return break_queue(queue, FAULT_LENGTH, length)
    return 0


@compiled
def ring_of(queue: int, word0: int, word1: int) -> int:
    """Return the address of the ring whose buffer was completed, or -1 when the queue has no such ring or type."""
    q = record(queue, QUEUE)
    kind = (word1 >> TYPE_SHIFT) & TYPE_MASK
    if kind > TYPE_RX and (kind != TYPE_RX_LRO or q.lro == 0):
        return break_queue(queue, FAULT_TYPE, kind)
    rqid = (word0 >> RQID_SHIFT) & RQID_MASK
    if rqid == (q.expected >> RQID_SHIFT) & RQID_MASK:
        return int(q.ring0)
    if q.data_size != 0 and rqid == (q.expected_data >> RQID_SHIFT) & RQID_MASK:
        return int(q.ring0)
    if rqid == q.body_rqid:
        return int(q.ring1)
    return break_queue(queue, FAULT_QUEUE, rqid)


@compiled
def take(lcore: int, queue: int, ring: int, word0: int, length: int) -> int:
    """Take the mbuf a checked completion names, and give back those the device passed over; returns its address."""
    q = record(queue, QUEUE)
    r = record(ring, RING)
    index = word0 & INDEX_MASK
    q.skipped += give_back(lcore, ring, ahead(ring, index))
    shadow = view(r.shadow, r.size, I8)
    m: int = shadow[index]
    shadow[index] = 0
    r.tail = index + 1 if index + 1 < r.size else 0
    r.used -= 1
    if q.data_size != 0 and (word0 >> RQID_SHIFT) & RQID_MASK == (q.expected_data >> RQID_SHIFT) & RQID_MASK:
        copy(m + q.data_offset, q.data + q.data_size * index, length)
    return m


@compiled
def append(queue: int, m: int, length: int) -> int:
    """Put a buffer behind those of the packet under way, or begin one with it; returns the buffers so far."""
    q = record(queue, QUEUE)
    mbuf_received(m, q.rearm, length)
    if q.head == 0:
        q.head, q.segments, q.total, q.mss, q.coalesced = m, 0, 0, 0, 0
    else:
        store64(q.last + MBUF_NEXT, m)
    q.last = m
    q.segments += 1
    q.total += length
    store16(q.head + MBUF_NB_SEGS, q.segments)  # as they come, so that freeing the head frees all
    segments: int = q.segments
    return segments


@compiled
def guess_segment_size(queue: int, m: int) -> int:
    """Return the segment size of a coalesced packet whose device does not tell it: by headers and count, or the MTU."""
    q = record(queue, QUEUE)
    lengths = header_lengths(parse_headers(m + q.data_offset, load16(m + MBUF_DATA_LEN)))
    before = lengths & L2_LENGTH_MASK
    inner = ((lengths >> L3_LENGTH_SHIFT) & L3_LENGTH_MASK) + ((lengths >> L4_LENGTH_SHIFT) & L4_LENGTH_MASK)
    if q.coalesced > 1:
        return int(min(max((q.total - before - inner + q.coalesced - 1) // q.coalesced, 1), WORD16))
    return int(max(q.mtu - inner, 1))


@compiled
def finish(lcore: int, queue: int, word0: int, word1: int, strip: bool, rss: bool) -> int:
    """End the packet under way; returns it, or 0 when it was dropped."""
    q = record(queue, QUEUE)
    m, total = q.head, q.total
    if word1 & ERR != 0 or total < MIN_FRAME:
        if word1 & ERR != 0:
            q.frame += 1
            q.crc += word1 & FCS == 0
        elif total == 0:
            q.skipped += 1  # a whole packet of nothing: the device passed over the buffer
        else:
            q.short += 1
        drop_head(lcore, queue)
        return 0
    q.head = 0
    more = 0
    if q.coalesced > 0:
        more = RX_LRO
        size = q.mss if q.mss > 0 else guess_segment_size(queue, m)
        store64(m + MBUF_TX_OFFLOAD, size << SEGSZ_SHIFT)
    rearm = load64(m + MBUF_REARM)  # with the number of segments
    describe(m, word0, word1, q.table, rearm, load16(m + MBUF_DATA_LEN), total, more, strip, rss and q.coalesced == 0)
    return int(m)


@compiled
def special(lcore: int, queue: int, word0: int, word1: int, strip: bool, rss: bool) -> int:
    """Take any completion; returns the packet it ends, 0 when it ends none, -1 when it breaks the queue."""
    q = record(queue, QUEUE)
    ring = ring_of(queue, word0, word1)
    if ring < 0 or check(queue, ring, word0, word1) < 0:
        return -1
    length = word1 & LEN_MASK
    m = take(lcore, queue, ring, word0, length)
    append(queue, m, length)
    if (word1 >> TYPE_SHIFT) & TYPE_MASK == TYPE_RX_LRO and word0 & SOP != 0:
        q.mss = (word1 >> MSS_SHIFT) & WORD16
        q.coalesced = max((word0 >> SEGCNT_SHIFT) & SEGCNT_MASK, 1)
    if word0 & EOP == 0:
        return 0
    return finish(lcore, queue, word0, word1, strip, rss)


def make_receive(strip: bool, rss: bool, data_ring: bool) -> Callable[[int, int, int, int], int]:
    """Return the pass over the completion ring; what is not wanted of it is not even compiled."""

    @inlined
    def receive(lcore: int, queue: int, burst: int, n: int) -> int:
        """Take completions until `n` packets are at `burst`; returns how many there are."""
        q = record(queue, QUEUE)
        ring = q.ring0
        r = record(ring, RING)
        shadow = view(r.shadow, r.size, I8)
        size, tail, used = r.size, r.tail, r.used
        comp, comp_size, at, gen = q.comp, q.comp_size, q.comp_next, q.comp_gen
        expected, room, table, rearm, data_offset = q.expected, q.room, q.table, q.rearm, q.data_offset
        unfinished = q.head
        packets = total = 0
        while packets < n:
            word1 = load_acquire64(comp + DESC_SIZE * at + DESC_WORD1)
            if generation(word1) != gen:
                break
            word0 = load_relaxed64(comp + DESC_SIZE * at)
            length = word1 & LEN_MASK
            place = (word0 & PLACE_BITS) - tail
            plain = (word1 & KIND_BITS == 0) & (used > 0) & (unfinished == 0) & (length >= MIN_FRAME)
            copied = data_ring and place == q.expected_data and length <= q.data_size
            if plain & ((place == expected) & (length <= room) | copied):
                m = shadow[tail]
                shadow[tail] = 0
                soon = shadow[tail + AHEAD if tail + AHEAD < size else tail]
                prefetch_write(soon)
                prefetch(soon + data_offset)
                if data_ring and copied:
                    copy(m + data_offset, q.data + q.data_size * tail, length)
                tail = tail + 1 if tail + 1 < size else 0
                used -= 1
                describe(m, word0, word1, table, rearm, length, length, 0, strip, rss)
                store64(burst + 8 * packets, m)
                packets += 1
                total += length
            else:
                r.tail, r.used, q.comp_next = tail, used, at
                m = special(lcore, queue, word0, word1, strip, rss)
                tail, used, unfinished = r.tail, r.used, q.head
                if m < 0:
                    break
                if m > 0:
                    store64(burst + 8 * packets, m)
                    packets += 1
                    total += load32(m + MBUF_PKT_LEN)
            at += 1
            if at == comp_size:
                at = 0
                gen ^= 1
        r.tail, r.used, q.comp_next, q.comp_gen = tail, used, at, gen
        q.packets += packets
        q.bytes += total
        return packets

    return receive


def make_rx(strip: bool, rss: bool, data_ring: bool) -> Callback:
    """Return the receive callback: `strip`: VLAN tags come in the completion; `rss`: so do hashes; `data_ring`:
    revision 3's, for small packets.
    """
    receive = make_receive(strip, rss, data_ring)

    def vmxnet3_rx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, QUEUE)
        if q.broken != 0:
            return 0
        before = free_slots(q.ring0)
        packets = receive(lcore, queue, burst, n)
        free = free_slots(q.ring0)
        if (free >= q.threshold) & (q.broken == 0):
            refill(lcore, queue, q.ring0, free - before)
        if (q.body_rqid >= 0) & (q.broken == 0) and free_slots(q.ring1) >= q.threshold:
            refill_body(lcore, queue, 0)
        return packets

    return burst_callback(vmxnet3_rx, rx_name(strip, rss, data_ring))


def rx_name(strip: bool, rss: bool, data_ring: bool) -> str:
    """Return the name of a variant, as logs and perf show it."""
    return "vmxnet3_rx" + ("_data" if data_ring else "") + ("_strip" if strip else "") + ("_rss" if rss else "")
