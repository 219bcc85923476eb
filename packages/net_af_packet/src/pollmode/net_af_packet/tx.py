# SPDX-License-Identifier: BSD-3-Clause
"""The transmit callback: packets into frames, frames to the kernel, and one send() for all of a burst.

The kernel sends within that call, so a ring that is full once it has returned stays full: the interface is down, or its
queue is. The callback takes no more then; it never waits.
"""

from __future__ import annotations

import errno
import functools
import socket

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    copy,
    inlined,
    load16,
    load32,
    load64,
    prefetch,
    record,
    send_bytes,
    store64,
)
from pollmode.mbuf import (
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_VLAN_TCI,
    TX_VLAN,
    mbuf_data,
    mbuf_free_bulk,
    mbuf_gather,
)
from pollmode.net.ethernet import TYPE_VLAN, ethernet_type, set_ethernet_type
from pollmode.net.vlan import is_vlan_type, set_vlan_tci

from .layout import (
    ADDRESSES,
    ETHERNET_HEADER,
    FAULT_STATUS,
    TP_LEN,
    TP_STATUS_AVAILABLE,
    TP_STATUS_SEND_REQUEST,
    TP_STATUS_SENDING,
    TX_DATA,
    TXQ,
    VLAN_TAG,
)
from .ring import break_tx, following, frame_at, give_back, tx_status

__all__ = ["count_unsent", "make_tx"]

DONTWAIT = int(socket.MSG_DONTWAIT)
BUSY = (-int(errno.EAGAIN), -int(errno.ENOBUFS))
DOWN = -int(errno.ENETDOWN)
KERNELS = TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING  # the statuses a frame has until it was sent


@inlined
def kick(queue: int) -> None:
    """Have the kernel send what is in the ring. What it has no room for stays there until the next time."""
    q = record(queue, TXQ)
    said = send_bytes(q.fd, 0, 0, DONTWAIT)
    if said == DOWN:  # it may be of the past: a socket tells once that its interface went down
        said = send_bytes(q.fd, 0, 0, DONTWAIT)
    if said < 0 and said != BUSY[0] and said != BUSY[1]:
        q.refused += 1


@compiled
def make_room(queue: int, frame: int, index: int) -> int:
    """Have the kernel go on where the ring is full; returns 1 when that freed the frame."""
    q = record(queue, TXQ)
    kick(queue)
    status = tx_status(frame)
    if status == TP_STATUS_AVAILABLE:
        return 1
    if status & ~KERNELS != 0:
        return break_tx(queue, FAULT_STATUS, index, status)
    q.full += 1
    return 0


@compiled
def put(queue: int, to: int, m: int) -> int:
    """Write a packet that is not plainly one short segment; returns its length, 0 when it was dropped and counted."""
    q = record(queue, TXQ)
    tagged = 1 if load64(m + MBUF_OL_FLAGS) & TX_VLAN != 0 else 0
    length = load32(m + MBUF_PKT_LEN)
    if length + VLAN_TAG * tagged > q.room:
        q.too_long += 1
        return 0
    if tagged != 0:
        done = mbuf_gather(m, 0, ADDRESSES, to)
        done += mbuf_gather(m, ADDRESSES, length - ADDRESSES, to + ADDRESSES + VLAN_TAG)
        set_ethernet_type(to, TYPE_VLAN)
        set_vlan_tci(to + ETHERNET_HEADER, load16(m + MBUF_VLAN_TCI))
    else:
        done = mbuf_gather(m, 0, length, to)
    if done < ETHERNET_HEADER:
        q.too_short += 1
        return 0
    length = done + VLAN_TAG * tagged
    # The kernel allows one tag beyond the MTU (net/packet/af_packet.c, packet_extra_vlan_len_allowed).
    if length > q.longest + VLAN_TAG * is_vlan_type(ethernet_type(to)):
        q.too_long += 1
        return 0
    return length


@compiled
def count_unsent(queue: int) -> int:
    """Count what is in the ring of a stopped queue as dropped instead of sent; returns how many packets."""
    q = record(queue, TXQ)
    unsent = 0
    for index in range(q.count):
        frame = frame_at(q.frames, index)
        if tx_status(frame) != TP_STATUS_AVAILABLE:
            unsent += 1
            q.bytes -= load32(frame + TP_LEN)
    q.packets -= unsent
    q.unsent += unsent
    return unsent


@inlined
def is_plain(m: int, length: int, longest: int) -> int:
    """Return 1 when a packet is one segment without wishes that the interface sends as it is."""
    return (
        1
        if load16(m + MBUF_NB_SEGS) == 1
        and load16(m + MBUF_DATA_LEN) == length
        and load64(m + MBUF_OL_FLAGS) & TX_VLAN == 0
        and ETHERNET_HEADER <= length <= longest
        else 0
    )


@functools.cache
def make_tx() -> Callback:
    """Return the transmit callback."""

    def af_packet_tx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, TXQ)
        if q.broken != 0:
            return 0
        longest = min(q.longest, q.room)
        index = q.next
        taken = sent = total = 0
        while taken < n:
            frame = frame_at(q.frames, index)
            if tx_status(frame) != TP_STATUS_AVAILABLE and make_room(queue, frame, index) == 0:
                break
            m = load64(burst + 8 * taken)
            if taken + 1 < n:
                prefetch(load64(burst + 8 * taken + 8))
            taken += 1
            length = load32(m + MBUF_PKT_LEN)
            if is_plain(m, length, longest):
                copy(frame + TX_DATA, mbuf_data(m), length)
            else:
                length = put(queue, frame + TX_DATA, m)
                if length == 0:
                    continue
            store64(frame + TP_LEN, length | length << 32)  # and tp_snaplen
            give_back(frame, TP_STATUS_SEND_REQUEST)
            index = following(index, q.count)
            sent += 1
            total += length
        q.next = index
        mbuf_free_bulk(lcore, burst, taken)
        if sent > 0:
            kick(queue)
        q.packets += sent
        q.bytes += total
        return taken

    return burst_callback(af_packet_tx, "af_packet_tx")
