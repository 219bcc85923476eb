# SPDX-License-Identifier: BSD-3-Clause
"""IPv4 (RFC 791, 3.1). Accessors take the address of the header; numbers and addresses pass in host order.

Checksums pass as they lie in memory, as `checksum` returns them. Call `ipv4_header_length` first: what it accepts, the
other accessors may read without another check.
"""

from pollmode.eal.jit import byteswap16, byteswap32, inlined, load8, load16, load32, store8, store16, store32
from pollmode.eal.layout import be_struct, offset_of

__all__ = [
    "DONT_FRAGMENT",
    "FRAGMENT_OFFSET",
    "IPV4",
    "IPV4_SIZE",
    "MORE_FRAGMENTS",
    "PROTOCOL_ICMP",
    "PROTOCOL_ICMPV6",
    "PROTOCOL_IGMP",
    "PROTOCOL_SCTP",
    "PROTOCOL_TCP",
    "PROTOCOL_UDP",
    "ipv4_checksum_field",
    "ipv4_destination",
    "ipv4_fragment_word",
    "ipv4_header_length",
    "ipv4_identification",
    "ipv4_is_fragment",
    "ipv4_payload_length",
    "ipv4_protocol",
    "ipv4_source",
    "ipv4_total_length",
    "ipv4_ttl",
    "set_ipv4_checksum_field",
    "set_ipv4_destination",
    "set_ipv4_identification",
    "set_ipv4_source",
    "set_ipv4_total_length",
    "set_ipv4_ttl",
    "swap_ipv4",
    "write_ipv4",
]

IPV4_SIZE = 20
IPV4 = be_struct(
    "ipv4",
    20,
    version_ihl="u1",
    type_of_service="u1",
    total_length="u2",
    identification="u2",
    fragment="u2",
    ttl="u1",
    protocol="u1",
    checksum="u2",
    source="u4",
    destination="u4",
)
_VERSION_IHL = offset_of(IPV4, "version_ihl")
_TYPE_OF_SERVICE = offset_of(IPV4, "type_of_service")
_TOTAL_LENGTH = offset_of(IPV4, "total_length")
_IDENTIFICATION = offset_of(IPV4, "identification")
_FRAGMENT = offset_of(IPV4, "fragment")
_TTL = offset_of(IPV4, "ttl")
_PROTOCOL = offset_of(IPV4, "protocol")
_CHECKSUM = offset_of(IPV4, "checksum")
_SOURCE = offset_of(IPV4, "source")
_DESTINATION = offset_of(IPV4, "destination")

_VERSION = 4
_PLAIN_VERSION_IHL = 0x45

# The fragment word
DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
FRAGMENT_OFFSET = 0x1FFF  # in units of eight bytes

# IANA, assigned Internet protocol numbers
PROTOCOL_ICMP = 1
PROTOCOL_IGMP = 2
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_ICMPV6 = 58
PROTOCOL_SCTP = 132


@inlined
def ipv4_header_length(ip: int, available: int) -> int:
    """Return the length of header and options in bytes (20 to 60), or 0 when there is no well-formed header.

    Well-formed: `available` bytes hold the header and its options, the version is 4 and the header says 20 or more.
    """
    if available < IPV4_SIZE:
        return 0
    first = load8(ip + _VERSION_IHL)
    length = (first & 0xF) << 2
    if first >> 4 != _VERSION or length < IPV4_SIZE or length > available:
        return 0
    return length


@inlined
def ipv4_total_length(ip: int) -> int:
    """Return the length of header and payload, as the header says."""
    return byteswap16(load16(ip + _TOTAL_LENGTH))


@inlined
def set_ipv4_total_length(ip: int, length: int) -> None:
    """Set the length of header and payload."""
    store16(ip + _TOTAL_LENGTH, byteswap16(length))


@inlined
def ipv4_payload_length(ip: int, available: int) -> int:
    """Return the bytes of payload, or -1 when the header is malformed or says more than `available` bytes hold.

    `available` counts from the header on; what is above the total length is Ethernet padding.
    """
    header = ipv4_header_length(ip, available)
    if header == 0:
        return -1
    total = ipv4_total_length(ip)
    return total - header if header <= total <= available else -1


@inlined
def ipv4_identification(ip: int) -> int:
    """Return the identification that the fragments of one packet share."""
    return byteswap16(load16(ip + _IDENTIFICATION))


@inlined
def set_ipv4_identification(ip: int, value: int) -> None:
    """Set the identification."""
    store16(ip + _IDENTIFICATION, byteswap16(value))


@inlined
def ipv4_fragment_word(ip: int) -> int:
    """Return flags and fragment offset: `DONT_FRAGMENT`, `MORE_FRAGMENTS`, `FRAGMENT_OFFSET`."""
    return byteswap16(load16(ip + _FRAGMENT))


@inlined
def ipv4_is_fragment(ip: int) -> int:
    """Return 1 when the packet is a part of another, first and last part included, else 0."""
    return 1 if ipv4_fragment_word(ip) & (MORE_FRAGMENTS | FRAGMENT_OFFSET) else 0


@inlined
def ipv4_ttl(ip: int) -> int:
    """Return the time to live."""
    return load8(ip + _TTL)


@inlined
def set_ipv4_ttl(ip: int, value: int) -> None:
    """Set the time to live; the checksum is the caller's business."""
    store8(ip + _TTL, value)


@inlined
def ipv4_protocol(ip: int) -> int:
    """Return the protocol of the payload, `PROTOCOL_*`."""
    return load8(ip + _PROTOCOL)


@inlined
def ipv4_checksum_field(ip: int) -> int:
    """Return the header checksum as it lies in memory."""
    return load16(ip + _CHECKSUM)


@inlined
def set_ipv4_checksum_field(ip: int, value: int) -> None:
    """Set the header checksum, given as it lies in memory."""
    store16(ip + _CHECKSUM, value)


@inlined
def ipv4_source(ip: int) -> int:
    """Return the source address as a number."""
    return byteswap32(load32(ip + _SOURCE))


@inlined
def set_ipv4_source(ip: int, address: int) -> None:
    """Set the source address, given as a number; the checksums are the caller's business."""
    store32(ip + _SOURCE, byteswap32(address))


@inlined
def ipv4_destination(ip: int) -> int:
    """Return the destination address as a number."""
    return byteswap32(load32(ip + _DESTINATION))


@inlined
def set_ipv4_destination(ip: int, address: int) -> None:
    """Set the destination address, given as a number; the checksums are the caller's business."""
    store32(ip + _DESTINATION, byteswap32(address))


@inlined
def swap_ipv4(ip: int) -> None:
    """Exchange source and destination; the checksums stay right, a sum does not mind the order."""
    source = load32(ip + _SOURCE)
    store32(ip + _SOURCE, load32(ip + _DESTINATION))
    store32(ip + _DESTINATION, source)


@inlined
def write_ipv4(ip: int, total_length: int, protocol: int, ttl: int, source: int, destination: int) -> None:
    """Write a header without options, not a fragment, identification 0 and checksum 0."""
    store8(ip + _VERSION_IHL, _PLAIN_VERSION_IHL)
    store8(ip + _TYPE_OF_SERVICE, 0)
    set_ipv4_total_length(ip, total_length)
    set_ipv4_identification(ip, 0)
    store16(ip + _FRAGMENT, 0)
    store8(ip + _TTL, ttl)
    store8(ip + _PROTOCOL, protocol)
    set_ipv4_checksum_field(ip, 0)
    set_ipv4_source(ip, source)
    set_ipv4_destination(ip, destination)
