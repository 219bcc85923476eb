# SPDX-License-Identifier: BSD-3-Clause
"""Packet types, with the values of DPDK's RTE_PTYPE_*, and the parser that finds them (DPDK's rte_net_get_ptype).

The parser reads the frame up to its layer 4 header. It never reads at or above `frame + length`: a header that does not
lie wholly within the length is not there, and the type names the layers before it.
"""

from pollmode.eal.jit import inlined
from pollmode.net.ethernet import (
    ETHERNET_SIZE,
    TYPE_ARP,
    TYPE_IPV4,
    TYPE_IPV6,
    TYPE_LLDP,
    TYPE_TIMESYNC,
    ethernet_type,
)
from pollmode.net.icmp import ICMP_SIZE
from pollmode.net.ipv4 import (
    IPV4_SIZE,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_IGMP,
    PROTOCOL_SCTP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    ipv4_header_length,
    ipv4_is_fragment,
    ipv4_protocol,
)
from pollmode.net.ipv6 import (
    IPV6_SIZE,
    WALK_FRAGMENT,
    WALK_LENGTH,
    WALK_PROTOCOL,
    WALK_UNKNOWN,
    ipv6_header_ok,
    ipv6_next_header,
    ipv6_walk,
    is_extension,
)
from pollmode.net.tcp import TCP_SIZE, tcp_header_length
from pollmode.net.udp import UDP_SIZE
from pollmode.net.vlan import VLAN_SIZE, is_vlan_type, vlan_type

__all__ = [
    "L2_ETHER",
    "L2_ETHER_ARP",
    "L2_ETHER_LLDP",
    "L2_ETHER_QINQ",
    "L2_ETHER_TIMESYNC",
    "L2_ETHER_VLAN",
    "L2_LENGTH_MASK",
    "L2_MASK",
    "L3_IPV4",
    "L3_IPV4_EXT",
    "L3_IPV4_EXT_UNKNOWN",
    "L3_IPV6",
    "L3_IPV6_EXT",
    "L3_IPV6_EXT_UNKNOWN",
    "L3_LENGTH_MASK",
    "L3_LENGTH_SHIFT",
    "L3_MASK",
    "L4_FRAG",
    "L4_ICMP",
    "L4_IGMP",
    "L4_LENGTH_MASK",
    "L4_LENGTH_SHIFT",
    "L4_MASK",
    "L4_SCTP",
    "L4_TCP",
    "L4_UDP",
    "LENGTHS_SHIFT",
    "TYPE_MASK",
    "header_lengths",
    "is_ipv4",
    "is_ipv6",
    "names",
    "packet_type",
    "parse",
    "parse_headers",
]

# DPDK 22.11, rte_mbuf_ptype.h
L2_ETHER = 0x1
L2_ETHER_TIMESYNC = 0x2
L2_ETHER_ARP = 0x3
L2_ETHER_LLDP = 0x4
L2_ETHER_VLAN = 0x6
L2_ETHER_QINQ = 0x7
L2_MASK = 0xF
L3_IPV4 = 0x10
L3_IPV4_EXT = 0x30
L3_IPV6 = 0x40
L3_IPV4_EXT_UNKNOWN = 0x90  # with or without options: who said IPv4 did not say
L3_IPV6_EXT = 0xC0
L3_IPV6_EXT_UNKNOWN = 0xE0
L3_MASK = 0xF0
L4_TCP = 0x100
L4_UDP = 0x200
L4_FRAG = 0x300
L4_SCTP = 0x400
L4_ICMP = 0x500
L4_IGMP = 0x700
L4_MASK = 0xF00

TYPE_MASK = 0xFFFFFFFF

# What `parse_headers` returns above the packet type: the lengths as an mbuf's tx_offload holds them, 7, 9 and 8 bits.
LENGTHS_SHIFT = 32
L2_LENGTH_MASK = 0x7F
L3_LENGTH_SHIFT = 7
L3_LENGTH_MASK = 0x1FF
L4_LENGTH_SHIFT = 16
L4_LENGTH_MASK = 0xFF

