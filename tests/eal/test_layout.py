# SPDX-License-Identifier: BSD-3-Clause
"""Declarations of structures, bit fields and registers refuse what does not add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.layout import BitField, be_struct, le_struct, offset_of, registers


def test_a_structure_keeps_its_fields_in_order_and_its_byte_order() -> None:
    little = le_struct("pair", 6, first="u2", second="u4")
    big = be_struct("pair", 6, first="u2", second="u4")
    assert (offset_of(little, "second"), little.itemsize) == (2, 6)
    assert big["first"].str == ">u2"


def test_structures_nest_and_repeat() -> None:
    inner = le_struct("inner", 4, a="u2", b="u2")
    outer = le_struct("outer", 14, head="u2", pairs=(inner, 3))
    assert outer["pairs"].shape == (3,)


def test_an_unknown_field_has_no_offset() -> None:
    with pytest.raises(KeyError):
        offset_of(le_struct("one", 2, a="u2"), "b")


@given(st.integers(0, 31), st.integers(1, 32), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1))
def test_a_bit_field_reads_back_what_it_put_and_touches_no_other_bit(
    shift: int, width: int, word: int, value: int
) -> None:
    field = BitField(shift, width)
    value &= (1 << width) - 1
    put = field.put(word, value)
    assert field.get(put) == value
    assert put & ~field.mask == word & ~field.mask


def test_a_value_too_wide_for_its_field_is_refused() -> None:
    with pytest.raises(ValueError, match="16 does not fit into 4 bits"):
        BitField(3, 4).put(0, 16)


def test_registers_are_read_from_a_table() -> None:
    table = registers("""
        VRRS 0x00 32 RW device revisions offered / revision selected
        CMD  0x20 32 WO a command
    """)
    assert (table["CMD"].offset, table["CMD"].access, table["VRRS"].meaning[:6]) == (32, "WO", "device")


@pytest.mark.parametrize("line", ["A 0 32", "A 2 32 RW", "A 0 24 RW", "A 0 32 XX", "A 0 32 RW\nA 4 32 RW"])
def test_a_register_line_that_is_wrong_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="register"):
        registers(line)
