# SPDX-License-Identifier: BSD-3-Clause
"""The transmit callback, made for what was configured.

The common packet is one segment, owned by nobody else, of the queue's pool: one descriptor, and its mbuf is known to be
free again when it is completed. That is noted by its cookie being the bare address; reclaiming such packets is one put
of a whole burst into their pool, without a look at an mbuf. A small one is copied into the data ring, where the device
needs no mapping to read it, and its mbuf is free at once. Every other packet (chains, shared or indirect mbufs, another
pool) has a tagged cookie and takes the general way.

The first descriptor of a chain gets its generation last: until then the device sees nothing of it. So a packet is
either wholly there or not at all, whichever of its segments are empty (DPDK b44f3e1381).
"""

from __future__ import annotations

from pollmode.bus_pci import ring_doorbell
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
    load_relaxed32,
    load_relaxed64,
    record,
    store32,
    store64,
    store_release64,
    view,
)
from pollmode.eal.layout import offset_of
from pollmode.mbuf import mbuf_data_iova, pool_put_bulk
from pollmode.mbuf.layout import (
    ATTACHED,
    MBUF_BUF_ADDR,
    MBUF_BUF_IOVA,
    MBUF_DATA_LEN,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_POOL,
    MBUF_REARM,
    MBUF_TX_OFFLOAD,
    MBUF_VLAN_TCI,
    REARM_ONE_OWNER,
    REARM_OWNERS_MASK,
    TX_IPV4,
    TX_IPV6,
    TX_L2_LEN,
    TX_L3_LEN,
    TX_L4_LEN,
    TX_L4_MASK,
    TX_OFFLOAD_MASK,
    TX_SCTP_CKSUM,
    TX_TCP_SEG,
    TX_TSO_SEGSZ,
    TX_UDP_CKSUM,
    TX_VLAN,
)
from pollmode.net.tcp import TCP
from pollmode.net.udp import UDP

from .layout import (
    DESC_SIZE,
    DESC_WORD1,
    MAX_PIECE,
    MAX_SEGMENTS,
    MAX_TSO_SEGMENTS,
    OM_CSUM,
    OM_TSO,
    TCD_TYPE,
    TXD_CQ,
    TXD_EOP,
    TXD_GEN,
    TXD_HLEN,
    TXD_MSSCOF,
    TXD_OM,
    TXD_TCI,
    TXD_TI,
    TXQ_DEFERRED,
    TXQ_THRESHOLD,
    TYPE_TX,
)
from .records import COPIED, FAULT_INDEX, FAULT_NOT_END, FAULT_NOT_OUT, FAULT_TYPE, MAX_BURST, QUEUE, RING, TAG
from .ring import I8, INDEX_MASK, ahead, break_queue, free_packet, free_slots, generation

WORD16 = 0xFFFF
OFFSET_MASK = 0xFFFF
GEN_SHIFT = TXD_GEN.shift
END = TXD_EOP.mask | TXD_CQ.mask
TYPE_SHIFT, TYPE_MASK = TCD_TYPE.shift, TCD_TYPE.mask >> TCD_TYPE.shift
HLEN_SHIFT, HLEN_MAX, OM_SHIFT = TXD_HLEN.shift, TXD_HLEN.mask >> TXD_HLEN.shift, TXD_OM.shift
MSSCOF_SHIFT, MSSCOF_MAX = TXD_MSSCOF.shift, TXD_MSSCOF.mask >> TXD_MSSCOF.shift
TI, TCI_SHIFT = TXD_TI.mask, TXD_TCI.shift
L2_MASK, L3_SHIFT, L3_MASK = TX_L2_LEN.mask, TX_L3_LEN.shift, TX_L3_LEN.mask >> TX_L3_LEN.shift
L4_SHIFT, L4_MASK = TX_L4_LEN.shift, TX_L4_LEN.mask >> TX_L4_LEN.shift
SEGSZ_SHIFT, SEGSZ_MASK = TX_TSO_SEGSZ.shift, TX_TSO_SEGSZ.mask >> TX_TSO_SEGSZ.shift
UDP_CHECKSUM = offset_of(UDP, "checksum")
TCP_CHECKSUM = offset_of(TCP, "checksum")
CHECKSUM_SIZE = 2
WANTED = TX_OFFLOAD_MASK & ~(TX_IPV4 | TX_IPV6)  # what needs a look before a packet is sent
DROPPED = -1
REFUSED = -1


