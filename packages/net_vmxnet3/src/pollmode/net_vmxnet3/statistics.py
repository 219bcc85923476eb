# SPDX-License-Identifier: BSD-3-Clause
"""What the device counts: kept over stop and start, which set its own counters to zero, and counted from a reset on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .layout import RX_STATS, TX_STATS

if TYPE_CHECKING:
    from .shared import Shared

__all__ = ["DeviceCounts"]

WORD64 = (1 << 64) - 1
NAMES = {"rx": RX_STATS.names or (), "tx": TX_STATS.names or ()}
Key = tuple[str, int]


class DeviceCounts:
    """Counters by (direction, queue), then by the names of TX_STATS and RX_STATS."""

    def __init__(self) -> None:
        self._saved: dict[Key, Counter[str]] = {}
        self._base: dict[Key, Counter[str]] = {}
        self._present: dict[Key, Counter[str]] = {}

    def read(self, shared: Shared) -> None:
        """Take what the device wrote at its last GET_STATS."""
        for direction, count in (("tx", shared.tx_queues), ("rx", shared.rx_queues)):
            for queue in range(count):
                desc = shared.tx_desc(queue) if direction == "tx" else shared.rx_desc(queue)
                stats = desc["stats"]
                counted = {name: int(stats[name]) & WORD64 for name in NAMES[direction]}
                self._present[direction, queue] = Counter(counted)

    def save(self) -> None:
        """Keep what was read: the device is about to count from zero."""
        for key, counted in self._present.items():
            self._saved[key] = self._saved.get(key, Counter()) + counted
        self._present = {}

    def reset(self) -> None:
        """Count from here on."""
        keys = self._saved.keys() | self._present.keys()
        self._base = {key: self._saved.get(key, Counter()) + self._present.get(key, Counter()) for key in keys}

    def of(self, direction: str, queue: int) -> Counter[str]:
        """Return the counters of a queue since the last reset."""
        key = direction, queue
        counted = self._saved.get(key, Counter()) + self._present.get(key, Counter())
        counted.subtract(self._base.get(key, Counter()))
        return Counter({name: max(0, counted[name]) for name in NAMES[direction]})
