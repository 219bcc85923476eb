# SPDX-License-Identifier: BSD-3-Clause
"""TCP (RFC 9293, 3.1). Accessors take the address of the header; numbers pass in host order.

Checksums pass as they lie in memory, as `checksum` returns them.
"""

from pollmode.eal.jit import byteswap16, byteswap32, inlined, load8, load16, load32, store8, store16, store32
from pollmode.eal.layout import be_struct, offset_of

__all__ = [
    "FLAG_ACK",
    "FLAG_CWR",
    "FLAG_ECE",
    "FLAG_FIN",
    "FLAG_PSH",
    "FLAG_RST",
    "FLAG_SYN",
    "FLAG_URG",
    "TCP",
    "TCP_SIZE",
    "set_tcp_acknowledgment",
    "set_tcp_checksum",
    "set_tcp_destination",
    "set_tcp_flags",
    "set_tcp_header_length",
    "set_tcp_sequence",
    "set_tcp_source",
    "set_tcp_window",
    "swap_tcp_ports",
    "tcp_acknowledgment",
    "tcp_checksum",
    "tcp_destination",
    "tcp_flags",
    "tcp_header_length",
    "tcp_sequence",
    "tcp_source",
    "tcp_window",
]

TCP_SIZE = 20
TCP = be_struct(
    "tcp",
    20,
    source="u2",
    destination="u2",
    sequence="u4",
    acknowledgment="u4",
    data_offset="u1",
    flags="u1",
    window="u2",
    checksum="u2",
    urgent="u2",
)
_SOURCE = offset_of(TCP, "source")
_DESTINATION = offset_of(TCP, "destination")
_SEQUENCE = offset_of(TCP, "sequence")
_ACKNOWLEDGMENT = offset_of(TCP, "acknowledgment")
_DATA_OFFSET = offset_of(TCP, "data_offset")
_FLAGS = offset_of(TCP, "flags")
_WINDOW = offset_of(TCP, "window")
_CHECKSUM = offset_of(TCP, "checksum")

FLAG_FIN = 0x01
FLAG_SYN = 0x02
FLAG_RST = 0x04
FLAG_PSH = 0x08
FLAG_ACK = 0x10
FLAG_URG = 0x20
FLAG_ECE = 0x40
FLAG_CWR = 0x80


@inlined
def tcp_source(tcp: int) -> int:
    """Return the source port."""
    return byteswap16(load16(tcp + _SOURCE))


@inlined
def set_tcp_source(tcp: int, port: int) -> None:
    """Set the source port."""
    store16(tcp + _SOURCE, byteswap16(port))


@inlined
def tcp_destination(tcp: int) -> int:
    """Return the destination port."""
    return byteswap16(load16(tcp + _DESTINATION))


@inlined
def set_tcp_destination(tcp: int, port: int) -> None:
    """Set the destination port."""
    store16(tcp + _DESTINATION, byteswap16(port))


@inlined
def swap_tcp_ports(tcp: int) -> None:
    """Exchange source and destination port; the checksum stays right, a sum does not mind the order."""
    ports = load32(tcp + _SOURCE)
    store32(tcp + _SOURCE, ((ports >> 16) & 0xFFFF) | ((ports & 0xFFFF) << 16))


@inlined
def tcp_sequence(tcp: int) -> int:
    """Return the sequence number."""
    return byteswap32(load32(tcp + _SEQUENCE))


@inlined
def set_tcp_sequence(tcp: int, value: int) -> None:
    """Set the sequence number."""
    store32(tcp + _SEQUENCE, byteswap32(value))


@inlined
def tcp_acknowledgment(tcp: int) -> int:
    """Return the acknowledgment number."""
    return byteswap32(load32(tcp + _ACKNOWLEDGMENT))


@inlined
def set_tcp_acknowledgment(tcp: int, value: int) -> None:
    """Set the acknowledgment number."""
    store32(tcp + _ACKNOWLEDGMENT, byteswap32(value))


@inlined
def tcp_header_length(tcp: int) -> int:
    """Return the length of header and options in bytes, as the header says (0 to 60; below 20 is malformed)."""
    return (load8(tcp + _DATA_OFFSET) >> 4) << 2


@inlined
def set_tcp_header_length(tcp: int, length: int) -> None:
    """Set the length of header and options, a multiple of four bytes."""
    store8(tcp + _DATA_OFFSET, (length >> 2) << 4)


@inlined
def tcp_flags(tcp: int) -> int:
    """Return the flags, `FLAG_*`."""
    return load8(tcp + _FLAGS)


@inlined
def set_tcp_flags(tcp: int, value: int) -> None:
    """Set the flags, `FLAG_*`."""
    store8(tcp + _FLAGS, value)


@inlined
def tcp_window(tcp: int) -> int:
    """Return the window."""
    return byteswap16(load16(tcp + _WINDOW))


@inlined
def set_tcp_window(tcp: int, value: int) -> None:
    """Set the window."""
    store16(tcp + _WINDOW, byteswap16(value))


@inlined
def tcp_checksum(tcp: int) -> int:
    """Return the checksum as it lies in memory."""
    return load16(tcp + _CHECKSUM)


@inlined
def set_tcp_checksum(tcp: int, value: int) -> None:
    """Set the checksum, given as it lies in memory."""
    store16(tcp + _CHECKSUM, value)
