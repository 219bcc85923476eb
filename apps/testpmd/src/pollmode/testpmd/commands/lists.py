# SPDX-License-Identifier: BSD-3-Clause
"""Lists of numbers between commas, read and refused as DPDK's testpmd does."""

from __future__ import annotations

from pollmode.testpmd.tell import warn

__all__ = ["read_list"]


def read_list(text: str, name: str, most: int, *, unique: bool = False) -> list[int] | None:
    """Return the numbers of "0,2,3", None after telling why the text is none."""
    for character in text:
        if character != "," and not character.isdecimal():
            warn(f"character {character} is not a decimal digit")
            return None
    parts = text.split(",")
    if not all(parts):
        warn("No valid value before comma")
        return None
    if len(parts) > most:
        warn(f"Number of {name} = {len(parts)} > {most} (maximum items)")
        return None
    numbers = [int(part) for part in parts]
    for second, number in enumerate(numbers):
        first = numbers.index(number)
        if unique and first != second:
            warn(f"duplicated {name} {number} at index {first} and {second}")
            return None
    return numbers
