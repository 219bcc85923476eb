# SPDX-License-Identifier: BSD-3-Clause
"""Looking into the depot of a pool, from the interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pollmode.mbuf.layout import CRATE, CRATE_LENGTH, CRATE_SLOTS, DEPOT

if TYPE_CHECKING:
    from pollmode.eal.memory import Memzone

__all__ = ["crate_words", "words_in_crates"]


def words_in_crates(depot: Memzone) -> int:
    """Return how many addresses are in the crates of a depot; a snapshot."""
    record = depot.array(DEPOT)[0]
    count, stride = int(record["count"]), int(record["crate_stride"])
    raw = depot.array(np.dtype("u1"), count * stride, DEPOT.itemsize)
    return int(np.ndarray((count,), np.dtype("<i8"), raw, CRATE_LENGTH, (stride,)).sum())


def crate_words(depot: Memzone) -> npt.NDArray[np.int64]:
    """Return the addresses in all crates of a depot; nobody may use it meanwhile."""
    record = depot.array(DEPOT)[0]
    count, stride = int(record["count"]), int(record["crate_stride"])
    words = [np.zeros(0, np.int64)]
    for offset in range(DEPOT.itemsize, DEPOT.itemsize + count * stride, stride):
        length = int(depot.array(CRATE, 1, offset)[0]["length"])
        words.append(depot.array(np.dtype("<i8"), length, offset + CRATE_SLOTS))
    return np.concatenate(words)
