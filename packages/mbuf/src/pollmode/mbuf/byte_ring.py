# SPDX-License-Identifier: BSD-3-Clause
"""Where the next block goes in memory that one side fills and the other empties, each block in one piece.

Where a block does not fit before the end it goes to 0, and the filling side notes where the one before it ended, for
the other to go on at 0 from there (a "bip buffer"). The offsets are the caller's: its record keeps them.
"""

from __future__ import annotations

from typing import Final

from pollmode.eal.jit import inlined

__all__ = ["NO_ROOM", "place_for"]

NO_ROOM: Final = -1


@inlined
def place_for(head: int, tail: int, size: int, length: int) -> int:
    """Return the offset for a block of `length` bytes, or NO_ROOM.

    `head` is where the last block ended, `tail` where the emptying side goes on, `size` the bytes of the memory. An
    offset below `head` means that the block went to 0.
    """
    if head < tail:
        return head if head + length < tail else NO_ROOM
    if head + length <= size:
        return head
    return 0 if length < tail else NO_ROOM
