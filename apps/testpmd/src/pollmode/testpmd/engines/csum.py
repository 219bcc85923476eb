# SPDX-License-Identifier: BSD-3-Clause
"""csum: forwards like mac and makes the IPv4, UDP and TCP checksums anew, by itself or by asking the transmitter.

As in DPDK a checksum of 0 in the IPv4 or UDP header stays 0: none was wanted. Packets in segments are summed across
them; their headers must lie in the first one.
"""

from __future__ import annotations

from collections.abc import Callable

from pollmode.eal.jit import byteswap16, inlined, load16, load32, load64, store64
from pollmode.mbuf import (
    ATTACHED,
    MBUF_DATA_LEN,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_TX_OFFLOAD,
    RX_IP_CKSUM_BAD,
    RX_IP_CKSUM_MASK,
    RX_L4_CKSUM_BAD,
    RX_L4_CKSUM_MASK,
    RX_OUTER_IP_CKSUM_BAD,
    RX_OUTER_L4_CKSUM_BAD,
    RX_OUTER_L4_CKSUM_MASK,
    TX_IP_CKSUM,
    TX_IPV4,
    TX_IPV6,
    TX_TCP_CKSUM,
    TX_UDP_CKSUM,
    mbuf_data,
)
from pollmode.net.checksum import finish, fold, ipv4_checksum, ipv4_pseudo_sum, ipv6_pseudo_sum, udp_zero, wide_sum
from pollmode.net.ethernet import ETHERNET_SIZE, set_ethernet_destination, set_ethernet_source
from pollmode.net.ipv4 import (
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    ipv4_checksum_field,
    ipv4_total_length,
    set_ipv4_checksum_field,
)
from pollmode.net.ipv6 import IPV6_SIZE, ipv6_payload_length
from pollmode.net.ptype import (
    L2_LENGTH_MASK,
    L3_LENGTH_MASK,
    L3_LENGTH_SHIFT,
    L4_LENGTH_SHIFT,
    L4_MASK,
    L4_TCP,
    L4_UDP,
    header_lengths,
    is_ipv4,
    packet_type,
    parse_headers,
)
from pollmode.net.tcp import set_tcp_checksum
from pollmode.net.udp import set_udp_checksum, udp_checksum
from pollmode.testpmd.engines.addresses import prefetch_next
from pollmode.testpmd.engines.loop import Edit, add
from pollmode.testpmd.layout import (
    STREAM_BAD_IP_CSUM,
    STREAM_BAD_L4_CSUM,
    STREAM_BAD_OUTER_IP_CSUM,
    STREAM_BAD_OUTER_L4_CSUM,
    STREAM_OWN,
    STREAM_PEER,
)

__all__ = ["make_csum"]


@inlined
def _count_bad(stream: int, flags: int) -> None:
    """Count what the receiver found wrong."""
    if flags & RX_IP_CKSUM_MASK == RX_IP_CKSUM_BAD:
        add(stream + STREAM_BAD_IP_CSUM, 1)
    if flags & RX_L4_CKSUM_MASK == RX_L4_CKSUM_BAD:
        add(stream + STREAM_BAD_L4_CSUM, 1)
    if flags & RX_OUTER_IP_CKSUM_BAD:
        add(stream + STREAM_BAD_OUTER_IP_CSUM, 1)
    if flags & RX_OUTER_L4_CKSUM_MASK == RX_OUTER_L4_CKSUM_BAD:
        add(stream + STREAM_BAD_OUTER_L4_CSUM, 1)


@inlined
def _chain_sum(m: int, offset: int, length: int) -> int:
    """Return the sum of `length` bytes at `offset` of a packet, across its segments.

    A segment that starts at an odd byte of what is summed adds its words with their bytes exchanged (RFC 1071, 2(B)).
    """
    total = 0
    done = 0
    while m != 0 and done < length:
        here = min(load16(m + MBUF_DATA_LEN) - offset, length - done)
        part = fold(wide_sum(mbuf_data(m) + offset, here))
        total += byteswap16(part) if done & 1 else part
        done += here
        offset = 0
        m = load64(m + MBUF_NEXT)
    return total


