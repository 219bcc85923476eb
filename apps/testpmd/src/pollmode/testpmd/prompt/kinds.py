# SPDX-License-Identifier: BSD-3-Clause
"""What a word of a command can be: the types that a form names between braces, such as {port} or {number}."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError
from pollmode.net import mac as net_mac
from pollmode.testpmd.option_table import MODES

if TYPE_CHECKING:
    from pollmode.testpmd.session import Session

__all__ = ["ANY", "KINDS", "Kind", "choice"]

Words = Callable[["Session"], Sequence[str]]

ANY = "<>"
"""Shown as the name of its argument."""
LONGEST_WORD = 127  # DPDK's STR_TOKEN_SIZE without the closing zero


@dataclass(frozen=True)
class Kind:
    """One type of word: how it is shown, how it is read (ValueError: it is not one), which words can be offered.

    `rest` takes everything to the end of the line.
    """

    shown: str
    read: Callable[[str], object]
    words: Words = lambda session: ()
    rest: bool = False


def choice(words: Sequence[str]) -> Kind:
    """Return the kind that is one of some words."""

    def read(word: str) -> str:
        if word not in words:
            raise ValueError
        return word

    return Kind("|".join(words), read, lambda session: words)


def _number(bits: int, *, signed: bool = False) -> Callable[[str], int]:
    """Return a reader of decimal, 0x hexadecimal, 0b binary or 0 octal numbers (DPDK's cmdline_parse_num)."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def read(word: str) -> int:
        if re.fullmatch(r"0[0-7]+", word):
            value = int(word, 8)
        elif re.fullmatch(r"0[xX][0-9a-fA-F]+|0[bB][01]+|0|-?[1-9][0-9]*", word):
            value = int(word, 0) if word[:2].lower() in ("0x", "0b") else int(word)
        else:
            raise ValueError
        if not low <= value <= high:
            raise ValueError
        return value

    return read


def _mac(word: str) -> bytes:
    try:
        return net_mac.parse(word)
    except ConfigError:
        raise ValueError from None


def _word(word: str) -> str:
    if len(word) > LONGEST_WORD:
        raise ValueError
    return word


def _port_or_all(word: str) -> int | str:
    return word if word == "all" else _number(16)(word)


def _ports(session: Session) -> Sequence[str]:
    return [str(port.id) for port in session.ports.available()]


def _ports_or_all(session: Session) -> Sequence[str]:
    return [*_ports(session), "all"]


KINDS: dict[str, Kind] = {
    "port": Kind("<port>", _number(16), _ports),
    "port|all": Kind("<port>|all", _port_or_all, _ports_or_all),
    "queue": Kind("<queue>", _number(16)),
    "u8": Kind(ANY, _number(8)),
    "u16": Kind(ANY, _number(16)),
    "u32": Kind(ANY, _number(32)),
    "u64": Kind(ANY, _number(64)),
    "i32": Kind(ANY, _number(32, signed=True)),
    "mac": Kind("<mac>", _mac),
    "mode": Kind("|".join(MODES), choice(MODES).read, lambda session: MODES),
    "on|off": choice(("on", "off")),
    "word": Kind(ANY, _word),
    "list": Kind(ANY, _word),
    "rest": Kind(ANY, str, rest=True),
}
"""The kinds by the name that a form uses; any other text between braces is a choice of words."""
