# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of a port, out of what the callbacks count and what the device counts.

The extended ones have DPDK's names first, then ours: why packets were dropped, and what the device saw by address.
"""

from __future__ import annotations

from collections.abc import Sequence

from pollmode.ethdev import Stats

from .queue import RxQueue, TxQueue
from .statistics import DeviceCounts

__all__ = ["rx_xstats", "stats", "tx_xstats"]


def stats(rx: Sequence[RxQueue], tx: Sequence[TxQueue], counts: DeviceCounts) -> Stats:
    """Return the basic statistics; lost, damaged and discarded packets are the device's to count."""
    received, sent = [queue.counters() for queue in rx], [queue.counters() for queue in tx]
    errors = [sum(q.drop_counters().values()) + counts.of("rx", q.index)["error_packets"] for q in rx]
    unsent = [sum(q.drop_counters().values()) for q in tx]
    for queue in tx:
        device = counts.of("tx", queue.index)
        unsent.append(device["error_packets"] + device["discard_packets"])
    return Stats(
        ipackets=sum(c["packets"] for c in received),
        opackets=sum(c["packets"] for c in sent),
        ibytes=sum(c["bytes"] for c in received),
        obytes=sum(c["bytes"] for c in sent),
        imissed=sum(counts.of("rx", queue.index)["out_of_buffers"] for queue in rx),
        ierrors=sum(errors),
        oerrors=sum(unsent),
        rx_nombuf=sum(c["nombuf"] for c in received),
        q_ipackets=tuple(c["packets"] for c in received),
        q_opackets=tuple(c["packets"] for c in sent),
        q_ibytes=tuple(c["bytes"] for c in received),
        q_obytes=tuple(c["bytes"] for c in sent),
        q_errors=tuple(errors),
    )


def rx_xstats(queue: RxQueue, counts: DeviceCounts) -> dict[str, int]:
    """Return the extended statistics of a receive queue."""
    counters, drops = queue.counters(), queue.drop_counters()
    found = {"drop_total": sum(drops.values()), "drop_err": drops["drop_err"], "drop_fcs": counters["crc"]}
    found |= {"rx_buf_alloc_failure": counters["nombuf"], **drops, "skipped_buffers": counters["skipped"]}
    return _named(f"rx_q{queue.index}_", found, counts.of("rx", queue.index))


def tx_xstats(queue: TxQueue, counts: DeviceCounts) -> dict[str, int]:
    """Return the extended statistics of a transmit queue."""
    drops = queue.drop_counters()
    found = {"drop_total": sum(drops.values()), **drops, "tx_ring_full": queue.counters()["full"]}
    return _named(f"tx_q{queue.index}_", found, counts.of("tx", queue.index))


def _named(prefix: str, own: dict[str, int], device: dict[str, int]) -> dict[str, int]:
    return {prefix + name: count for name, count in own.items()} | {
        f"{prefix}device_{name}": count for name, count in device.items()
    }
