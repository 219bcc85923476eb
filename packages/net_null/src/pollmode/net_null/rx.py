# SPDX-License-Identifier: BSD-3-Clause
"""Receiving from nowhere: mbufs straight from the pool, with the same header each."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, copy, copy32, load64, store64
from pollmode.mbuf import MBUF_REARM, mbuf_data, pool_get_bulk

from .layout import RXQ_BYTES, RXQ_HEADER, RXQ_NOMBUF, RXQ_PACKET, RXQ_PACKET_SIZE, RXQ_PACKETS, RXQ_POOL

__all__ = ["make_rx", "make_rx_none"]


@functools.cache
def make_rx(copying: bool) -> Callback:
    """Return the receive function: all of `n` packets, or none when the pool is short.

    With `copying` their bytes are the queue's packet, else what was in the mbufs.
    """

    def null_rx(lcore: int, queue: int, burst: int, n: int) -> int:
        size = load64(queue + RXQ_PACKET_SIZE)
        packet = load64(queue + RXQ_PACKET)
        got = pool_get_bulk(lcore, load64(queue + RXQ_POOL), burst, n)
        for i in range(got):
            m = load64(burst + 8 * i)
            # A free mbuf has next = 0, and without flags nobody reads tx_offload: one store makes it a packet.
            copy32(m + MBUF_REARM, queue + RXQ_HEADER)
            if copying:
                copy(mbuf_data(m), packet, size)
        store64(queue + RXQ_PACKETS, load64(queue + RXQ_PACKETS) + got)
        store64(queue + RXQ_BYTES, load64(queue + RXQ_BYTES) + got * size)
        store64(queue + RXQ_NOMBUF, load64(queue + RXQ_NOMBUF) + n - got)
        return got

    return burst_callback(null_rx, "null_rx_copy" if copying else "null_rx")


@functools.cache
def make_rx_none() -> Callback:
    """Return the receive function of `no-rx`: never a packet."""

    def null_rx_none(lcore: int, queue: int, burst: int, n: int) -> int:
        return 0

    return burst_callback(null_rx_none, "null_rx_none")
