# SPDX-License-Identifier: BSD-3-Clause
"""Sending into a capture file, by way of memory; and to nowhere."""

from __future__ import annotations

import functools

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    copy,
    inlined,
    load16,
    load32,
    load64,
    load_acquire64,
    load_relaxed64,
    realtime,
    record,
    store64,
    store_release64,
)
from pollmode.eal.layout import offset_of
from pollmode.mbuf import MBUF_DATA_LEN, MBUF_PKT_LEN, NO_ROOM, mbuf_data, mbuf_free_bulk, mbuf_gather, place_for
from pollmode.net.pcap import MAX_PACKET, RECORD, RECORD_SIZE

from .layout import HEAD, TAIL, TXQ, WRAP

__all__ = ["make_tx", "make_tx_drop"]

CAPTURED = offset_of(RECORD, "captured")
FAILED = offset_of(TXQ, "failed")
SECOND = 1_000_000_000


@inlined
def total_length(burst: int, n: int) -> int:
    """Return the bytes of `n` packets."""
    total = 0
    for i in range(n):
        total += load32(load64(burst + 8 * i) + MBUF_PKT_LEN)
    return total


@compiled
def drop(lcore: int, queue: int, burst: int, n: int) -> int:
    """Free the packets of a burst, the file taking no more; returns n."""
    record(queue, TXQ).dropped += n
    mbuf_free_bulk(lcore, burst, n)
    return n


@functools.cache
def make_tx() -> Callback:
    """Return the transmit callback of a queue with a file. All packets of a burst have the time of the burst."""

    def pcap_tx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, TXQ)
        if n == 0:
            return 0
        if load_relaxed64(queue + FAILED) != 0:
            return drop(lcore, queue, burst, n)
        now = realtime()
        seconds = now // SECOND
        stamp = seconds | (now - SECOND * seconds) << 32  # seconds and fraction, in one store
        head = q.head
        taken = total = 0
        while taken < n:
            m = load64(burst + 8 * taken)
            original = load32(m + MBUF_PKT_LEN)
            length = min(original, MAX_PACKET)
            place = place_for(head, load_acquire64(queue + TAIL), q.size, RECORD_SIZE + length)
            if place == NO_ROOM:
                q.full += 1
                break
            if place < head:
                store64(queue + WRAP, head)
            at = q.buffer + place
            if load16(m + MBUF_DATA_LEN) == length:
                copy(at + RECORD_SIZE, mbuf_data(m), length)
            else:
                length = mbuf_gather(m, 0, length, at + RECORD_SIZE)
                q.cut += 1 if original > MAX_PACKET else 0
            store64(at, stamp)
            store64(at + CAPTURED, length | original << 32)
            head = place + RECORD_SIZE + length
            taken += 1
            total += original
        store_release64(queue + HEAD, head)
        mbuf_free_bulk(lcore, burst, taken)
        q.sent += taken
        q.bytes += total
        return taken

    return burst_callback(pcap_tx, "pcap_tx")


@functools.cache
def make_tx_drop() -> Callback:
    """Return the transmit callback of a queue without a file: everything is taken, counted and freed."""

    def pcap_tx_drop(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, TXQ)
        q.bytes += total_length(burst, n)
        q.sent += n
        mbuf_free_bulk(lcore, burst, n)
        return n

    return burst_callback(pcap_tx_drop, "pcap_tx_drop")
