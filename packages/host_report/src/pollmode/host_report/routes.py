# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's IPv4 routing table, over rtnetlink(7): /proc/net/route leaves out all but the first way of a route."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

__all__ = ["interfaces_in", "routed_interfaces"]

# linux/netlink.h, linux/rtnetlink.h
MESSAGE = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
HOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface
REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
DONE, NEW_ROUTE, GET_ROUTE = 3, 24, 26
DESTINATION, OUT_INTERFACE, MULTIPATH, TABLE = 1, 4, 9, 15
MAIN = 254
LINK_LOCAL = bytes((169, 254))  # RFC 3927


def routed_interfaces() -> frozenset[str]:
    """Return the interfaces in the main table's IPv4 routes, link-local destinations left out.

    It is what DPDK's devbind calls active. Empty where the kernel has no rtnetlink or answers with an error.
    """
    indices: set[int] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
            body = ROUTE.pack(socket.AF_INET, *[0] * 8)
            link.send(MESSAGE.pack(MESSAGE.size + len(body), GET_ROUTE, REQUEST_DUMP, 1, 0) + body)
            more = True
            while more:
                more = interfaces_in(link.recv(1 << 16), indices)
    except (OSError, struct.error):
        return frozenset()
    return frozenset(_names(indices))


def interfaces_in(answer: bytes, found: set[int]) -> bool:
    """Add the numbers of the interfaces in one datagram to `found`; return whether more datagrams come."""
    while len(answer) >= MESSAGE.size:
        length, kind, *_ = MESSAGE.unpack_from(answer)
        if kind != NEW_ROUTE or length < MESSAGE.size:
            return False
        found.update(_interfaces(answer[MESSAGE.size : length]))
        answer = answer[_aligned(length) :]
    return True


def _interfaces(route: bytes) -> Iterator[int]:
    table = ROUTE.unpack_from(route)[4]
    attributes = dict(_attributes(route[ROUTE.size :]))
    if TABLE in attributes:
        (table,) = struct.unpack("=I", attributes[TABLE])
    if table != MAIN or attributes.get(DESTINATION, b"").startswith(LINK_LOCAL):
        return
    if OUT_INTERFACE in attributes:
        yield struct.unpack("=i", attributes[OUT_INTERFACE])[0]
    hops = attributes.get(MULTIPATH, b"")
    while len(hops) >= HOP.size:
        length, _, _, interface = HOP.unpack_from(hops)
        yield interface
        hops = hops[_aligned(max(length, HOP.size)) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[_aligned(max(length, ATTRIBUTE.size)) :]


def _names(indices: set[int]) -> Iterator[str]:
    for index in indices:
        try:
            yield socket.if_indextoname(index)
        except OSError:  # it went meanwhile
            continue


def _aligned(length: int) -> int:
    return (length + 3) & ~3
