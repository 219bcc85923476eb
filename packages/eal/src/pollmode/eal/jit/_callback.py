# SPDX-License-Identifier: BSD-3-Clause
"""What a burst callback is to those who hold one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BurstFunction = Callable[[int, int, int, int], int]
"""`function(lcore, queue, burst, n) -> count`: addresses of the lcore record, the queue record and an array of `n` mbuf
addresses; returns how many of them it received or took."""


@dataclass(frozen=True)
class Callback:
    """A native burst function: its address, valid while this object lives, and the name that perf shows."""

    address: int
    name: str
    owner: Any = field(repr=False, compare=False)
