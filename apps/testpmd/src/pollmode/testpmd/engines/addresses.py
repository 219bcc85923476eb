# SPDX-License-Identifier: BSD-3-Clause
"""Modes that leave the payload alone: io, mac, macswap, 5tswap; and rxonly, which drops everything."""

from __future__ import annotations

from pollmode.eal.jit import inlined, load16, load64, prefetch_write, store64
from pollmode.mbuf import ATTACHED, MBUF_DATA_LEN, MBUF_OL_FLAGS, mbuf_data
from pollmode.net.ethernet import ETHERNET_SIZE, set_ethernet_destination, set_ethernet_source, swap_ethernet
from pollmode.net.ipv4 import swap_ipv4
from pollmode.net.ipv6 import swap_ipv6
from pollmode.net.ptype import (
    L2_LENGTH_MASK,
    L3_LENGTH_MASK,
    L3_LENGTH_SHIFT,
    L4_MASK,
    L4_TCP,
    L4_UDP,
    header_lengths,
    is_ipv4,
    is_ipv6,
    packet_type,
    parse_headers,
)
from pollmode.net.udp import swap_udp_ports
from pollmode.testpmd.engines.loop import drop
from pollmode.testpmd.layout import STREAM_OWN, STREAM_PEER

__all__ = ["edit_5tswap", "edit_io", "edit_mac", "edit_macswap", "edit_rxonly", "forget_offloads", "prefetch_next"]


@inlined
def edit_io(lcore: int, stream: int, burst: int, n: int) -> int:
    """Leave packets as they are."""
    return n


@inlined
def edit_rxonly(lcore: int, stream: int, burst: int, n: int) -> int:
    """Drop every packet."""
    drop(lcore, burst, n)
    return 0


@inlined
def prefetch_next(burst: int, i: int, n: int) -> None:
    """Bring the header of the packet after the `i`-th near."""
    if i + 1 < n:
        prefetch_write(mbuf_data(load64(burst + 8 * (i + 1))))


@inlined
def forget_offloads(m: int) -> None:
    """Drop what the receiver noted about a packet: its transmitter is asked for nothing."""
    store64(m + MBUF_OL_FLAGS, load64(m + MBUF_OL_FLAGS) & ATTACHED)


@inlined
def edit_mac(lcore: int, stream: int, burst: int, n: int) -> int:
    """Send to the peer of the transmit port, from that port's address."""
    peer, own = load64(stream + STREAM_PEER), load64(stream + STREAM_OWN)
    for i in range(n):
        prefetch_next(burst, i, n)
        m = load64(burst + 8 * i)
        if load16(m + MBUF_DATA_LEN) >= ETHERNET_SIZE:
            frame = mbuf_data(m)
            set_ethernet_destination(frame, peer)
            set_ethernet_source(frame, own)
        forget_offloads(m)
    return n


@inlined
def edit_macswap(lcore: int, stream: int, burst: int, n: int) -> int:
    """Exchange source and destination."""
    for i in range(n):
        prefetch_next(burst, i, n)
        m = load64(burst + 8 * i)
        if load16(m + MBUF_DATA_LEN) >= ETHERNET_SIZE:
            swap_ethernet(mbuf_data(m))
        forget_offloads(m)
    return n


@inlined
def _swap_five(frame: int, length: int) -> None:
    """Exchange sources and destinations of layers 2, 3 and 4, as far as they are there.

    No checksum changes: each sums the same words in another order.
    """
    headers = parse_headers(frame, length)
    lengths = header_lengths(headers)
    ip = frame + (lengths & L2_LENGTH_MASK)
    layer3 = (lengths >> L3_LENGTH_SHIFT) & L3_LENGTH_MASK
    kind = packet_type(headers)
    swap_ethernet(frame)
    if layer3 == 0:
        return
    if is_ipv4(kind):
        swap_ipv4(ip)
    elif is_ipv6(kind):
        swap_ipv6(ip)
    if kind & L4_MASK == L4_UDP or kind & L4_MASK == L4_TCP:
        swap_udp_ports(ip + layer3)  # TCP's ports stand at the same place


@inlined
def edit_5tswap(lcore: int, stream: int, burst: int, n: int) -> int:
    """Exchange MAC addresses, IP addresses and ports."""
    for i in range(n):
        prefetch_next(burst, i, n)
        m = load64(burst + 8 * i)
        length = load16(m + MBUF_DATA_LEN)
        if length >= ETHERNET_SIZE:
            _swap_five(mbuf_data(m), length)
        forget_offloads(m)
    return n
