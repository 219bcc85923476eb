# SPDX-License-Identifier: BSD-3-Clause
"""ICMP (RFC 792) and the echo messages of ICMPv6 (RFC 4443, 4). Accessors take the address of the header.

Checksums pass as they lie in memory, as `checksum` returns them; the other numbers in host order.
"""

from pollmode.eal.jit import byteswap16, inlined, load8, load16, store8, store16
from pollmode.eal.layout import be_struct, offset_of
from pollmode.net.checksum import update16

__all__ = [
    "ECHO_REPLY",
    "ECHO_REPLY_V6",
    "ECHO_REQUEST",
    "ECHO_REQUEST_V6",
    "ICMP",
    "ICMP_SIZE",
    "icmp_checksum",
    "icmp_code",
    "icmp_echo_reply",
    "icmp_identifier",
    "icmp_sequence",
    "icmp_type",
    "set_icmp_checksum",
    "write_icmp_echo",
]

ICMP_SIZE = 8
ICMP = be_struct("icmp", 8, type="u1", code="u1", checksum="u2", identifier="u2", sequence="u2")
_TYPE = offset_of(ICMP, "type")
_CODE = offset_of(ICMP, "code")
_CHECKSUM = offset_of(ICMP, "checksum")
_IDENTIFIER = offset_of(ICMP, "identifier")
_SEQUENCE = offset_of(ICMP, "sequence")

ECHO_REPLY = 0
ECHO_REQUEST = 8
ECHO_REQUEST_V6 = 128
ECHO_REPLY_V6 = 129


@inlined
def icmp_type(icmp: int) -> int:
    """Return the type."""
    return load8(icmp + _TYPE)


@inlined
def icmp_code(icmp: int) -> int:
    """Return the code."""
    return load8(icmp + _CODE)


@inlined
def icmp_checksum(icmp: int) -> int:
    """Return the checksum as it lies in memory."""
    return load16(icmp + _CHECKSUM)


@inlined
def set_icmp_checksum(icmp: int, value: int) -> None:
    """Set the checksum, given as it lies in memory."""
    store16(icmp + _CHECKSUM, value)


@inlined
def icmp_identifier(icmp: int) -> int:
    """Return the identifier of an echo message."""
    return byteswap16(load16(icmp + _IDENTIFIER))


@inlined
def icmp_sequence(icmp: int) -> int:
    """Return the sequence number of an echo message."""
    return byteswap16(load16(icmp + _SEQUENCE))


@inlined
def icmp_echo_reply(icmp: int) -> None:
    """Turn an echo request (ICMP) into its reply: type 0, and the checksum that goes with it (RFC 1624).

    A checksum of 0 is written as 0xffff, which is the same number to every receiver, and the only right one when
    all the rest of the message is zero.
    """
    request = load16(icmp + _TYPE)
    store8(icmp + _TYPE, ECHO_REPLY)
    checksum = update16(icmp_checksum(icmp), request, load16(icmp + _TYPE))
    set_icmp_checksum(icmp, 0xFFFF if checksum == 0 else checksum)


@inlined
def write_icmp_echo(icmp: int, kind: int, identifier: int, sequence: int) -> None:
    """Write the header of an echo message of type `kind`, code 0 and checksum 0."""
    store8(icmp + _TYPE, kind)
    store8(icmp + _CODE, 0)
    set_icmp_checksum(icmp, 0)
    store16(icmp + _IDENTIFIER, byteswap16(identifier))
    store16(icmp + _SEQUENCE, byteswap16(sequence))
