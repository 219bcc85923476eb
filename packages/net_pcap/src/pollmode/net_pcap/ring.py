# SPDX-License-Identifier: BSD-3-Clause
"""The memory between an lcore that sends and the thread that writes the file: records whole, one after the other.

The lcore moves `head`, the thread `tail`; neither waits for the other. A record never wraps: the file gets runs of
memory as they are, and the lcore copies without looking for an end.
"""

from __future__ import annotations

from pollmode.eal.jit import inlined, load_acquire64, record, store64, store_release64
from pollmode.eal.layout import offset_of

from .layout import TXQ

__all__ = ["HEAD", "NO_ROOM", "TAIL", "WRAP", "place_for"]

HEAD = offset_of(TXQ, "head")
TAIL = offset_of(TXQ, "tail")
WRAP = offset_of(TXQ, "wrap")
NO_ROOM = -1


@inlined
def place_for(queue: int, head: int, length: int) -> int:
    """Return the offset for a record of `length` bytes when the last one ends at `head`, or NO_ROOM.

    Where it goes back to 0, `wrap` says where the records before it end; the thread reads it once it sees `head` there.
    """
    q = record(queue, TXQ)
    tail = load_acquire64(queue + TAIL)
    if head < tail:
        return head if head + length < tail else NO_ROOM
    if head + length <= q.size:
        return head
    if length < tail:
        store64(queue + WRAP, head)
        return 0
    return NO_ROOM


@inlined
def publish(queue: int, head: int) -> None:
    """Let the thread write everything up to `head`."""
    store_release64(queue + HEAD, head)
