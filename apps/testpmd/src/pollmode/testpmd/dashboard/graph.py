# SPDX-License-Identifier: BSD-3-Clause
"""Graphs and bars out of characters: Braille patterns have two columns and four rows of dots in each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["ceiling", "filled", "gauge"]

BRAILLE = 0x2800
LEFT, RIGHT = (0, 0x40, 0x44, 0x46, 0x47), (0, 0x80, 0xA0, 0xB0, 0xB8)
"""None to four dots of a cell's columns, from the lowest up (Unicode, "Braille Patterns")."""
CELLS = [[chr(BRAILLE + left + right) if left or right else " " for right in RIGHT] for left in LEFT]
STEPS = (1, 2, 3, 4, 6, 8, 10)
LEAST = 10.0
"""Least top of a graph: it and its half are whole numbers."""
FULL, EMPTY = "█", "░"


def ceiling(peak: float) -> float:
    """Return the least round number that is not below `peak`: a step times a power of ten."""
    if peak <= LEAST:
        return LEAST
    power = 10.0 ** math.floor(math.log10(peak))
    return next(step * power for step in STEPS if step * power >= peak * (1 - 1e-9))


def filled(values: Sequence[float], height: int, top: float) -> list[str]:
    """Return `height` lines, the uppermost first, in which each value is a column of dots; `top` fills it.

    Two values make a character. Zero is the lowest dot, NaN none.
    """
    dots = [_dots(value, height, top) for value in values]
    pairs = [(dots[at], dots[at + 1] if at + 1 < len(dots) else 0) for at in range(0, len(dots), 2)]
    return ["".join(_cell(left - low, right - low) for left, right in pairs) for low in range(4 * height - 4, -1, -4)]


def _cell(left: int, right: int) -> str:
    """Return the character with so many dots, from its lowest row up; too many are all, too few are none."""
    return CELLS[max(0, min(left, 4))][max(0, min(right, 4))]


def _dots(value: float, height: int, top: float) -> int:
    if math.isnan(value):
        return 0
    return min(4 * height, max(1, round(value / top * 4 * height)))


def gauge(share: float, width: int) -> str:
    """Return a bar of `width` characters, `share` (0 to 1) of it full; what is not nothing shows."""
    full = min(width, max(round(share * width), int(share > 0)))
    return FULL * full + EMPTY * (width - full)
