# SPDX-License-Identifier: BSD-3-Clause
"""The 802.1Q tag (IEEE 802.1Q, 9.6): tag control information, then the type of what follows.

A tag starts where the untagged frame had its payload: `frame + ETHERNET_SIZE`. Two tags in a row are 802.1ad (QinQ).
"""

from pollmode.eal.jit import byteswap16, inlined, load16, load32, load64, store16, store32, store64
from pollmode.eal.layout import BitField, be_struct, offset_of
from pollmode.net.ethernet import TYPE, TYPE_QINQ, TYPE_VLAN, ethernet_type, set_ethernet_type

__all__ = [
    "TCI",
    "VLAN",
    "VLAN_DROP_ELIGIBLE",
    "VLAN_ID",
    "VLAN_PRIORITY",
    "VLAN_SIZE",
    "VLAN_TYPE",
    "insert_vlan",
    "is_vlan_type",
    "set_vlan_tci",
    "set_vlan_type",
    "strip_vlan",
    "vlan_tci",
    "vlan_type",
]

VLAN_SIZE = 4
VLAN = be_struct("vlan", 4, tci="u2", type="u2")
TCI = offset_of(VLAN, "tci")
VLAN_TYPE = offset_of(VLAN, "type")

VLAN_ID = BitField(0, 12)
VLAN_DROP_ELIGIBLE = BitField(12, 1)
VLAN_PRIORITY = BitField(13, 3)

_NO_TAG = -1


@inlined
def vlan_tci(tag: int) -> int:
    """Return the tag control information, in host order; its parts are `VLAN_ID`, `VLAN_PRIORITY`, ..."""
    return byteswap16(load16(tag + TCI))


@inlined
def set_vlan_tci(tag: int, tci: int) -> None:
    """Set the tag control information, given in host order."""
    store16(tag + TCI, byteswap16(tci))


@inlined
def vlan_type(tag: int) -> int:
    """Return the type of what follows the tag, in host order."""
    return byteswap16(load16(tag + VLAN_TYPE))


@inlined
def set_vlan_type(tag: int, value: int) -> None:
    """Set the type of what follows the tag, given in host order."""
    store16(tag + VLAN_TYPE, byteswap16(value))


@inlined
def is_vlan_type(value: int) -> int:
    """Return 1 when a type announces a tag: 802.1Q, or the outer one of 802.1ad."""
    return 1 if value in (TYPE_VLAN, TYPE_QINQ) else 0


@inlined
def strip_vlan(frame: int) -> int:
    """Take the tag out of a frame and return its control information, or -1 when the frame has none.

    The addresses move up by `VLAN_SIZE`: the frame then starts at `frame + VLAN_SIZE` (DPDK's rte_vlan_strip). The
    caller has checked that the frame holds the Ethernet header and a tag.
    """
    if is_vlan_type(ethernet_type(frame)) == 0:
        return _NO_TAG
    tag = frame + TYPE + 2
    tci = vlan_tci(tag)
    head = load64(frame)
    store32(frame + 8 + VLAN_SIZE, load32(frame + 8))
    store64(frame + VLAN_SIZE, head)
    return tci


@inlined
def insert_vlan(frame: int, tci: int) -> None:
    """Put an 802.1Q tag into a frame; the addresses move down by `VLAN_SIZE` bytes, which the caller has made room for.

    The frame then starts at `frame - VLAN_SIZE` (DPDK's rte_vlan_insert).
    """
    start = frame - VLAN_SIZE
    head = load64(frame)
    tail = load32(frame + 8)
    store64(start, head)
    store32(start + 8, tail)
    set_ethernet_type(start, TYPE_VLAN)
    set_vlan_tci(start + TYPE + 2, tci)
