# SPDX-License-Identifier: BSD-3-Clause
"""icmpecho: answers ARP requests and ICMP echo requests on the port they arrive at, and drops everything else."""

from __future__ import annotations

from pollmode.eal.jit import inlined, load16, load64, store64
from pollmode.mbuf import MBUF_DATA_LEN, mbuf_data
from pollmode.net.arp import ARP_SIZE, OPERATION_REQUEST, arp_is_ipv4, arp_operation, arp_reply
from pollmode.net.checksum import ipv4_checksum
from pollmode.net.ethernet import (
    ETHERNET_SIZE,
    TYPE_ARP,
    TYPE_IPV4,
    ethernet_source,
    ethernet_type,
    set_ethernet_destination,
    set_ethernet_source,
    swap_ethernet,
)
from pollmode.net.icmp import ECHO_REQUEST, ICMP_SIZE, icmp_code, icmp_echo_reply, icmp_type
from pollmode.net.ipv4 import (
    PROTOCOL_ICMP,
    ipv4_destination,
    ipv4_header_length,
    ipv4_is_fragment,
    ipv4_protocol,
    ipv4_source,
    set_ipv4_checksum_field,
    set_ipv4_source,
    swap_ipv4,
)
from pollmode.net.vlan import VLAN_SIZE, is_vlan_type, vlan_type
from pollmode.testpmd.engines.addresses import forget_offloads
from pollmode.testpmd.engines.loop import drop
from pollmode.testpmd.layout import STREAM_OWN

__all__ = ["edit_icmpecho"]

_CLASS_D = 0xE  # RFC 1112, 4: host groups are the addresses that start with 1110
_LAST_OCTET_BITS = 3


@inlined
def _answer_arp(frame: int, arp: int, own: int) -> int:
    if arp_is_ipv4(arp) == 0 or arp_operation(arp) != OPERATION_REQUEST:
        return 0
    set_ethernet_destination(frame, ethernet_source(frame))
    set_ethernet_source(frame, own)
    arp_reply(arp, own)
    return 1


@inlined
def _turn_addresses(ip: int, header: int) -> None:
    """Answer from the address that was asked; for a group, from a neighbour of who asks, as DPDK does."""
    source, group = ipv4_source(ip), ipv4_destination(ip) >> 28 == _CLASS_D
    swap_ipv4(ip)
    if group:
        neighbour = 2 if source & _LAST_OCTET_BITS == 1 else 1
        set_ipv4_source(ip, (source & ~_LAST_OCTET_BITS) | neighbour)
        set_ipv4_checksum_field(ip, ipv4_checksum(ip, header))


@inlined
def _answer_echo(frame: int, ip: int, available: int) -> int:
    header = ipv4_header_length(ip, available)
    if header == 0 or available < header + ICMP_SIZE or ipv4_protocol(ip) != PROTOCOL_ICMP or ipv4_is_fragment(ip):
        return 0
    icmp = ip + header
    if icmp_type(icmp) != ECHO_REQUEST or icmp_code(icmp) != 0:
        return 0
    swap_ethernet(frame)
    _turn_addresses(ip, header)
    icmp_echo_reply(icmp)
    return 1


@inlined
def _answer(frame: int, length: int, own: int) -> int:
    """Turn a request into its answer; returns 1, or 0 when it asks for none."""
    if length < ETHERNET_SIZE:
        return 0
    kind = ethernet_type(frame)
    layer2 = ETHERNET_SIZE
    if is_vlan_type(kind):
        if length < ETHERNET_SIZE + VLAN_SIZE:
            return 0
        kind = vlan_type(frame + layer2)
        layer2 += VLAN_SIZE
    if kind == TYPE_ARP and length >= layer2 + ARP_SIZE:
        return _answer_arp(frame, frame + layer2, own)
    if kind == TYPE_IPV4:
        return _answer_echo(frame, frame + layer2, length - layer2)
    return 0


@inlined
def edit_icmpecho(lcore: int, stream: int, burst: int, n: int) -> int:
    """Keep the requests, as answers; drop the rest."""
    own = load64(stream + STREAM_OWN)
    kept = 0
    for i in range(n):
        m = load64(burst + 8 * i)
        if _answer(mbuf_data(m), load16(m + MBUF_DATA_LEN), own) != 0:
            forget_offloads(m)
            store64(burst + 8 * kept, m)
            kept += 1
        else:
            drop(lcore, burst + 8 * i, 1)
    return kept