@inlined
def _layer4_length(ip: int, kind: int, layer3: int) -> int:
    """Return the bytes of layer 4, header included, as the IP header says."""
    if is_ipv4(kind):
        return ipv4_total_length(ip) - layer3
    return ipv6_payload_length(ip) - (layer3 - IPV6_SIZE)


@inlined
def _set_layer4(header: int, protocol: int, checksum: int) -> None:
    if protocol == PROTOCOL_UDP:
        set_udp_checksum(header, checksum)
    else:
        set_tcp_checksum(header, checksum)


def _make_layer3(offload: bool) -> Callable[[int, int], int]:
    @inlined
    def layer3(ip: int, header: int) -> int:
        if offload:
            set_ipv4_checksum_field(ip, 0)
            return TX_IPV4 | TX_IP_CKSUM
        if ipv4_checksum_field(ip) != 0:
            set_ipv4_checksum_field(ip, ipv4_checksum(ip, header))
        return TX_IPV4

    return layer3


def _make_layer4(udp_offload: bool, tcp_offload: bool) -> Callable[[int, int, int, int, int], int]:
    @inlined
    def layer4(m: int, offset: int, protocol: int, pseudo: int, length: int) -> int:
        header = mbuf_data(m) + offset
        if protocol == PROTOCOL_UDP and udp_checksum(header) == 0:
            return 0
        if udp_offload and protocol == PROTOCOL_UDP:
            set_udp_checksum(header, pseudo)  # the transmitter adds the rest
            return TX_UDP_CKSUM
        if tcp_offload and protocol == PROTOCOL_TCP:
            set_tcp_checksum(header, pseudo)
            return TX_TCP_CKSUM
        _set_layer4(header, protocol, 0)
        _set_layer4(header, protocol, udp_zero(protocol, finish(_chain_sum(m, offset, length) + pseudo)))
        return 0

    return layer4


def make_csum(ip_offload: bool, udp_offload: bool, tcp_offload: bool) -> Edit:
    """Return the edit of csum; a checksum that is offloaded is left to the transmit port."""
    layer3_of, layer4_of = _make_layer3(ip_offload), _make_layer4(udp_offload, tcp_offload)

    @inlined
    def mend(m: int, frame: int) -> int:
        """Mend a packet's checksums; returns flags and, on its tx_offload, the lengths that they need."""
        headers = parse_headers(frame, load16(m + MBUF_DATA_LEN))
        lengths, kind = header_lengths(headers), packet_type(headers)
        layer2, layer3 = lengths & L2_LENGTH_MASK, (lengths >> L3_LENGTH_SHIFT) & L3_LENGTH_MASK
        ip = frame + layer2
        if layer3 == 0:
            return 0
        flags = layer3_of(ip, layer3) if is_ipv4(kind) else TX_IPV6
        length = _layer4_length(ip, kind, layer3)
        fits = length <= load32(m + MBUF_PKT_LEN) - layer2 - layer3 and length >= lengths >> L4_LENGTH_SHIFT
        protocol = 0
        if kind & L4_MASK == L4_UDP:
            protocol = PROTOCOL_UDP
        elif kind & L4_MASK == L4_TCP:
            protocol = PROTOCOL_TCP
        if protocol != 0 and fits:
            pseudo = ipv4_pseudo_sum(ip, protocol, length) if is_ipv4(kind) else ipv6_pseudo_sum(ip, protocol, length)
            flags |= layer4_of(m, layer2 + layer3, protocol, pseudo, length)
        if ip_offload or udp_offload or tcp_offload:
            store64(m + MBUF_TX_OFFLOAD, lengths)
        return flags

    @inlined
    def edit(lcore: int, stream: int, burst: int, n: int) -> int:
        peer, own = load64(stream + STREAM_PEER), load64(stream + STREAM_OWN)
        for i in range(n):
            prefetch_next(burst, i, n)
            m = load64(burst + 8 * i)
            received = load64(m + MBUF_OL_FLAGS)
            _count_bad(stream, received)
            flags = 0
            if load16(m + MBUF_DATA_LEN) >= ETHERNET_SIZE:
                frame = mbuf_data(m)
                set_ethernet_destination(frame, peer)
                set_ethernet_source(frame, own)
                flags = mend(m, frame)
            store64(m + MBUF_OL_FLAGS, (received & ATTACHED) | flags)
        return n

    return edit
