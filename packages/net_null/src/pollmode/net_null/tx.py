# SPDX-License-Identifier: BSD-3-Clause
"""Sending to nowhere: every packet is taken, counted and freed."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, copy, load16, load32, load64, store64
from pollmode.mbuf import MBUF_DATA_LEN, MBUF_PKT_LEN, mbuf_data, mbuf_free_bulk

from .layout import TXQ_BYTES, TXQ_PACKET, TXQ_PACKET_SIZE, TXQ_PACKETS

__all__ = ["make_tx"]


@functools.cache
def make_tx(copying: bool) -> Callback:
    """Return the transmit function; with `copying` it copies each packet's first segment, up to the queue's size."""

    def null_tx(lcore: int, queue: int, burst: int, n: int) -> int:
        size = load64(queue + TXQ_PACKET_SIZE)
        packet = load64(queue + TXQ_PACKET)
        total = 0
        for i in range(n):
            m = load64(burst + 8 * i)
            total += load32(m + MBUF_PKT_LEN)
            if copying:
                copy(packet, mbuf_data(m), min(size, load16(m + MBUF_DATA_LEN)))
        mbuf_free_bulk(lcore, burst, n)
        store64(queue + TXQ_PACKETS, load64(queue + TXQ_PACKETS) + n)
        store64(queue + TXQ_BYTES, load64(queue + TXQ_BYTES) + total)
        return n

    return burst_callback(null_tx, "null_tx_copy" if copying else "null_tx")