@compiled
def reclaim(lcore: int, queue: int) -> int:
    """Take back every packet that was completed; returns how many descriptors there were.

    A completion names the last descriptor of a packet; that one and all before it are done.
    """
    q = record(queue, QUEUE)
    ring = q.ring0
    r = record(ring, RING)
    shadow = view(r.shadow, r.size, I8)
    untagged = done = 0
    while True:
        entry = q.comp + DESC_SIZE * q.comp_next
        word1 = load_acquire64(entry + DESC_WORD1)
        if generation(word1) != q.comp_gen:
            break
        index = load_relaxed64(entry) & INDEX_MASK
        count = ahead(ring, index) + 1
        if completion_fault(queue, word1, index, count) != 0:
            break
        for _ in range(count):
            cookie = shadow[r.tail]
            shadow[r.tail] = 0
            r.tail = r.tail + 1 if r.tail + 1 < r.size else 0
            if cookie & TAG == 0:
                if cookie != 0:
                    store64(q.scratch + 8 * untagged, cookie)
                    untagged += 1
            elif cookie != COPIED:
                free_packet(lcore, cookie & ~TAG)
        r.used -= count
        done += count
        q.comp_next += 1
        if q.comp_next == q.comp_size:
            q.comp_next = 0
            q.comp_gen ^= 1
    if untagged > 0:
        q.untagged -= untagged
        pool_put_bulk(lcore, q.pool, q.scratch, untagged)
    return done


@inlined
def completion_fault(queue: int, word1: int, index: int, count: int) -> int:
    """Judge a completion of descriptor `index`, the `count`th that the device holds; returns -1 for a broken queue."""
    q = record(queue, QUEUE)
    r = record(q.ring0, RING)
    kind = (word1 >> TYPE_SHIFT) & TYPE_MASK
    if kind != TYPE_TX:
        return break_queue(queue, FAULT_TYPE, kind)
    if index >= r.size:
        return break_queue(queue, FAULT_INDEX, index)
    if count > r.used:
        return break_queue(queue, FAULT_NOT_OUT, index)
    if load64(r.shadow + 8 * index) == 0:
        return break_queue(queue, FAULT_NOT_END, index)
    return 0


@compiled
def count_pieces(m: int) -> int:
    """Return how many descriptors the segments of a packet need; an empty segment needs none."""
    pieces = 0
    while m != 0:
        pieces += (load16(m + MBUF_DATA_LEN) + MAX_PIECE - 1) // MAX_PIECE
        m = load64(m + MBUF_NEXT)
    return pieces


@compiled
def offload_word(m: int) -> int:
    """Return what the first descriptor's second word asks of the device for packet `m`; REFUSED when it cannot be.

    As in DPDK, the packet's checksum field already holds the sum of the pseudo header.
    """
    flags, lengths, total = load64(m + MBUF_OL_FLAGS), load64(m + MBUF_TX_OFFLOAD), load32(m + MBUF_PKT_LEN)
    word = 0
    if flags & TX_VLAN:
        word = TI | load16(m + MBUF_VLAN_TCI) << TCI_SHIFT
    before = (lengths & L2_MASK) + ((lengths >> L3_SHIFT) & L3_MASK)
    layer4 = flags & TX_L4_MASK
    if flags & TX_TCP_SEG:
        headers = before + ((lengths >> L4_SHIFT) & L4_MASK)
        size = (lengths >> SEGSZ_SHIFT) & SEGSZ_MASK
        if size == 0 or size > MSSCOF_MAX or headers > HLEN_MAX or headers >= total or headers == 0:
            return REFUSED
        return word | OM_TSO << OM_SHIFT | headers << HLEN_SHIFT | size << MSSCOF_SHIFT
    if layer4 != 0:
        place = before + (UDP_CHECKSUM if layer4 == TX_UDP_CKSUM else TCP_CHECKSUM)
        if layer4 == TX_SCTP_CKSUM or place + CHECKSUM_SIZE > total or before == 0:
            return REFUSED
        return word | OM_CSUM << OM_SHIFT | before << HLEN_SHIFT | place << MSSCOF_SHIFT
    return word


