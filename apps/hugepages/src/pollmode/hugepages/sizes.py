# SPDX-License-Identifier: BSD-3-Clause
"""Sizes as dpdk-hugepages.py reads and prints them, in KiB."""

from __future__ import annotations

import re

from pollmode.eal.errors import ConfigError

__all__ = ["format_size", "parse_size"]

UNITS = "KMG"
_FORM = re.compile(rf"([0-9]+)([{UNITS}]?)B?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the KiB of "2M", "1Gb", "512k"; a bare number is bytes, rounded down to KiB. Raises ConfigError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text} is not a valid size; write a number with K, M or G behind it: 2M, 1G")
    number, unit = int(found[1]), found[2].upper()
    if not unit and 0 < number < 1024:
        raise ConfigError(f"{text} are bytes, less than any page; write {text}M or {text}G")
    return number << 10 * UNITS.index(unit) if unit else number // 1024


def format_size(size: int) -> str:
    """Return KiB in the largest unit that leaves a whole number, rounded down: "2Mb", "1Gb"."""
    step = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{size >> 10 * step}{UNITS[step]}b"
