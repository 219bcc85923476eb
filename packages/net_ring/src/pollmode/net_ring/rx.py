# SPDX-License-Identifier: BSD-3-Clause
"""Receiving: pointers out of a ring. As in DPDK's net_ring, the mbufs themselves are not touched."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, load64, store64
from pollmode.mbuf import ring_dequeue_burst

from .layout import QUEUE_PACKETS, QUEUE_RING

__all__ = ["make_rx"]


@functools.cache
def make_rx() -> Callback:
    """Return the receive function."""

    def ring_rx(lcore: int, queue: int, burst: int, n: int) -> int:
        got = ring_dequeue_burst(load64(queue + QUEUE_RING), burst, n)
        store64(queue + QUEUE_PACKETS, load64(queue + QUEUE_PACKETS) + got)
        return got

    return burst_callback(ring_rx, "ring_rx")