@compiled
def write_chain(queue: int, m: int, word: int) -> int:
    """Write the descriptors of a packet whose first one asks for `word`, and show them; returns the last one's index.

    The device walks by generation: the first descriptor gets its own when the others are there.
    """
    q = record(queue, QUEUE)
    r = record(q.ring0, RING)
    first = -1
    shown = last = entry = pending = 0
    while m != 0:
        held, address = load16(m + MBUF_DATA_LEN), mbuf_data_iova(m)
        while held > 0:
            piece = min(held, MAX_PIECE)
            if pending != 0:
                store64(entry + DESC_WORD1, pending)
            last = r.fill
            entry = r.desc + DESC_SIZE * last
            store64(entry, address)
            pending = piece | r.gen << GEN_SHIFT
            if first < 0:
                first, shown = entry, pending | word
                pending = shown ^ 1 << GEN_SHIFT
            r.fill += 1
            r.used += 1
            if r.fill == r.size:
                r.fill = 0
                r.gen ^= 1
            address += piece
            held -= piece
        m = load64(m + MBUF_NEXT)
    if entry == first:
        shown |= END
    else:
        store64(entry + DESC_WORD1, pending | END)
    store_release64(first + DESC_WORD1, shown)
    return last


@compiled
def cookie_of(queue: int, m: int) -> int:
    """Return the cookie of a packet in one segment: bare when it can go back to the queue's pool unseen.

    The queue takes over the pool of such a packet when it waits for no other.
    """
    q = record(queue, QUEUE)
    special = (load64(m + MBUF_REARM) ^ REARM_ONE_OWNER) & REARM_OWNERS_MASK
    if special | (load64(m + MBUF_OL_FLAGS) & ATTACHED) != 0:
        return m | TAG
    if q.untagged == 0:
        q.pool = load64(m + MBUF_POOL)
    if load64(m + MBUF_POOL) != q.pool:
        return m | TAG
    q.untagged += 1
    return m


@compiled
def segments_sent(m: int, word: int) -> int:
    """Return how many packets the device makes of one (what it wants to be told of)."""
    if (word >> OM_SHIFT) & 3 != OM_TSO:
        return 1
    size = (word >> MSSCOF_SHIFT) & MSSCOF_MAX
    headers = (word >> HLEN_SHIFT) & HLEN_MAX
    return (load32(m + MBUF_PKT_LEN) - headers + size - 1) // size


@compiled
def send_special(lcore: int, queue: int, m: int) -> int:
    """Put any packet into the ring; returns how many the device makes of it, 0 when there is no room, DROPPED when it
    can never be sent (and is freed).
    """
    q = record(queue, QUEUE)
    ring = q.ring0
    segmented = load64(m + MBUF_OL_FLAGS) & TX_TCP_SEG != 0
    pieces = count_pieces(m)
    word = offload_word(m)
    if pieces == 0 or pieces > (MAX_TSO_SEGMENTS if segmented else MAX_SEGMENTS) or word == REFUSED:
        if pieces == 0:
            q.empty += 1
        elif word != REFUSED:
            q.scattered += 1
        elif segmented:
            q.tso += 1
        else:
            q.offload += 1
        free_packet(lcore, m)
        return DROPPED
    if pieces > free_slots(ring):
        reclaim(lcore, queue)
        if pieces > free_slots(ring) or q.broken != 0:
            return 0
    cookie = cookie_of(queue, m) if load64(m + MBUF_NEXT) == 0 else m | TAG
    r = record(ring, RING)
    shadow = view(r.shadow, r.size, I8)
    made = segments_sent(m, word)
    # The cookie stands before the device can complete the packet, where write_chain will end.
    end = r.fill + pieces - 1
    shadow[end if end < r.size else end - r.size] = cookie
    write_chain(queue, m, word)
    return made


@inlined
def is_plain(rearm: int, flags: int, held: int) -> bool:
    """Tell whether a packet is the common one: one segment of one owner that asks for nothing."""
    owned = (rearm ^ REARM_ONE_OWNER) & REARM_OWNERS_MASK == 0
    return owned & (flags & (ATTACHED | WANTED) == 0) & (held > 0) & (held <= MAX_PIECE)


