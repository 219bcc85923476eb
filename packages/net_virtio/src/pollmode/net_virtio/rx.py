# SPDX-License-Identifier: BSD-3-Clause
"""The receive callback, made for what was negotiated.

One burst goes through short passes, each a loop that stays in the first cache: take the used entries (check them
against the shadow, prefetch what they name), make mbufs of the buffers (merge them where a packet has several), count,
and refill the ring from the pool in one piece. The available index is published once.

A buffer leaves the shadow when it is taken and its descriptor gets a new one only in the refill: so an entry that
names a descriptor twice, or one never posted, is seen for what it is.
"""

from __future__ import annotations

from collections.abc import Callable

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    inlined,
    load16,
    load32,
    load64,
    load_relaxed16,
    load_relaxed64,
    prefetch,
    prefetch_write,
    record,
    store16,
    store32,
    store64,
    view,
)
from pollmode.mbuf import mbuf_received
from pollmode.mbuf.layout import (
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_VLAN_TCI,
    RX_VLAN,
    RX_VLAN_STRIPPED,
)
from pollmode.net.vlan import VLAN_SIZE, strip_vlan
from pollmode.vhost.pacing import found_none, held_back, hold_back, took
from pollmode.vhost.virtqueue import (
    HDR_MRG_SIZE,
    HDR_NUM_BUFFERS,
    INDEX_MASK,
    USED_ELEM_SIZE,
    USED_RING,
)

from .layout import (
    CACHE_LINE,
    FAULT_ID,
    FAULT_LENGTH,
    FAULT_MISSING,
    FAULT_NOT_OUT,
    FAULT_NUM_BUFFERS,
    MAX_BURST,
    MIN_FRAME,
    QUEUE_PACING,
    VIRTQUEUE,
)
from .offload import received_flags
from .refill import refill
from .ring import (
    I8,
    WORD32,
    break_queue,
    count_packets,
    free_packet,
    is_broadcast,
    is_group,
    used_waiting,
)


@compiled
def refuse(lcore: int, queue: int, element: int, cookie: int, least: int) -> int:
    """Judge a used entry that is not plainly right: break the queue (returns 0), or drop a runt (returns 1)."""
    q = record(queue, VIRTQUEUE)
    identity = element & WORD32
    length = (element >> 32) & WORD32
    if identity > q.mask:
        return break_queue(queue, FAULT_ID, q.used_idx & q.mask, identity)
    if cookie == 0:
        return break_queue(queue, FAULT_NOT_OUT, q.used_idx & q.mask, identity)
    if length > q.room or length < least - MIN_FRAME or length == 0:
        return break_queue(queue, FAULT_LENGTH, q.used_idx & q.mask, length)
    free_packet(lcore, cookie)
    q.short += 1
    return 1


@inlined
def take(lcore: int, queue: int, burst: int, count: int, least: int) -> int:
    """Take `count` used entries: their mbufs to `burst`, their lengths to the scratch; returns how many are good.

    `least` is the shortest good length. Each entry is one load; its descriptor is free after this.
    """
    q = record(queue, VIRTQUEUE)
    mask = q.mask
    entries = q.used + USED_RING
    position = q.used_idx
    shadow = view(q.shadow, mask + 1, I8)
    room = q.room
    ids = q.ids + 2 * q.free
    lengths = q.lengths
    header_offset = q.header_offset
    passed = 0
    kept = 0
    while passed < count:
        element = load_relaxed64(entries + USED_ELEM_SIZE * ((position + passed) & mask))
        identity = element & WORD32
        length = (element >> 32) & WORD32
        cookie = shadow[identity & mask]
        if (identity <= mask) & (cookie != 0) & (length >= least) & (length <= room):
            prefetch_write(cookie)
            prefetch(cookie + header_offset)
            prefetch(cookie + header_offset + CACHE_LINE)
            store64(burst + 8 * kept, cookie)
            store32(lengths + 4 * kept, length)
            kept += 1
        else:
            q.used_idx = (position + passed) & INDEX_MASK
            if refuse(lcore, queue, element, cookie, least) == 0:
                break
        shadow[identity & mask] = 0
        store16(ids + 2 * passed, identity)
        passed += 1
    q.used_idx = (position + passed) & INDEX_MASK
    q.free += passed
    return kept


