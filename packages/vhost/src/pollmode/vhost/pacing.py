# SPDX-License-Identifier: BSD-3-Clause
"""Staying some bursts behind a sender that is slower than we are, as far as that brings more packets.

Each line of the rings and buffers goes from one core to the other and back. On the heels of the sender, polls take
away the lines it is still writing; held back for a moment they leave it alone and find more (docs/speed.md, "Two
cores"). But where packets go round the sender waits for us, and the moment is lost. What is best shows by trying: time
is cut into windows of WINDOW packets, each with a patience of its own. Most have the one that has cost least; each
TURNS-th has another, by turns.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.clock import cycles_per_second
from pollmode.eal.jit import compiled, cycles, inlined, pause, record, view
from pollmode.eal.layout import le_struct, offset_of

__all__ = ["PACING", "begin_pacing", "found_none", "held_back", "hold_back", "took"]

STREAM: Final = 16  # packets of a burst that belongs to a stream
FEW: Final = 256  # packets that are worth waiting for more, at most half the ring
LEAD: Final = 64  # bursts that may be held back once a poll within a stream has found nothing
NO_STREAM: Final = -1  # for `lead`
WAYS: Final = 4  # patiences that are tried, a power of two: none, and multiples of PATIENCE
PATIENCE: Final = 1.2e-6  # seconds
WINDOW: Final = 16384  # packets
TURNS: Final = 32  # windows, a power of two

PACING: Final[np.dtype[Any]] = le_struct(
    "pacing",
    128,
    # Line 0: looked at in each poll.
    held="i8",  # polls before this cycle count bring nothing; 0 when no burst is held back
    lead="i8",  # bursts that may still be held back; NO_STREAM after a small one
    patience="i8",  # cycles that a burst of this window is held back
    left="i8",  # packets to the end of this window
    began="i8",  # cycle count at its start
    way="i8",  # of this window
    windows="i8",  # how many there were
    unit="i8",  # cycles of PATIENCE
    # Line 1.
    costs=("i8", WAYS),  # cycles of a window
    unused=("i8", 4),
)
"""What a receive queue knows of its sender; stands in the queue's record, at a cache line's start."""
COSTS: Final = offset_of(PACING, "costs")


def begin_pacing(pacing: np.ndarray[Any, Any] | np.void) -> None:
    """Make a PACING record as new: for a sender that nothing is known about."""
    hertz = cycles_per_second()
    for field in ("held", "patience", "began", "way", "windows"):
        pacing[field] = 0
    pacing["lead"] = NO_STREAM
    pacing["left"] = WINDOW
    pacing["unit"] = int(PATIENCE * hertz)
    pacing["costs"] = hertz // 1000  # all alike, of a slow sender: windows tell


@inlined
def held_back(pacing: int) -> int:
    """Return 1 while a burst is held back: the poll does not look at the ring.

    Never longer than `patience`: a counter that jumped back, as when a machine slept, holds back nothing.
    """
    p = record(pacing, PACING)
    if p.held == 0:
        return 0
    left = p.held - cycles()
    if left <= 0 or left > p.patience:
        return 0
    pause()
    pause()
    return 1


@inlined
def hold_back(pacing: int, waiting: int, entries: int) -> int:
    """Return 1 when the `waiting` packets of a ring of `entries` are few: they are held back once, for a moment."""
    p = record(pacing, PACING)
    if p.held == 0 and p.lead > 0 and 0 < waiting < min(FEW, entries >> 1) and p.patience > 0:
        p.held = cycles() + p.patience
        return 1
    p.held = 0
    return 0


@inlined
def found_none(pacing: int) -> None:
    """Note that a poll found nothing: within a stream, we are on its sender's heels."""
    p = record(pacing, PACING)
    if p.lead != NO_STREAM:
        p.lead = LEAD


@inlined
def took(pacing: int, packets: int) -> None:
    """Note that a burst of `packets` was taken."""
    p = record(pacing, PACING)
    p.lead = max(p.lead - 1, 0) if packets >= STREAM else NO_STREAM
    p.left -= packets
    if p.left <= 0:
        end_window(pacing)


@compiled
def end_window(pacing: int) -> int:
    """Learn from a window, as a mean of the latest ones of its way, and begin the next. Returns its way.

    A window that took far longer than its like, as when one end stood still, counts for little.
    """
    p = record(pacing, PACING)
    costs = view(pacing + COSTS, WAYS, np.int64)
    now = cycles()
    cost = costs[p.way]
    costs[p.way] = cost + ((min(now - p.began, cost + (cost >> 2)) - cost) >> 2)
    p.windows += 1
    way: int = (p.windows // TURNS) & (WAYS - 1)
    if p.windows & (TURNS - 1) != 0:
        for other in range(WAYS):
            if costs[other] < costs[way]:
                way = other
    p.way = way
    p.patience = way * p.unit
    p.began = now
    p.left = WINDOW
    return way
