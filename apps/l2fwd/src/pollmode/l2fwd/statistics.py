# SPDX-License-Identifier: BSD-3-Clause
"""The statistics page, in DPDK's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CLEAR", "Counts", "page"]

CLEAR = "\x1b[2J\x1b[1;1H"
"""Clears the screen and goes to its upper left corner."""


@dataclass(frozen=True)
class Counts:
    """Packets that left by a port, came in by it, and were to leave by it but were not taken."""

    sent: int = 0
    received: int = 0
    dropped: int = 0


def page(counts: Mapping[int, Counts]) -> str:
    """Return the page for ports in their order, without `CLEAR`."""
    parts = ["\nPort statistics ===================================="]
    for port, count in sorted(counts.items()):
        parts.append(
            f"\nStatistics for port {port} ------------------------------"
            f"\nPackets sent: {count.sent:>24}"
            f"\nPackets received: {count.received:>20}"
            f"\nPackets dropped: {count.dropped:>21}"
        )
    every = counts.values()
    parts.append(
        "\nAggregate statistics ==============================="
        f"\nTotal packets sent: {sum(count.sent for count in every):>18}"
        f"\nTotal packets received: {sum(count.received for count in every):>14}"
        f"\nTotal packets dropped: {sum(count.dropped for count in every):>15}"
        "\n====================================================\n"
    )
    return "".join(parts)
