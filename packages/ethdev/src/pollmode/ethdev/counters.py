# SPDX-License-Identifier: BSD-3-Clause
"""Counters that an lcore adds to and the control plane reads and resets, without either waiting for the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Counters"]


class Counters:
    """The fields of a queue's record that are counters, each written by one lcore at a time.

    A reset remembers where they stand rather than writing: a zero could be lost to an addition in flight.
    """

    def __init__(self, record: npt.NDArray[Any], fields: tuple[str, ...]) -> None:
        """Take an array with one record and the names of its 64-bit counters."""
        self._words = {field: record[field] for field in fields}
        self._base = dict.fromkeys(fields, 0)
        self.reset()

    def read(self) -> dict[str, int]:
        """Return each counter since the last reset."""
        return {field: int(np.int64(words[0])) - self._base[field] for field, words in self._words.items()}

    def reset(self) -> None:
        """Count from here."""
        self._base = {field: int(np.int64(words[0])) for field, words in self._words.items()}
