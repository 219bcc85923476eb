# SPDX-License-Identifier: BSD-3-Clause
"""Sending: pointers into a ring, and freeing what stays in one for good."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, compiled, load64, store64
from pollmode.mbuf import mbuf_free, ring_dequeue, ring_enqueue_burst

from .layout import QUEUE_PACKETS, QUEUE_RING

__all__ = ["free_packets", "make_tx"]


@functools.cache
def make_tx() -> Callback:
    """Return the transmit function: it takes as many packets as the ring has room for."""

    def ring_tx(lcore: int, queue: int, burst: int, n: int) -> int:
        sent = ring_enqueue_burst(load64(queue + QUEUE_RING), burst, n)
        store64(queue + QUEUE_PACKETS, load64(queue + QUEUE_PACKETS) + sent)
        return sent

    return burst_callback(ring_tx, "ring_tx")


@compiled
def free_packets(lcore: int, ring: int) -> int:
    """Free the packets in a ring; return how many there were."""
    freed = 0
    m = ring_dequeue(ring)
    while m != 0:
        mbuf_free(lcore, m)
        freed += 1
        m = ring_dequeue(ring)
    return freed