_SCTP_SIZE = 12
_IGMP_SIZE = 8
_IPV4_BIT = 0x10
_IPV6_BIT = 0x40
_PROTOCOL_SHIFT, _PROTOCOL_MASK = WALK_PROTOCOL.shift, (1 << WALK_PROTOCOL.width) - 1
_WALK_LENGTH_SHIFT, _WALK_LENGTH_MASK = WALK_LENGTH.shift, (1 << WALK_LENGTH.width) - 1
_FRAGMENT, _UNKNOWN = WALK_FRAGMENT.mask, WALK_UNKNOWN.mask

_L2_NAMES = {
    L2_ETHER: "L2_ETHER",
    L2_ETHER_TIMESYNC: "L2_ETHER_TIMESYNC",
    L2_ETHER_ARP: "L2_ETHER_ARP",
    L2_ETHER_LLDP: "L2_ETHER_LLDP",
    L2_ETHER_VLAN: "L2_ETHER_VLAN",
    L2_ETHER_QINQ: "L2_ETHER_QINQ",
}
_L3_NAMES = {
    L3_IPV4: "L3_IPV4",
    L3_IPV4_EXT: "L3_IPV4_EXT",
    L3_IPV6: "L3_IPV6",
    L3_IPV6_EXT: "L3_IPV6_EXT",
    L3_IPV4_EXT_UNKNOWN: "L3_IPV4_EXT_UNKNOWN",
    L3_IPV6_EXT_UNKNOWN: "L3_IPV6_EXT_UNKNOWN",
}
_L4_NAMES = {
    L4_TCP: "L4_TCP",
    L4_UDP: "L4_UDP",
    L4_FRAG: "L4_FRAG",
    L4_SCTP: "L4_SCTP",
    L4_ICMP: "L4_ICMP",
    L4_IGMP: "L4_IGMP",
}


def names(packet_type: int) -> str:
    """Return the names of a packet type's layers as DPDK prints them: "L2_ETHER L3_IPV4 L4_UDP"; 0 is "UNKNOWN"."""
    layers = ((_L2_NAMES, L2_MASK), (_L3_NAMES, L3_MASK), (_L4_NAMES, L4_MASK))
    found = [known.get(packet_type & mask, "") for known, mask in layers]
    return " ".join(filter(None, found)) or "UNKNOWN"


@inlined
def is_ipv4(kind: int) -> int:
    """Return 1 when a packet type is IPv4, with or without options, else 0 (DPDK's RTE_ETH_IS_IPV4_HDR)."""
    return 1 if kind & _IPV4_BIT else 0


@inlined
def is_ipv6(kind: int) -> int:
    """Return 1 when a packet type is IPv6, with or without extension headers, else 0 (DPDK's RTE_ETH_IS_IPV6_HDR)."""
    return 1 if kind & _IPV6_BIT else 0


@inlined
def packet_type(headers: int) -> int:
    """Return the packet type in what `parse_headers` returned."""
    return headers & TYPE_MASK


@inlined
def header_lengths(headers: int) -> int:
    """Return the lengths in what `parse_headers` returned, as the low bits of an mbuf's tx_offload."""
    return headers >> LENGTHS_SHIFT


@inlined
def _layer4(protocol: int, header: int, available: int) -> int:
    """Return the headers word of layer 4 alone, 0 when its header is not wholly there or not known."""
    kind = 0
    length = 0
    if protocol == PROTOCOL_UDP:
        kind, length = L4_UDP, UDP_SIZE
    elif protocol == PROTOCOL_TCP:
        kind, length = L4_TCP, tcp_header_length(header) if available >= TCP_SIZE else TCP_SIZE
        if length < TCP_SIZE:
            return 0
    elif protocol in (PROTOCOL_ICMP, PROTOCOL_ICMPV6):
        kind, length = L4_ICMP, ICMP_SIZE
    elif protocol == PROTOCOL_SCTP:
        kind, length = L4_SCTP, _SCTP_SIZE
    elif protocol == PROTOCOL_IGMP:
        kind, length = L4_IGMP, _IGMP_SIZE
    if available < length:
        return 0
    return kind | (length << (LENGTHS_SHIFT + L4_LENGTH_SHIFT))


