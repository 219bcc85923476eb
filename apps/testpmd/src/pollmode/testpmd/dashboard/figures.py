# SPDX-License-Identifier: BSD-3-Clause
"""Numbers in at most six characters, so that columns stay where they are."""

from __future__ import annotations

__all__ = ["short"]

UNITS = ("", "k", "M", "G", "T", "P", "E")


def short(number: float) -> str:
    """Return a count or a rate with three digits: 0, 7, 950, 1.23 k, 45.6 M, 789 G."""
    power = 0
    while number >= 999.5 and power < len(UNITS) - 1:
        number, power = number / 1000, power + 1
    if power == 0:
        return f"{number:.0f}"
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f} {UNITS[power]}"
