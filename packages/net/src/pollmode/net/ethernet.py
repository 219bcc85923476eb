# SPDX-License-Identifier: BSD-3-Clause
"""The Ethernet header (IEEE 802.3, 3.1.1): destination, source, type.

Accessors take the address of the frame. MAC addresses pass as words (see `mac`): bytes as they lie in memory, the
first one lowest. Types pass in host order. The caller has checked that the frame holds a header.
"""

from pollmode.eal.jit import byteswap16, inlined, load16, load32, store16, store32, store64
from pollmode.eal.layout import be_struct, offset_of

__all__ = [
    "DESTINATION",
    "ETHERNET",
    "ETHERNET_SIZE",
    "SOURCE",
    "TYPE",
    "TYPE_ARP",
    "TYPE_IPV4",
    "TYPE_IPV6",
    "TYPE_LLDP",
    "TYPE_MPLS",
    "TYPE_PPPOE_SESSION",
    "TYPE_QINQ",
    "TYPE_TIMESYNC",
    "TYPE_VLAN",
    "ethernet_destination",
    "ethernet_source",
    "ethernet_type",
    "is_broadcast",
    "is_multicast",
    "set_ethernet_addresses",
    "set_ethernet_destination",
    "set_ethernet_source",
    "set_ethernet_type",
    "swap_ethernet",
    "write_ethernet",
]

ETHERNET_SIZE = 14
ETHERNET = be_struct("ethernet", 14, destination=("u1", 6), source=("u1", 6), type="u2")
DESTINATION = offset_of(ETHERNET, "destination")
SOURCE = offset_of(ETHERNET, "source")
TYPE = offset_of(ETHERNET, "type")

# IEEE registration authority, EtherTypes; DPDK's RTE_ETHER_TYPE_*
TYPE_IPV4 = 0x0800
TYPE_ARP = 0x0806
TYPE_VLAN = 0x8100
TYPE_IPV6 = 0x86DD
TYPE_MPLS = 0x8847
TYPE_PPPOE_SESSION = 0x8864
TYPE_QINQ = 0x88A8
TYPE_LLDP = 0x88CC
TYPE_TIMESYNC = 0x88F7

_BROADCAST_WORD = 0xFFFF_FFFF_FFFF
_GROUP_BIT = 1  # IEEE 802, 8.2.2: the first bit on the wire is the lowest of the first byte


@inlined
def ethernet_type(frame: int) -> int:
    """Return the type of the frame at `frame`, in host order."""
    return byteswap16(load16(frame + TYPE))


@inlined
def set_ethernet_type(frame: int, value: int) -> None:
    """Set the type, given in host order."""
    store16(frame + TYPE, byteswap16(value))


@inlined
def ethernet_destination(frame: int) -> int:
    """Return the destination as a word."""
    return load32(frame + DESTINATION) | (load16(frame + DESTINATION + 4) << 32)


@inlined
def set_ethernet_destination(frame: int, mac: int) -> None:
    """Set the destination, given as a word."""
    store32(frame + DESTINATION, mac)
    store16(frame + DESTINATION + 4, mac >> 32)


@inlined
def ethernet_source(frame: int) -> int:
    """Return the source as a word."""
    return load32(frame + SOURCE) | (load16(frame + SOURCE + 4) << 32)


@inlined
def set_ethernet_source(frame: int, mac: int) -> None:
    """Set the source, given as a word."""
    store32(frame + SOURCE, mac)
    store16(frame + SOURCE + 4, mac >> 32)


@inlined
def set_ethernet_addresses(frame: int, destination: int, source: int) -> None:
    """Set both addresses, given as words, in two stores."""
    store64(frame + DESTINATION, destination | (source << 48))
    store32(frame + DESTINATION + 8, source >> 16)


@inlined
def swap_ethernet(frame: int) -> None:
    """Exchange destination and source."""
    destination = ethernet_destination(frame)
    set_ethernet_destination(frame, ethernet_source(frame))
    set_ethernet_source(frame, destination)


@inlined
def write_ethernet(frame: int, destination: int, source: int, kind: int) -> None:
    """Write a whole header: two addresses as words and the type in host order."""
    set_ethernet_destination(frame, destination)
    set_ethernet_source(frame, source)
    set_ethernet_type(frame, kind)


@inlined
def is_multicast(mac: int) -> int:
    """Return 1 when the address (a word) is a group's, broadcast included, else 0."""
    return mac & _GROUP_BIT


@inlined
def is_broadcast(mac: int) -> int:
    """Return 1 when the address (a word) is the broadcast address, else 0."""
    return 1 if mac == _BROADCAST_WORD else 0
