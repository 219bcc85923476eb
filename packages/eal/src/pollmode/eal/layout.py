# SPDX-License-Identifier: BSD-3-Clause
"""Declare hardware once: structures with their size stated, bit fields, registers as a table.

A `layout.py` of a driver imports this module and nothing else; it holds facts, each with its specification section.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BitField", "Register", "be_struct", "le_struct", "offset_of", "registers"]

Field = str | tuple[str, int] | np.dtype[Any] | tuple[np.dtype[Any], int]


def le_struct(name: str, size: int, /, **fields: Field) -> np.dtype[Any]:
    """Return the dtype of a packed little-endian structure of `size` bytes.

    A field is a code such as "u4" or "i8", a dtype, or a pair of one of these and a count. Addresses and other
    64-bit words are "i8", so that arithmetic in compiled code stays in one integer type. Raises ValueError when the
    fields do not add up to `size`.
    """
    return _struct(name, size, "<", fields)


def be_struct(name: str, size: int, /, **fields: Field) -> np.dtype[Any]:
    """Return the dtype of a packed structure in network byte order; see `le_struct`.

    For the interpreter; compiled code reads such fields with the loads of `eal.jit` and swaps them.
    """
    return _struct(name, size, ">", fields)


def _struct(name: str, size: int, order: str, fields: dict[str, Field]) -> np.dtype[Any]:
    described: list[tuple[Any, ...]] = []
    for field, kind in fields.items():
        base, count = kind if isinstance(kind, tuple) else (kind, None)
        code = np.dtype(order + base) if isinstance(base, str) else base
        described.append((field, code) if count is None else (field, code, (count,)))
    made = np.dtype(described)
    if made.itemsize != size:
        raise ValueError(f"{name} is declared with {size} bytes and its fields take {made.itemsize}")
    return made


def offset_of(structure: np.dtype[Any], field: str) -> int:
    """Return the byte offset of `field` in `structure`. Raises KeyError when there is no such field."""
    if structure.fields is None:
        raise KeyError(field)
    return int(structure.fields[field][1])


@dataclass(frozen=True)
class BitField:
    """A field of `width` bits that starts at bit `shift` of a word."""

    shift: int
    width: int

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.shift

    def get(self, word: int) -> int:
        """Return the field's value in `word`."""
        return (word & self.mask) >> self.shift

    def put(self, word: int, value: int) -> int:
        """Return `word` with the field set to `value`. Raises ValueError when the value does not fit."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{value} does not fit into {self.width} bits")
        return (word & ~self.mask) | (value << self.shift)


@dataclass(frozen=True)
class Register:
    """One register: its name, byte offset, width in bits, access (RO, RW, WO) and meaning."""

    name: str
    offset: int
    width: int
    access: str
    meaning: str


def registers(table: str) -> dict[str, Register]:
    """Read a table of lines `NAME offset width access meaning` into registers by name.

    Raises ValueError for a line that is not of that form, a width that is not 8, 16, 32 or 64, an offset that is not
    a multiple of the width, an unknown access, or a name given twice.
    """
    found: dict[str, Register] = {}
    for line in table.strip().splitlines():
        words = line.split(maxsplit=4)
        if len(words) < 4:
            raise ValueError(f"a register is NAME offset width access meaning, not {line.strip()!r}")
        name, offset, width, access = words[0], int(words[1], 0), int(words[2]), words[3]
        if width not in (8, 16, 32, 64) or offset % (width // 8) or access not in ("RO", "RW", "WO") or name in found:
            raise ValueError(f"register {name}: width, alignment, access or name is wrong in {line.strip()!r}")
        found[name] = Register(name, offset, width, access, words[4] if len(words) > 4 else "")
    return found