@compiled
def take_one(lcore: int, queue: int) -> int:
    """Take one used entry of a packet that goes on; returns mbuf's address, 0 when the entry breaks the queue.

    The length is left in the scratch's first word.
    """
    q = record(queue, VIRTQUEUE)
    element = load_relaxed64(q.used + USED_RING + USED_ELEM_SIZE * (q.used_idx & q.mask))
    identity = element & WORD32
    length = (element >> 32) & WORD32
    shadow = view(q.shadow, q.mask + 1, I8)
    cookie: int = shadow[identity & q.mask]
    if identity > q.mask or cookie == 0 or length == 0 or length > q.room:
        refuse(lcore, queue, element, cookie, 1)
        return 0
    shadow[identity] = 0
    store16(q.ids + 2 * q.free, identity)
    store64(q.scratch, length)
    q.used_idx = (q.used_idx + 1) & INDEX_MASK
    q.free += 1
    return cookie


@compiled
def check_merge(queue: int, first: int, header: int, buffers: int, arrived: int) -> int:
    """Return 1 when a packet can have `buffers` buffers, `first` bytes in its first, with `arrived` buffers there."""
    q = record(queue, VIRTQUEUE)
    slot = q.used_idx & q.mask
    if buffers == 0 or buffers > q.mask + 1:
        return break_queue(queue, FAULT_NUM_BUFFERS, slot, buffers)
    if first < header:
        return break_queue(queue, FAULT_LENGTH, slot, first)
    if buffers > arrived:  # 5.1.6.4: a packet's buffers are all returned with one change of the index
        return break_queue(queue, FAULT_MISSING, slot, buffers)
    return 1


@compiled
def merge(lcore: int, queue: int, burst: int, kept: int, lengths: int, buffers: int, header: int) -> int:
    """Make one packet of the first `buffers` of `kept` mbufs at `burst`, and of further used entries of the ring.

    Returns how many of `kept` it took; 0 when the packet breaks the queue: then all of them are back in their pool.
    """
    q = record(queue, VIRTQUEUE)
    head = last = load64(burst)
    total = load32(lengths) - header
    mbuf_received(head, q.rearm, total)
    number = check_merge(queue, total + header, header, buffers, kept + used_waiting(queue))
    while 0 < number < buffers:
        if number < kept:
            m, length = load64(burst + 8 * number), load32(lengths + 4 * number)
        else:
            m, length = take_one(lcore, queue), load64(q.scratch)
            if m == 0:
                break
        mbuf_received(m, q.rearm - header, length)
        store64(last + MBUF_NEXT, m)
        total += length
        number += 1
        last = m
        store16(head + MBUF_NB_SEGS, number)
    if number < buffers or buffers == 0:
        for rest in range(max(number, 1), kept):
            free_packet(lcore, load64(burst + 8 * rest))
        free_packet(lcore, head)
        q.torn += 1 + kept - min(max(number, 1), kept)
        return 0
    store32(head + MBUF_PKT_LEN, total)
    return min(buffers, kept)


@compiled
def drop(lcore: int, queue: int, m: int, length: int) -> int:
    """Drop a packet that is too short, or whose header can't be true: not worth a broken queue. Returns 1."""
    q = record(queue, VIRTQUEUE)
    if length < MIN_FRAME:
        q.short += 1
    else:
        q.untrue += 1
    return free_packet(lcore, m)


@compiled
def add_offloads(m: int, at: int, header: int, kinds: int) -> int:
    """Write what the virtio-net header (`header` bytes at `at`) says into the mbuf; returns 0 when it can't be true."""
    held = load16(m + MBUF_DATA_LEN)
    flags = received_flags(m, at, kinds, at + header, held, 1 if held == load32(m + MBUF_PKT_LEN) else 0)
    if flags < 0:
        return 0
    store64(m + MBUF_OL_FLAGS, flags)
    return 1


