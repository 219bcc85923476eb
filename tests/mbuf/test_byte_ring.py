# SPDX-License-Identifier: BSD-3-Clause
"""Where blocks go: whole, never over what was not taken out, and back to 0 only when that is free."""

from __future__ import annotations

import pytest

from pollmode.eal.jit import compile_now, compiled
from pollmode.mbuf import NO_ROOM, place_for


@compiled
def place(head: int, tail: int, size: int, length: int) -> int:
    """Call the inlined function."""
    return place_for(head, tail, size, length)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    compile_now(place, 4)


@pytest.mark.parametrize(
    ("head", "tail", "length", "expected"),
    [
        (0, 0, 100, 0),  # empty, all of it
        (0, 0, 101, NO_ROOM),
        (60, 0, 40, 60),  # up to the last byte
        (60, 0, 41, NO_ROOM),  # 0 is not free
        (60, 50, 41, 0),
        (60, 41, 41, NO_ROOM),  # head would meet tail: that means empty
        (60, 42, 41, 0),
        (10, 50, 39, 10),
        (10, 50, 40, NO_ROOM),
        (50, 50, 50, 50),  # empty in the middle
        (50, 50, 51, NO_ROOM),
        (100, 100, 99, 0),  # ended at the last byte
    ],
)
def test_a_block_goes_where_there_is_room_for_it_whole(head: int, tail: int, length: int, expected: int) -> None:
    assert place(head, tail, 100, length) == expected
