# SPDX-License-Identifier: BSD-3-Clause
"""The receive callback, made for what was configured.

First it looks how many frames are there and asks for their bytes: another core wrote them, and so the misses overlap.
Then it copies each into an mbuf and gives the frame back. A frame for which there is no mbuf stays in the ring: what is
lost in the end is lost by the kernel, which counts it (PACKET_STATISTICS).
"""

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
    load_relaxed16,
    load_relaxed32,
    prefetch,
    record,
    store16,
    store32,
    store64,
)
from pollmode.mbuf import (
    HEADROOM,
    MBUF_BUF_ADDR,
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_VLAN_TCI,
    RX_L4_CKSUM_GOOD,
    RX_L4_CKSUM_NONE,
    RX_VLAN,
    RX_VLAN_STRIPPED,
    mbuf_received,
    mbuf_scatter,
    pool_get_bulk,
    pool_get_some,
    pool_put_bulk,
)
from pollmode.net.ethernet import TYPE_VLAN, set_ethernet_type
from pollmode.net.vlan import insert_vlan

from .layout import (
    ETHERNET_HEADER,
    FAULT_LENGTH,
    FAULT_PLACE,
    MAX_BURST,
    RXQ,
    TP_LEN,
    TP_MAC,
    TP_SNAPLEN,
    TP_STATUS,
    TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_KERNEL,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    TP_VLAN_TCI,
    TP_VLAN_TPID,
    TPACKET2_HDR,
    VLAN_TAG,
)
from .ring import break_rx, following, frame_at, give_back, ready

__all__ = ["make_rx"]

HEADER = TPACKET2_HDR.itemsize


@inlined
def waiting(queue: int, most: int) -> int:
    """Return how many frames of the ring are ours, at most `most`, and ask for the packets in them."""
    q = record(queue, RXQ)
    index = q.next
    there = 0
    while there < most:
        frame = frame_at(q.frames, index)
        if ready(frame) == 0:
            break
        prefetch(frame + 64)
        index = following(index, q.count)
        there += 1
    return there


@compiled
def put_tag_back(m: int, frame: int, status: int) -> int:
    """Put the tag that the kernel took out of a packet into it again; returns the bytes the packet grew by."""
    data = load64(m + MBUF_BUF_ADDR) + HEADROOM
    insert_vlan(data, load_relaxed16(frame + TP_VLAN_TCI))
    kind = load_relaxed16(frame + TP_VLAN_TPID) if status & TP_STATUS_VLAN_TPID_VALID != 0 else TYPE_VLAN
    set_ethernet_type(data - VLAN_TAG, kind)
    store16(m + MBUF_DATA_OFF, HEADROOM - VLAN_TAG)
    store16(m + MBUF_DATA_LEN, load16(m + MBUF_DATA_LEN) + VLAN_TAG)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) + VLAN_TAG)
    return VLAN_TAG


@compiled
def report_tag(m: int, frame: int, status: int) -> int:
    """Say in the mbuf which tag the kernel took out (RTE_ETH_RX_OFFLOAD_VLAN_STRIP); returns 0."""
    store16(m + MBUF_VLAN_TCI, load_relaxed16(frame + TP_VLAN_TCI))
    store64(m + MBUF_OL_FLAGS, load64(m + MBUF_OL_FLAGS) | RX_VLAN | RX_VLAN_STRIPPED)
    return 0


@inlined
def report_checksum(m: int, status: int) -> None:
    """Say what the kernel knows of the checksum: verified; or absent, the packet having crossed no wire."""
    if status & TP_STATUS_CSUM_VALID != 0:
        store64(m + MBUF_OL_FLAGS, RX_L4_CKSUM_GOOD)
    elif status & TP_STATUS_CSUMNOTREADY != 0:
        store64(m + MBUF_OL_FLAGS, RX_L4_CKSUM_NONE)


@compiled
def refuse(queue: int, index: int, place: int, length: int) -> int:
    """Break the queue over a packet that is not within its frame; returns 0."""
    q = record(queue, RXQ)
    if place < HEADER or place > q.frame_size:
        return break_rx(queue, FAULT_PLACE, index, place)
    return break_rx(queue, FAULT_LENGTH, index, length)


@functools.cache
def make_rx(scattering: bool, strip: bool, checksum: bool) -> Callback:
    """Return the receive callback.

    `scattering`: packets longer than an mbuf become chains, else they are dropped; `strip`: VLAN tags go into the mbuf;
    `checksum`: what the kernel knows of layer 4 checksums does.
    """
    tag = report_tag if strip else put_tag_back

    def af_packet_rx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, RXQ)
        if q.broken != 0:
            return 0
        there = waiting(queue, min(min(n, MAX_BURST), q.count))
        if there == 0:
            return 0
        got = pool_get_bulk(lcore, q.pool, burst, there)
        if got == 0:
            got = pool_get_some(lcore, q.pool, burst, there)
            q.nombuf += 1 if got < there else 0
        packets = total = 0
        index = q.next
        for _ in range(got):
            frame = frame_at(q.frames, index)
            length = load_relaxed32(frame + TP_SNAPLEN)
            place = load_relaxed16(frame + TP_MAC)
            if place < HEADER or length < ETHERNET_HEADER or place + length > q.frame_size:
                refuse(queue, index, place, length)
                break
            m = load64(burst + 8 * packets)
            if load_relaxed32(frame + TP_LEN) > length or (not scattering and length > q.room):
                q.too_long += 1
            elif scattering and length > q.room and mbuf_scatter(lcore, q.pool, m, q.rearm, frame + place, length) == 0:
                q.nombuf += 1
                break
            else:
                if not scattering or length <= q.room:
                    copy(load64(m + MBUF_BUF_ADDR) + HEADROOM, frame + place, length)
                    mbuf_received(m, q.rearm, length)
                status = load_relaxed32(frame + TP_STATUS)
                if checksum:
                    report_checksum(m, status)
                if status & TP_STATUS_VLAN_VALID != 0:
                    length += tag(m, frame, status)
                packets += 1
                total += length
            give_back(frame, TP_STATUS_KERNEL)
            index = following(index, q.count)
        q.next = index
        if packets < got:
            pool_put_bulk(lcore, q.pool, burst + 8 * packets, got - packets)
        q.packets += packets
        q.bytes += total
        return packets

    name = "af_packet_rx" + ("_scatter" if scattering else "") + ("_strip" if strip else "")
    return burst_callback(af_packet_rx, name + ("_checksum" if checksum else ""))