@inlined
def _ipv4(ip: int, available: int) -> int:
    """Return the headers word of layers 3 and 4 of an IPv4 packet."""
    length = ipv4_header_length(ip, available)
    if length == 0:
        return 0
    kind = L3_IPV4 if length == IPV4_SIZE else L3_IPV4_EXT
    headers = kind | (length << (LENGTHS_SHIFT + L3_LENGTH_SHIFT))
    if ipv4_is_fragment(ip):
        return headers | L4_FRAG
    return headers | _layer4(ipv4_protocol(ip), ip + length, available - length)


@inlined
def _ipv6(ip: int, available: int) -> int:
    """Return the headers word of layers 3 and 4 of an IPv6 packet; one with more than 511 bytes has no lengths."""
    if ipv6_header_ok(ip, available) == 0:
        return 0
    if is_extension(ipv6_next_header(ip)) == 0:
        headers = L3_IPV6 | (IPV6_SIZE << (LENGTHS_SHIFT + L3_LENGTH_SHIFT))
        return headers | _layer4(ipv6_next_header(ip), ip + IPV6_SIZE, available - IPV6_SIZE)
    walk = ipv6_walk(ip, available)
    length = (walk >> _WALK_LENGTH_SHIFT) & _WALK_LENGTH_MASK
    if walk & _UNKNOWN or length > L3_LENGTH_MASK:
        return L3_IPV6_EXT
    headers = L3_IPV6_EXT | (length << (LENGTHS_SHIFT + L3_LENGTH_SHIFT))
    if walk & _FRAGMENT:
        return headers | L4_FRAG
    return headers | _layer4((walk >> _PROTOCOL_SHIFT) & _PROTOCOL_MASK, ip + length, available - length)


@inlined
def _untagged(kind: int) -> int:
    """Return the layer 2 type of a frame without a tag, by its Ethernet type."""
    if kind == TYPE_ARP:
        return L2_ETHER_ARP
    if kind == TYPE_LLDP:
        return L2_ETHER_LLDP
    if kind == TYPE_TIMESYNC:
        return L2_ETHER_TIMESYNC
    return L2_ETHER


@inlined
def parse_headers(frame: int, length: int) -> int:
    """Return the packet type of a frame of `length` bytes and, from bit `LENGTHS_SHIFT` on, the lengths of its headers.

    The lengths of layers 2, 3 and 4 stand there as in an mbuf's tx_offload: `header_lengths` takes them out,
    `packet_type` the type. A frame below 14 bytes has type 0. A layer with type 0 has length 0; so has layer 3 when
    IPv6 extension headers do not end within the length, or take more than the 511 bytes that tx_offload can say.
    """
    if length < ETHERNET_SIZE:
        return 0
    following = ethernet_type(frame)
    size = ETHERNET_SIZE
    layer2 = _untagged(following)
    if is_vlan_type(following) and length >= size + VLAN_SIZE:
        following = vlan_type(frame + size)
        size += VLAN_SIZE
        layer2 = L2_ETHER_VLAN
        if is_vlan_type(following) and length >= size + VLAN_SIZE:
            following = vlan_type(frame + size)
            size += VLAN_SIZE
            layer2 = L2_ETHER_QINQ
    headers = layer2 | (size << LENGTHS_SHIFT)
    if following == TYPE_IPV4:
        headers |= _ipv4(frame + size, length - size)
    elif following == TYPE_IPV6:
        headers |= _ipv6(frame + size, length - size)
    return headers


@inlined
def parse(frame: int, length: int) -> int:
    """Return the packet type of a frame of `length` bytes; see `parse_headers`."""
    return packet_type(parse_headers(frame, length))
