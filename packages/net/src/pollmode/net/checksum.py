# SPDX-License-Identifier: BSD-3-Clause
"""The Internet checksum (RFC 1071): sums of memory, IPv4, UDP and TCP over both IPs, and changes to a header.

Sums and checksums pass *as they lie in memory*: the value that `store16` writes and `load16` reads, with no byte swap
(RFC 1071, 2(B): the sum does not mind the order of bytes as long as it is one order). A *sum* is not yet
complemented; a *checksum* is.

A block is summed as 32-bit words into 64 bits, a loop that LLVM turns into vectors; 16-bit words with an end-around
carry would cost an addition per two bytes. The sum of 2^31 words still fits.
"""

import numpy as np

from pollmode.eal.jit import byteswap16, inlined, load8, load16, load32, view
from pollmode.eal.layout import offset_of
from pollmode.net.ipv4 import IPV4, PROTOCOL_UDP
from pollmode.net.ipv6 import IPV6
from pollmode.net.tcp import TCP
from pollmode.net.udp import UDP

__all__ = [
    "finish",
    "fold",
    "ipv4_checksum",
    "ipv4_checksum_ok",
    "ipv4_pseudo_sum",
    "ipv6_pseudo_sum",
    "raw_checksum",
    "sum_at",
    "udp_tcp_checksum",
    "udp_tcp_checksum_ok",
    "udp_zero",
    "update16",
    "update32",
    "wide_sum",
]

_WORD = np.dtype("<u4")
_BLOCK = 64
_IPV4_CHECKSUM = offset_of(IPV4, "checksum")
_IPV4_SOURCE = offset_of(IPV4, "source")
_IPV6_SOURCE = offset_of(IPV6, "source")
_UDP_CHECKSUM = offset_of(UDP, "checksum")
_TCP_CHECKSUM = offset_of(TCP, "checksum")


@inlined
def fold(total: int) -> int:
    """Add the 16-bit words of a 64-bit sum with end-around carry: 0 to 0xffff, and 0 for nothing but 0.

    A word plus itself rotated by half has the sum of its halves, carry included, in its upper half (DPDK reduces in
    more steps).
    """
    total = ((total + ((total << 32) | ((total >> 32) & 0xFFFFFFFF))) >> 32) & 0xFFFFFFFF
    return ((total + ((total << 16) | (total >> 16))) & 0xFFFFFFFF) >> 16


@inlined
def finish(total: int) -> int:
    """Return the checksum of a sum: folded and complemented."""
    return ~fold(total) & 0xFFFF


@inlined
def _sum16(address: int) -> int:
    """Return the sum of the four 32-bit words of 16 bytes."""
    return (load32(address) + load32(address + 4)) + (load32(address + 8) + load32(address + 12))


@inlined
def _short_sum(address: int, length: int) -> int:
    """Return the unfolded sum of fewer than 64 bytes: a piece for each bit of the length, no loop."""
    total = 0
    if length & 32:
        total += _sum16(address) + _sum16(address + 16)
        address += 32
    if length & 16:
        total += _sum16(address)
        address += 16
    if length & 8:
        total += load32(address) + load32(address + 4)
        address += 8
    if length & 4:
        total += load32(address)
        address += 4
    if length & 2:
        total += load16(address)
        address += 2
    if length & 1:
        total += load8(address)
    return total


@inlined
def wide_sum(address: int, length: int) -> int:
    """Return the unfolded sum of `length` bytes; an odd last byte counts as if a zero byte followed it."""
    if length < _BLOCK:
        return _short_sum(address, length)
    total = 0
    words = length >> 2
    for word in view(address, words, _WORD):
        total += word
    rest = address + (words << 2)
    if length & 2:
        total += load16(rest)
        rest += 2
    if length & 1:
        total += load8(rest)
    return total


@inlined
def raw_checksum(address: int, length: int) -> int:
    """Return the sum of `length` bytes, folded to 16 bits and not complemented (DPDK's rte_raw_cksum)."""
    return fold(wide_sum(address, length))


@inlined
def sum_at(part: int, offset: int) -> int:
    """Return what the sum of a part adds to the sum of the whole when the part starts `offset` bytes into it.

    For data in several pieces, such as a chain of mbufs: at an odd offset the bytes change places (RFC 1071, 2(B)).
    """
    return byteswap16(fold(part)) if offset & 1 else part


@inlined
def ipv4_checksum(ip: int, header_length: int) -> int:
    """Return the header checksum that belongs into an IPv4 header; what stands in the field does not count.

    `header_length` is what `ipv4_header_length` returned.
    """
    return finish(wide_sum(ip, header_length) + (load16(ip + _IPV4_CHECKSUM) ^ 0xFFFF))


@inlined
def ipv4_checksum_ok(ip: int, header_length: int) -> int:
    """Return 1 when the checksum of an IPv4 header is right, else 0."""
    return 1 if raw_checksum(ip, header_length) == 0xFFFF else 0


@inlined
def ipv4_pseudo_sum(ip: int, protocol: int, length: int) -> int:
    """Return the sum of the pseudo header (RFC 9293, 3.1) of `length` bytes of UDP or TCP over the IPv4 header."""
    addresses = load32(ip + _IPV4_SOURCE) + load32(ip + _IPV4_SOURCE + 4)
    return fold(addresses + (protocol << 8) + byteswap16(length))


@inlined
def ipv6_pseudo_sum(ip: int, protocol: int, length: int) -> int:
    """Return the sum of the pseudo header (RFC 8200, 8.1) of `length` bytes of a protocol over the IPv6 header."""
    total = wide_sum(ip + _IPV6_SOURCE, 32)
    return fold(total + (protocol << 8) + byteswap16(length & 0xFFFF) + byteswap16(length >> 16))


@inlined
def udp_zero(protocol: int, checksum: int) -> int:
    """Return the checksum to send: UDP sends 0xffff for 0, because 0 says that there is none (RFC 768)."""
    return 0xFFFF if protocol == PROTOCOL_UDP and checksum == 0 else checksum


@inlined
def udp_tcp_checksum(pseudo: int, protocol: int, header: int, length: int) -> int:
    """Return the checksum of `length` bytes of UDP or TCP at `header`; what stands in the field does not count.

    `pseudo` is the sum of the pseudo header: `ipv4_pseudo_sum` or `ipv6_pseudo_sum`. The caller has checked that
    `length` bytes are there and hold the header.
    """
    field = _UDP_CHECKSUM if protocol == PROTOCOL_UDP else _TCP_CHECKSUM
    total = wide_sum(header, length) + pseudo + (load16(header + field) ^ 0xFFFF)
    return udp_zero(protocol, finish(total))


@inlined
def udp_tcp_checksum_ok(pseudo: int, header: int, length: int) -> int:
    """Return 1 when the checksum of UDP or TCP is right, else 0; a UDP header may also have none, 0."""
    return 1 if fold(wide_sum(header, length) + pseudo) == 0xFFFF else 0


@inlined
def update16(checksum: int, old: int, new: int) -> int:
    """Return a checksum after one 16-bit word it covers changed from `old` to `new` (RFC 1624, equation 3).

    All three as they lie in memory.
    """
    return finish((checksum ^ 0xFFFF) + (old ^ 0xFFFF) + new)


@inlined
def update32(checksum: int, old: int, new: int) -> int:
    """Return a checksum after 32 bits it covers, at an even offset, changed from `old` to `new` (RFC 1624)."""
    return finish((checksum ^ 0xFFFF) + (old ^ 0xFFFFFFFF) + new)
