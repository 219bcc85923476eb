# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 (RFC 8200, 3) and its extension headers (4). Accessors take the address of the header; numbers in host order."""

from pollmode.eal.jit import (
    byteswap16,
    byteswap32,
    copy16,
    inlined,
    load8,
    load16,
    load64,
    store8,
    store16,
    store32,
    store64,
)
from pollmode.eal.layout import BitField, be_struct, offset_of

__all__ = [
    "EXTENSION_AH",
    "EXTENSION_DESTINATION",
    "EXTENSION_FRAGMENT",
    "EXTENSION_HOP_BY_HOP",
    "EXTENSION_ROUTING",
    "IPV6",
    "IPV6_FRAGMENT",
    "IPV6_SIZE",
    "NO_NEXT_HEADER",
    "WALK_FRAGMENT",
    "WALK_LENGTH",
    "WALK_PROTOCOL",
    "WALK_UNKNOWN",
    "ipv6_destination",
    "ipv6_header_ok",
    "ipv6_hop_limit",
    "ipv6_next_header",
    "ipv6_payload_length",
    "ipv6_source",
    "ipv6_walk",
    "set_ipv6_hop_limit",
    "set_ipv6_payload_length",
    "swap_ipv6",
    "write_ipv6",
]

IPV6_SIZE = 40
IPV6 = be_struct(
    "ipv6",
    40,
    version_class_flow="u4",
    payload_length="u2",
    next_header="u1",
    hop_limit="u1",
    source=("u1", 16),
    destination=("u1", 16),
)
IPV6_FRAGMENT = be_struct("ipv6_fragment", 8, next_header="u1", reserved="u1", fragment="u2", identification="u4")

_VERSION_WORD = offset_of(IPV6, "version_class_flow")
_PAYLOAD_LENGTH = offset_of(IPV6, "payload_length")
_NEXT_HEADER = offset_of(IPV6, "next_header")
_HOP_LIMIT = offset_of(IPV6, "hop_limit")
_SOURCE = offset_of(IPV6, "source")
_DESTINATION = offset_of(IPV6, "destination")
_VERSION = 6

# IANA, IPv6 extension header types
EXTENSION_HOP_BY_HOP = 0
EXTENSION_ROUTING = 43
EXTENSION_FRAGMENT = 44
EXTENSION_AH = 51
EXTENSION_DESTINATION = 60
NO_NEXT_HEADER = 59

# An extension header is at least eight bytes; its second byte counts further units of eight (AH: of four, less two).
_EXTENSION_SIZE = 8
_MOST_EXTENSIONS = 8

# The word that `ipv6_walk` returns
WALK_PROTOCOL = BitField(0, 8)
WALK_LENGTH = BitField(8, 16)
WALK_FRAGMENT = BitField(24, 1)
WALK_UNKNOWN = BitField(25, 1)
_LENGTH_SHIFT = WALK_LENGTH.shift
_FRAGMENT_MASK = WALK_FRAGMENT.mask
_UNKNOWN_MASK = WALK_UNKNOWN.mask


@inlined
def ipv6_header_ok(ip: int, available: int) -> int:
    """Return 1 when `available` bytes hold a header and its version is 6, else 0."""
    return 1 if available >= IPV6_SIZE and load8(ip + _VERSION_WORD) >> 4 == _VERSION else 0


@inlined
def ipv6_payload_length(ip: int) -> int:
    """Return the bytes after the header, extension headers included, as the header says."""
    return byteswap16(load16(ip + _PAYLOAD_LENGTH))


@inlined
def set_ipv6_payload_length(ip: int, length: int) -> None:
    """Set the bytes after the header."""
    store16(ip + _PAYLOAD_LENGTH, byteswap16(length))


@inlined
def ipv6_next_header(ip: int) -> int:
    """Return the type of what follows: an extension header or a protocol."""
    return load8(ip + _NEXT_HEADER)


@inlined
def ipv6_hop_limit(ip: int) -> int:
    """Return the hop limit."""
    return load8(ip + _HOP_LIMIT)


@inlined
def set_ipv6_hop_limit(ip: int, value: int) -> None:
    """Set the hop limit."""
    store8(ip + _HOP_LIMIT, value)


@inlined
def ipv6_source(ip: int) -> int:
    """Return where the sixteen bytes of the source address lie."""
    return ip + _SOURCE


@inlined
def ipv6_destination(ip: int) -> int:
    """Return where the sixteen bytes of the destination address lie."""
    return ip + _DESTINATION


@inlined
def swap_ipv6(ip: int) -> None:
    """Exchange source and destination; checksums stay right, a sum does not mind the order."""
    low = load64(ip + _SOURCE)
    high = load64(ip + _SOURCE + 8)
    copy16(ip + _SOURCE, ip + _DESTINATION)
    store64(ip + _DESTINATION, low)
    store64(ip + _DESTINATION + 8, high)


@inlined
def write_ipv6(ip: int, payload_length: int, next_header: int, hop_limit: int, source: int, destination: int) -> None:
    """Write a header with class and flow 0; `source` and `destination` are where sixteen bytes each lie."""
    store32(ip + _VERSION_WORD, byteswap32(_VERSION << 28))
    set_ipv6_payload_length(ip, payload_length)
    store8(ip + _NEXT_HEADER, next_header)
    store8(ip + _HOP_LIMIT, hop_limit)
    copy16(ip + _SOURCE, source)
    copy16(ip + _DESTINATION, destination)


@inlined
def is_extension(kind: int) -> int:
    """Return 1 when a next-header value is an extension header that `ipv6_walk` can step over, else 0."""
    known = (EXTENSION_HOP_BY_HOP, EXTENSION_ROUTING, EXTENSION_FRAGMENT, EXTENSION_AH, EXTENSION_DESTINATION)
    return 1 if kind in known else 0


@inlined
def ipv6_walk(ip: int, available: int) -> int:
    """Step over the extension headers; return what stands behind them, as one word of `WALK_*` fields.

    `WALK_PROTOCOL` is the protocol behind the headers and `WALK_LENGTH` the bytes of the IPv6 header and all of them.
    `WALK_FRAGMENT` says that there was a fragment header (the walk ends behind it: only the first fragment
    holds more), `WALK_UNKNOWN` that `available` bytes do not hold the next header, or that there were more than eight.
    Reads nothing at or above `ip + available`. The caller has checked the header (`ipv6_header_ok`).
    """
    kind = ipv6_next_header(ip)
    length = IPV6_SIZE
    for _ in range(_MOST_EXTENSIONS):
        if is_extension(kind) == 0:
            return kind | (length << _LENGTH_SHIFT)
        if length + _EXTENSION_SIZE > available:
            break
        extension = ip + length
        count = load8(extension + 1)
        size = _EXTENSION_SIZE + count * 8
        if kind == EXTENSION_FRAGMENT:
            following = load8(extension)
            return following | ((length + _EXTENSION_SIZE) << _LENGTH_SHIFT) | _FRAGMENT_MASK
        if kind == EXTENSION_AH:
            size = 8 + count * 4
        if length + size > available:
            break
        kind = load8(extension)
        length += size
    if is_extension(kind) == 0:
        return kind | (length << _LENGTH_SHIFT)
    return kind | (length << _LENGTH_SHIFT) | _UNKNOWN_MASK