@inlined
def take_tag_out(m: int, data: int) -> int:
    """Move a frame's VLAN tag into its mbuf (RTE_ETH_RX_OFFLOAD_VLAN_STRIP); returns the bytes the frame lost."""
    held = load16(m + MBUF_DATA_LEN)
    tci = strip_vlan(data) if held >= MIN_FRAME + VLAN_SIZE else -1
    if tci < 0:
        return 0
    store16(m + MBUF_DATA_OFF, load16(m + MBUF_DATA_OFF) + VLAN_SIZE)
    store16(m + MBUF_DATA_LEN, held - VLAN_SIZE)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) - VLAN_SIZE)
    store16(m + MBUF_VLAN_TCI, tci)
    store64(m + MBUF_OL_FLAGS, load64(m + MBUF_OL_FLAGS) | RX_VLAN | RX_VLAN_STRIPPED)
    return VLAN_SIZE


@inlined
def nothing_to_add(m: int, at: int, header: int, kinds: int) -> int:
    """Stand for `add_offloads` where headers carry nothing."""
    return 1


@inlined
def keep_tag(m: int, data: int) -> int:
    """Stand for `take_tag_out` where tags stay in the frame."""
    return 0


def make_assemble(mergeable: bool, header: int, offload: bool, strip: bool) -> Callable[[int, int, int, int], int]:
    """Return the pass that makes packets of buffers; what is not wanted of it is not even compiled."""
    add = add_offloads if offload else nothing_to_add
    untag = take_tag_out if strip else keep_tag

    @inlined
    def assemble(lcore: int, queue: int, burst: int, kept: int) -> int:
        """Make packets of the `kept` buffers at `burst`, in place, and their lengths in the scratch; how many."""
        q = record(queue, VIRTQUEUE)
        rearm = q.rearm
        lengths = q.lengths
        header_offset = q.header_offset
        packets = group = broadcast = index = 0
        while index < kept:
            m = load64(burst + 8 * index)
            at = m + header_offset
            data = at + header
            length = load32(lengths + 4 * index) - header
            buffers = load_relaxed16(at + HDR_NUM_BUFFERS) if mergeable else 1
            taken = 1
            if buffers == 1 and length >= 0:
                mbuf_received(m, rearm, length)
            else:
                taken = merge(lcore, queue, burst + 8 * index, kept - index, lengths + 4 * index, buffers, header)
                if taken == 0:
                    break
                length = load32(m + MBUF_PKT_LEN)
            index += taken
            kinds = load_relaxed16(at) if offload else 0
            if length < MIN_FRAME or (kinds != 0 and add(m, at, header, kinds) == 0):
                drop(lcore, queue, m, length)
                continue
            if is_group(data):
                group += 1
                broadcast += is_broadcast(data)
            length -= untag(m, data)
            store64(burst + 8 * packets, m)
            store32(lengths + 4 * packets, length)
            packets += 1
        count_packets(queue, lengths, packets, group, broadcast)
        return packets

    return assemble


def make_rx(mergeable: bool, header: int, offload: bool, strip: bool) -> Callback:
    """Return the receive callback for these features.

    `mergeable`: MRG_RXBUF; `header`: bytes of the virtio-net header, 10 or 12; `offload`: GUEST_CSUM or GUEST_TSO was
    negotiated, so headers carry something; `strip`: VLAN tags go into the mbuf.
    """
    assemble = make_assemble(mergeable, header, offload, strip)
    least = 1 if mergeable else header + MIN_FRAME

    def virtio_rx_split(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, VIRTQUEUE)
        if q.broken != 0 or held_back(queue + QUEUE_PACING):
            return 0
        waiting = used_waiting(queue)
        if hold_back(queue + QUEUE_PACING, waiting, q.mask + 1):
            return 0
        count = min(min(waiting, n), MAX_BURST)
        packets = 0
        if count > 0:
            kept = take(lcore, queue, burst, count, least)
            packets = assemble(lcore, queue, burst, kept)
            took(queue + QUEUE_PACING, count)
        else:
            found_none(queue + QUEUE_PACING)
        if q.free >= q.threshold and q.broken == 0:
            refill(lcore, queue, count)
        return packets

    return burst_callback(virtio_rx_split, rx_name(mergeable, header, offload, strip))


def rx_name(mergeable: bool, header: int, offload: bool, strip: bool) -> str:
    """Return the name of a variant, as logs and perf show it."""
    name = "virtio_rx_split_mergeable" if mergeable else "virtio_rx_split"
    if not mergeable and header != HDR_MRG_SIZE:
        name += "_legacy"
    return name + ("_offload" if offload else "") + ("_strip" if strip else "")
