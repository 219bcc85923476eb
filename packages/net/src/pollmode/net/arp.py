# SPDX-License-Identifier: BSD-3-Clause
"""ARP for IPv4 over Ethernet (RFC 826). Accessors take the address of the ARP header, behind the Ethernet header.

MAC addresses pass as words (see `mac`), IPv4 addresses as numbers, codes in host order.
"""

from pollmode.eal.jit import byteswap16, byteswap32, inlined, load16, load32, store8, store16, store32
from pollmode.eal.layout import be_struct, offset_of
from pollmode.net.ethernet import TYPE_IPV4

__all__ = [
    "ARP",
    "ARP_SIZE",
    "HARDWARE_ETHERNET",
    "OPERATION_REPLY",
    "OPERATION_REQUEST",
    "arp_is_ipv4",
    "arp_operation",
    "arp_reply",
    "arp_sender_ip",
    "arp_sender_mac",
    "arp_target_ip",
    "arp_target_mac",
    "set_arp_operation",
    "set_arp_sender",
    "set_arp_target",
    "write_arp",
]

ARP_SIZE = 28
ARP = be_struct(
    "arp",
    28,
    hardware_type="u2",
    protocol_type="u2",
    hardware_length="u1",
    protocol_length="u1",
    operation="u2",
    sender_mac=("u1", 6),
    sender_ip="u4",
    target_mac=("u1", 6),
    target_ip="u4",
)
_HARDWARE_TYPE = offset_of(ARP, "hardware_type")
_PROTOCOL_TYPE = offset_of(ARP, "protocol_type")
_LENGTHS = offset_of(ARP, "hardware_length")
_PROTOCOL_LENGTH = offset_of(ARP, "protocol_length")
_OPERATION = offset_of(ARP, "operation")
_SENDER_MAC = offset_of(ARP, "sender_mac")
_SENDER_IP = offset_of(ARP, "sender_ip")
_TARGET_MAC = offset_of(ARP, "target_mac")
_TARGET_IP = offset_of(ARP, "target_ip")

# IANA, ARP parameters; DPDK's RTE_ARP_HRD_ETHER and RTE_ARP_OP_*
HARDWARE_ETHERNET = 1
OPERATION_REQUEST = 1
OPERATION_REPLY = 2
_ETHERNET_AND_IPV4_LENGTHS = 0x0604


@inlined
def arp_is_ipv4(arp: int) -> int:
    """Return 1 when the header is about IPv4 over Ethernet, with the lengths that go with them, else 0."""
    if byteswap16(load16(arp + _HARDWARE_TYPE)) != HARDWARE_ETHERNET:
        return 0
    if byteswap16(load16(arp + _PROTOCOL_TYPE)) != TYPE_IPV4:
        return 0
    return 1 if byteswap16(load16(arp + _LENGTHS)) == _ETHERNET_AND_IPV4_LENGTHS else 0


@inlined
def arp_operation(arp: int) -> int:
    """Return the operation, in host order."""
    return byteswap16(load16(arp + _OPERATION))


@inlined
def set_arp_operation(arp: int, value: int) -> None:
    """Set the operation, given in host order."""
    store16(arp + _OPERATION, byteswap16(value))


@inlined
def arp_sender_mac(arp: int) -> int:
    """Return the sender's MAC address as a word."""
    return load32(arp + _SENDER_MAC) | (load16(arp + _SENDER_MAC + 4) << 32)


@inlined
def arp_sender_ip(arp: int) -> int:
    """Return the sender's IPv4 address as a number."""
    return byteswap32(load32(arp + _SENDER_IP))


@inlined
def set_arp_sender(arp: int, mac: int, ip: int) -> None:
    """Set the sender: MAC address as a word, IPv4 address as a number."""
    store32(arp + _SENDER_MAC, mac)
    store16(arp + _SENDER_MAC + 4, mac >> 32)
    store32(arp + _SENDER_IP, byteswap32(ip))


@inlined
def arp_target_mac(arp: int) -> int:
    """Return the target's MAC address as a word."""
    return load32(arp + _TARGET_MAC) | (load16(arp + _TARGET_MAC + 4) << 32)


@inlined
def arp_target_ip(arp: int) -> int:
    """Return the target's IPv4 address as a number."""
    return byteswap32(load32(arp + _TARGET_IP))


@inlined
def set_arp_target(arp: int, mac: int, ip: int) -> None:
    """Set the target: MAC address as a word, IPv4 address as a number."""
    store32(arp + _TARGET_MAC, mac)
    store16(arp + _TARGET_MAC + 4, mac >> 32)
    store32(arp + _TARGET_IP, byteswap32(ip))


@inlined
def arp_reply(arp: int, mac: int) -> None:
    """Turn a request into the reply that says: the IPv4 address asked for is at `mac` (a word)."""
    wanted = arp_target_ip(arp)
    set_arp_target(arp, arp_sender_mac(arp), arp_sender_ip(arp))
    set_arp_sender(arp, mac, wanted)
    set_arp_operation(arp, OPERATION_REPLY)


@inlined
def write_arp(arp: int, operation: int, sender_mac: int, sender_ip: int, target_mac: int, target_ip: int) -> None:
    """Write a whole header for IPv4 over Ethernet."""
    store16(arp + _HARDWARE_TYPE, byteswap16(HARDWARE_ETHERNET))
    store16(arp + _PROTOCOL_TYPE, byteswap16(TYPE_IPV4))
    store8(arp + _LENGTHS, _ETHERNET_AND_IPV4_LENGTHS >> 8)
    store8(arp + _PROTOCOL_LENGTH, _ETHERNET_AND_IPV4_LENGTHS & 0xFF)
    set_arp_operation(arp, operation)
    set_arp_sender(arp, sender_mac, sender_ip)
    set_arp_target(arp, target_mac, target_ip)
