# SPDX-License-Identifier: BSD-3-Clause
"""The extended statistics by DPDK's names, 13 for each receive queue, 12 for each transmit queue; then why packets were
dropped, which DPDK does not tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .queue import Counters

__all__ = ["rx_xstats", "tx_xstats"]


def rx_xstats(queue: int, counters: Counters) -> dict[str, int]:
    """Return the extended statistics of a receive queue: DPDK's rte_virtio_rxq_stat_strings."""
    return _named(f"rx_q{queue}_", counters, {"errors": counters.errors})


def tx_xstats(queue: int, counters: Counters) -> dict[str, int]:
    """Return the extended statistics of a transmit queue: DPDK's rte_virtio_txq_stat_strings."""
    return _named(f"tx_q{queue}_", counters, {})


def _named(prefix: str, counters: Counters, errors: dict[str, int]) -> dict[str, int]:
    found = {"good_packets": counters.packets, "good_bytes": counters.bytes, **errors}
    found |= {"multicast_packets": counters.multicast, "broadcast_packets": counters.broadcast, **counters.bins}
    return {prefix + name: count for name, count in (found | counters.dropped).items()}
