# SPDX-License-Identifier: BSD-3-Clause
"""Which counters name packets that were lost, of all the extended statistics that ports have.

Drivers name the reasons; ethdev's totals over all reasons would count them twice. So a total is a loss only where the
reasons do not explain it: a driver that names none, or forgot one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["losses"]

OF_QUEUE = re.compile(r"(rx|tx)_q\d+_(.+)")
POOL_EMPTY = "mbuf_alloc_failed"
RING_FULL = "ring_full_packets"
BACK_TO_SENDER = "missed_packets"
"""Refused packets that the sender still has: what becomes of them, forwarding counts."""
DROPPED = frozenset(
    {
        "too_long_packets",
        "too_short_packets",
        "unsent_packets",
        "file_error_packets",
    }
)
INJECTED = frozenset({"fault_dropped_packets", "fault_discarded_packets"})
"""Of net_fault, which is around the device: in none of the device's totals."""
TOTAL = "errors"


def losses(xstats: Mapping[str, int]) -> dict[str, int]:
    """Return the counters of `xstats` that count lost packets, with zeros; in their order, the totals last."""
    named: dict[str, int] = {}
    explained = dict.fromkeys(("rx_errors", "tx_errors", "rx_missed_errors", "rx_mbuf_allocation_errors"), 0)
    for name, value in xstats.items():
        if (found := OF_QUEUE.fullmatch(name)) is None:
            continue
        total = _total_of(*found.groups())
        if total is not None:
            explained[total] += value
        if (total is not None and found[2] != BACK_TO_SENDER) or found[2] in INJECTED:
            named[name] = value
    totals = {name: xstats.get(name, 0) for name, sum_ in explained.items() if xstats.get(name, 0) > sum_}
    return named | totals


def _total_of(way: str, reason: str) -> str | None:
    """Return the total that a queue's counter is part of, None for one that counts nothing lost."""
    if reason == POOL_EMPTY:
        return "rx_mbuf_allocation_errors"
    if reason == RING_FULL:
        return "rx_missed_errors"
    if reason in DROPPED or reason == BACK_TO_SENDER or (reason.endswith("_errors") and reason != TOTAL):
        return f"{way}_errors"
    return None
