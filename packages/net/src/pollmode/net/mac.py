# SPDX-License-Identifier: BSD-3-Clause
"""MAC addresses as text, as six bytes, and as the word that compiled code handles.

The *word* of an address holds its six bytes as they lie in memory, the first in the lowest bits, so that compiled code
moves an address with two stores and no byte swap.
"""

from __future__ import annotations

import re
import secrets

from pollmode.eal.errors import ConfigError

__all__ = ["BROADCAST", "LENGTH", "format", "from_word", "is_multicast", "parse", "random_local", "word"]

LENGTH = 6
BROADCAST = b"\xff" * LENGTH

FORMS = "xx:xx:xx:xx:xx:xx, xx-xx-xx-xx-xx-xx, xxxx:xxxx:xxxx or xxxx.xxxx.xxxx"

# The forms of DPDK's rte_ether_unformat_addr: six groups of one or two digits, or three of exactly four.
_SIX_GROUPS = re.compile(r"([0-9a-fA-F]{1,2})(?:(:)|-)" + r"([0-9a-fA-F]{1,2})(?(2):|-)" * 4 + r"([0-9a-fA-F]{1,2})")
_THREE_GROUPS = re.compile(r"([0-9a-fA-F]{4})(?:(:)|\.)([0-9a-fA-F]{4})(?(2):|\.)([0-9a-fA-F]{4})")


def parse(text: str) -> bytes:
    """Return the six bytes of a MAC address written in any form that DPDK reads.

    Six groups of one or two hexadecimal digits between colons or dashes, or three groups of four between colons or
    dots; one kind of separator in one address. Raises ConfigError for anything else.
    """
    if six := _SIX_GROUPS.fullmatch(text):
        groups = six.groups()
        return bytes(int(group, 16) for group in (groups[0], *groups[2:]))
    if three := _THREE_GROUPS.fullmatch(text):
        return bytes.fromhex(three[1] + three[3] + three[4])
    raise ConfigError(f"MAC address {text!r} is not of the form {FORMS}")


def format(address: bytes) -> str:
    """Return a MAC address as DPDK prints it: six groups of two capital digits between colons.

    Raises ConfigError when `address` is not six bytes long.
    """
    return _six_bytes(address).hex(":").upper()


def word(address: bytes) -> int:
    """Return the word of a MAC address: its bytes as they lie in memory, the first one lowest."""
    return int.from_bytes(_six_bytes(address), "little")


def from_word(value: int) -> bytes:
    """Return the six bytes of a MAC address from its word. Raises ConfigError when `value` has more than 48 bits."""
    if not 0 <= value < 1 << 48:
        raise ConfigError(f"{value:#x} is not the word of a MAC address: it must have 48 bits at most")
    return value.to_bytes(LENGTH, "little")


def is_multicast(address: bytes) -> bool:
    """Return whether a MAC address is a group's (broadcast included) and not a station's."""
    return bool(_six_bytes(address)[0] & 1)


def random_local() -> bytes:
    """Return a random, locally administered station address (DPDK's rte_eth_random_addr)."""
    drawn = bytearray(secrets.token_bytes(LENGTH))
    drawn[0] = (drawn[0] & 0xFE) | 0x02
    return bytes(drawn)


def _six_bytes(address: bytes) -> bytes:
    if len(address) != LENGTH:
        raise ConfigError(f"a MAC address has {LENGTH} bytes, not {len(address)}")
    return bytes(address)
