# SPDX-License-Identifier: BSD-3-Clause
"""IPv4 and IPv6 addresses as text; IPv4 addresses are integers here, IPv6 addresses sixteen bytes."""

from __future__ import annotations

import ipaddress

from pollmode.eal.errors import ConfigError

__all__ = ["format_ipv4", "format_ipv6", "parse_ipv4", "parse_ipv6"]


def parse_ipv4(text: str) -> int:
    """Return the IPv4 address that `text` writes as four decimal numbers between dots.

    The value is the number, its first octet highest: "198.18.0.1" is 0xC6120001. Raises ConfigError.
    """
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise ConfigError(f"IPv4 address {text!r} is not of the form 198.18.0.1: {error}") from None


def format_ipv4(address: int) -> str:
    """Return four decimal numbers between dots. Raises ConfigError when `address` is not within 32 bits."""
    if not 0 <= address < 1 << 32:
        raise ConfigError(f"{address:#x} is not an IPv4 address: it must have 32 bits at most")
    return str(ipaddress.IPv4Address(address))


def parse_ipv6(text: str) -> bytes:
    """Return the sixteen bytes of an IPv6 address in any form of RFC 4291, without a zone. Raises ConfigError."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise ConfigError(f"IPv6 address {text!r} is not of the form 2001:db8::1: {error}") from None
    if address.scope_id is not None:
        raise ConfigError(f"IPv6 address {text!r} names a zone (%{address.scope_id}); only the address is allowed")
    return address.packed


def format_ipv6(address: bytes) -> str:
    """Return an IPv6 address in the short form of RFC 5952. Raises ConfigError when it is not sixteen bytes long."""
    if len(address) != 16:
        raise ConfigError(f"an IPv6 address has 16 bytes, not {len(address)}")
    return str(ipaddress.IPv6Address(bytes(address)))