@inlined
def announce(queue: int, deferred: int) -> None:
    """Tell the device of `deferred` packets when they are as many as it wants to be told of, or the ring is full.

    defs, Vmxnet3_TxQueueCtrl: it looks at fewer of its own accord.
    """
    q = record(queue, QUEUE)
    r = record(q.ring0, RING)
    deferred += load_relaxed32(q.control + TXQ_DEFERRED) & WORD16
    if (deferred >= load_relaxed32(q.control + TXQ_THRESHOLD)) | (free_slots(q.ring0) == 0):
        store32(q.control + TXQ_DEFERRED, 0)
        ring_doorbell(r.doorbell, r.fill)
        q.kicks += 1
    else:
        store32(q.control + TXQ_DEFERRED, deferred)


@inlined
def send(lcore: int, queue: int, burst: int, n: int) -> int:
    """Put packets into the ring until it is full, and announce them; returns how many are no longer the caller's."""
    q = record(queue, QUEUE)
    r = record(q.ring0, RING)
    shadow = view(r.shadow, r.size, I8)
    if q.untagged == 0 and n > 0:  # nothing waits for another pool
        q.pool = load64(load64(burst) + MBUF_POOL)
    size, desc, pool, offset, scattered = r.size, r.desc, q.pool, q.iova_offset, q.scattered_iova
    data_ring, data_iova, data_size, scratch = q.data, q.data_iova, q.data_size, q.scratch
    fill, free, word = r.fill, free_slots(q.ring0), END | r.gen << GEN_SHIFT
    sent = placed = made = total = untagged = copied = 0
    while sent < n:
        m = load64(burst + 8 * sent)
        rearm, flags, held = load64(m + MBUF_REARM), load64(m + MBUF_OL_FLAGS), load16(m + MBUF_DATA_LEN)
        if is_plain(rearm, flags, held) & (free > 0) & (load64(m + MBUF_POOL) == pool):
            entry = desc + DESC_SIZE * fill
            data = load64(m + MBUF_BUF_ADDR) + (rearm & OFFSET_MASK)
            if held <= data_size:
                copy(data_ring + data_size * fill, data, held)
                store64(scratch + 8 * copied, m)
                copied += 1
                shadow[fill] = COPIED
                store64(entry, data_iova + data_size * fill)
            else:
                shadow[fill] = m
                untagged += 1
                at = load64(m + MBUF_BUF_IOVA) + (rearm & OFFSET_MASK) if scattered else data + offset
                store64(entry, at)
            store_release64(entry + DESC_WORD1, word | held)
            fill += 1
            if fill == size:
                fill = 0
                word ^= 1 << GEN_SHIFT
            free -= 1
            total += held
            made += 1
        else:
            if copied > 0:
                pool_put_bulk(lcore, pool, q.scratch, copied)
                copied = 0
            length = load32(m + MBUF_PKT_LEN)
            r.used += placed_since(r.fill, fill, size)
            r.fill, r.gen, q.untagged = fill, (word >> GEN_SHIFT) & 1, q.untagged + untagged
            outcome = send_special(lcore, queue, m)
            fill, free, pool, untagged = r.fill, free_slots(q.ring0), q.pool, 0
            word = END | r.gen << GEN_SHIFT
            if outcome == 0:
                q.full += 1
                break
            if outcome == DROPPED:
                sent += 1
                continue
            made += outcome
            total += length
        placed += 1
        sent += 1
    r.used += placed_since(r.fill, fill, size)
    r.fill, r.gen, q.untagged = fill, (word >> GEN_SHIFT) & 1, q.untagged + untagged
    if copied > 0:
        pool_put_bulk(lcore, pool, q.scratch, copied)
    if placed > 0:
        q.packets += placed
        q.bytes += total
        announce(queue, made)
    return sent


@inlined
def placed_since(before: int, fill: int, size: int) -> int:
    """Return how many descriptors lie between two fill positions."""
    return fill - before if fill >= before else fill - before + size


def make_tx() -> Callback:
    """Return the transmit callback."""

    def vmxnet3_tx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, QUEUE)
        if q.broken != 0:
            return 0
        r = record(q.ring0, RING)
        if (r.used >= q.threshold) | (free_slots(q.ring0) < n):
            reclaim(lcore, queue)
            if q.broken != 0:
                return 0
        return send(lcore, queue, burst, min(n, MAX_BURST))

    return burst_callback(vmxnet3_tx, "vmxnet3_tx")
