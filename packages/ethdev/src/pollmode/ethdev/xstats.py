# SPDX-License-Identifier: BSD-3-Clause
"""Extended statistics that every port has, with DPDK's names and in its order (eth_basic_stats_get)."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Stats

__all__ = ["basic_xstats"]


def basic_xstats(stats: Stats, rx_queues: int, tx_queues: int) -> dict[str, int]:
    """Return the port's totals, then packets, bytes and errors of each queue."""
    named = {
        "rx_good_packets": stats.ipackets,
        "tx_good_packets": stats.opackets,
        "rx_good_bytes": stats.ibytes,
        "tx_good_bytes": stats.obytes,
        "rx_missed_errors": stats.imissed,
        "rx_errors": stats.ierrors,
        "tx_errors": stats.oerrors,
        "rx_mbuf_allocation_errors": stats.rx_nombuf,
    }
    for queue in range(rx_queues):
        named[f"rx_q{queue}_packets"] = _of(stats.q_ipackets, queue)
        named[f"rx_q{queue}_bytes"] = _of(stats.q_ibytes, queue)
        named[f"rx_q{queue}_errors"] = _of(stats.q_errors, queue)
    for queue in range(tx_queues):
        named[f"tx_q{queue}_packets"] = _of(stats.q_opackets, queue)
        named[f"tx_q{queue}_bytes"] = _of(stats.q_obytes, queue)
    return named


def _of(counters: Sequence[int], queue: int) -> int:
    return counters[queue] if queue < len(counters) else 0
