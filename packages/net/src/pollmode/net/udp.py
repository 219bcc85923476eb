# SPDX-License-Identifier: BSD-3-Clause
"""UDP (RFC 768). Accessors take the address of the header; ports and length pass in host order.

Checksums pass as they lie in memory, as `checksum` returns them.
"""

from pollmode.eal.jit import byteswap16, inlined, load16, load32, store16, store32
from pollmode.eal.layout import be_struct, offset_of

__all__ = [
    "UDP",
    "UDP_SIZE",
    "set_udp_checksum",
    "set_udp_destination",
    "set_udp_length",
    "set_udp_source",
    "swap_udp_ports",
    "udp_checksum",
    "udp_destination",
    "udp_length",
    "udp_source",
    "write_udp",
]

UDP_SIZE = 8
UDP = be_struct("udp", 8, source="u2", destination="u2", length="u2", checksum="u2")
_SOURCE = offset_of(UDP, "source")
_DESTINATION = offset_of(UDP, "destination")
_LENGTH = offset_of(UDP, "length")
_CHECKSUM = offset_of(UDP, "checksum")


@inlined
def udp_source(udp: int) -> int:
    """Return the source port."""
    return byteswap16(load16(udp + _SOURCE))


@inlined
def set_udp_source(udp: int, port: int) -> None:
    """Set the source port."""
    store16(udp + _SOURCE, byteswap16(port))


@inlined
def udp_destination(udp: int) -> int:
    """Return the destination port."""
    return byteswap16(load16(udp + _DESTINATION))


@inlined
def set_udp_destination(udp: int, port: int) -> None:
    """Set the destination port."""
    store16(udp + _DESTINATION, byteswap16(port))


@inlined
def udp_length(udp: int) -> int:
    """Return the length of header and data in bytes, as the header says."""
    return byteswap16(load16(udp + _LENGTH))


@inlined
def set_udp_length(udp: int, length: int) -> None:
    """Set the length of header and data in bytes."""
    store16(udp + _LENGTH, byteswap16(length))


@inlined
def udp_checksum(udp: int) -> int:
    """Return the checksum as it lies in memory; 0 says that the sender made none."""
    return load16(udp + _CHECKSUM)


@inlined
def set_udp_checksum(udp: int, value: int) -> None:
    """Set the checksum, given as it lies in memory."""
    store16(udp + _CHECKSUM, value)


@inlined
def swap_udp_ports(udp: int) -> None:
    """Exchange source and destination port; the checksum stays right, a sum does not mind the order."""
    ports = load32(udp + _SOURCE)
    store32(udp + _SOURCE, ((ports >> 16) & 0xFFFF) | ((ports & 0xFFFF) << 16))


@inlined
def write_udp(udp: int, source: int, destination: int, length: int) -> None:
    """Write a whole header with checksum 0; `length` counts header and data."""
    set_udp_source(udp, source)
    set_udp_destination(udp, destination)
    set_udp_length(udp, length)
    set_udp_checksum(udp, 0)
