# SPDX-License-Identifier: BSD-3-Clause
"""The last minute of a port's rates, in as many equal parts as a graph has columns.

What is kept is the growth between samples, summed up: clearing the port's counters leaves no mark in the graph. Parts
begin at multiples of their length, not at the newest sample, so that a drawn part keeps its height while it moves.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from pollmode.testpmd.report import PortSample

__all__ = ["FIELDS", "MINUTE", "History"]

MINUTE = 60.0
FIELDS = ("ipackets", "opackets", "ibytes", "obytes")
SHORT = 0.9
"""Least seconds between the two samples of a present rate: over less it would flicker."""


class History:
    """Samples of one port, the newest last; those older than a minute and a part are forgotten."""

    def __init__(self) -> None:
        self._last: PortSample | None = None
        self._times: deque[float] = deque()
        self._sums: dict[str, deque[int]] = {field: deque() for field in FIELDS}

    def add(self, sample: PortSample) -> None:
        """Take a sample that is newer than the others."""
        last, self._last = self._last, sample
        self._times.append(sample.when)
        for field, sums in self._sums.items():
            grown = getattr(sample, field) - getattr(last, field) if last else 0
            sums.append((sums[-1] if sums else 0) + max(0, grown))
        while len(self._times) > 2 and self._times[1] < sample.when - 2 * MINUTE:
            self._times.popleft()
            for sums in self._sums.values():
                sums.popleft()

    def rate(self, field: str) -> float:
        """Return the growth a second over the last second or so; 0 before there are two samples."""
        if len(self._times) < 2:
            return 0.0
        end = self._times[-1]
        place = next((at for at in range(len(self._times) - 2, -1, -1) if self._times[at] <= end - SHORT), 0)
        grown = self._sums[field][-1] - self._sums[field][place]
        return grown / (end - self._times[place])

    def parts(self, field: str, count: int) -> list[float]:
        """Return the mean rate in each of `count` parts of the last minute, oldest first; NaN before the first sample.

        The part that has not ended yet is left out.
        """
        if len(self._times) < 2 or count < 1:
            return [math.nan] * count
        length = MINUTE / count
        end = math.floor(self._times[-1] / length) * length
        edges = end + length * np.arange(-count, 1)
        at = np.interp(edges, self._times, self._sums[field])
        rates = np.diff(at) / length
        rates[edges[:-1] < self._times[0]] = math.nan
        return [float(rate) for rate in rates]
