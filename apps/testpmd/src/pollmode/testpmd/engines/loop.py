# SPDX-License-Identifier: BSD-3-Clause
"""What every forward mode shares: the loop over streams, receiving, sending with what follows from a full queue."""

from __future__ import annotations

from collections.abc import Callable

from pollmode.eal.jit import compiled, cycles, inlined, load64, load_relaxed64, pause, store64
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import rx_burst, tx_burst
from pollmode.mbuf import mbuf_free_bulk
from pollmode.testpmd.layout import (
    STREAM_BUSY_CYCLES,
    STREAM_CONSUMED,
    STREAM_DROPPED,
    STREAM_RX_BURSTS,
    STREAM_RX_PACKETS,
    STREAM_RX_PORT,
    STREAM_RX_QUEUE,
    STREAM_SIZE,
    STREAM_TX_BURSTS,
    STREAM_TX_PACKETS,
    STREAM_TX_PORT,
    STREAM_TX_QUEUE,
    WORK_BURST,
    WORK_COUNT,
    WORK_DISPATCH,
    WORK_PASSES,
    WORK_RETRIES,
    WORK_RETRY_CYCLES,
    WORK_SIZE,
    WORK_STREAMS,
)

__all__ = [
    "Edit",
    "Loop",
    "Receive",
    "Send",
    "Step",
    "add",
    "drop",
    "make_forward",
    "make_loop",
    "make_receive",
    "make_send",
]

Loop = Callable[[int, int], int]
"""`loop(lcore, work)`: forwards until the lcore's stop word is set, or for the passes that the work says."""
Step = Callable[[int, int, int], int]
"""`step(lcore, work, stream)`: one burst of one stream; returns the packets it handled."""
Receive = Callable[[int, int, int], int]
"""`receive(lcore, work, stream)`: fills the work's burst array; returns how many."""
Send = Callable[[int, int, int, int], int]
"""`send(lcore, work, stream, n)`: sends the front of the burst array, frees what is left; returns how many went."""
Edit = Callable[[int, int, int, int], int]
"""`edit(lcore, stream, burst, n)`: changes packets in place; returns how many are left, at the front, to be sent."""


@compiled
def drop(lcore: int, burst: int, n: int) -> int:
    """Free packets; a function of its own, so that no engine's code holds what every pool and chain needs."""
    mbuf_free_bulk(lcore, burst, n)
    return n


@inlined
def add(address: int, n: int) -> None:
    """Add to a counter that only this lcore writes."""
    store64(address, load64(address) + n)


def make_receive(burst_stats: bool) -> Receive:
    """Return the receiving half of a step."""

    @inlined
    def receive(lcore: int, work: int, stream: int) -> int:
        port, queue = load64(stream + STREAM_RX_PORT), load64(stream + STREAM_RX_QUEUE)
        burst, size = load64(work + WORK_BURST), load64(work + WORK_SIZE)
        n = rx_burst(lcore, load64(work + WORK_DISPATCH), port, queue, burst, size)
        if burst_stats:
            add(load64(stream + STREAM_RX_BURSTS) + 8 * n, 1)
        if n != 0:
            add(stream + STREAM_RX_PACKETS, n)
        return n

    return receive


@inlined
def _offer_again(lcore: int, work: int, stream: int, sent: int, n: int) -> int:
    """Offer the rest again and again, `retries` times, `retry_cycles` apart; returns how many were taken at last."""
    dispatch, burst = load64(work + WORK_DISPATCH), load64(work + WORK_BURST)
    port, queue = load64(stream + STREAM_TX_PORT), load64(stream + STREAM_TX_QUEUE)
    left = load64(work + WORK_RETRIES)
    while sent < n and left > 0:
        started = cycles()
        while cycles() - started < load64(work + WORK_RETRY_CYCLES):
            pause()
        sent += tx_burst(lcore, dispatch, port, queue, burst + 8 * sent, n - sent)
        left -= 1
    return sent


def make_send(burst_stats: bool, retry: bool) -> Send:
    """Return the sending half of a step."""

    @inlined
    def send(lcore: int, work: int, stream: int, n: int) -> int:
        port, queue = load64(stream + STREAM_TX_PORT), load64(stream + STREAM_TX_QUEUE)
        burst = load64(work + WORK_BURST)
        sent = tx_burst(lcore, load64(work + WORK_DISPATCH), port, queue, burst, n)
        if retry and sent < n:
            sent = _offer_again(lcore, work, stream, sent, n)
        add(stream + STREAM_TX_PACKETS, sent)
        if burst_stats:
            add(load64(stream + STREAM_TX_BURSTS) + 8 * sent, 1)
        if sent < n:
            add(stream + STREAM_DROPPED, n - sent)
            drop(lcore, burst + 8 * sent, n - sent)
        return sent

    return send


def make_forward(receive: Receive, edit: Edit, send: Send) -> Step:
    """Return the step of a mode that receives, edits and sends."""

    @inlined
    def step(lcore: int, work: int, stream: int) -> int:
        n = receive(lcore, work, stream)
        if n != 0:
            left = edit(lcore, stream, load64(work + WORK_BURST), n)
            if left != n:
                add(stream + STREAM_CONSUMED, n - left)
            if left != 0:
                send(lcore, work, stream, left)
        return n

    return step


def make_loop(step: Step, core_cycles: bool) -> Loop:
    """Return the compiled loop of a step; with `core_cycles` it adds up the cycles of steps that had packets."""

    @compiled
    def testpmd_forward(lcore: int, work: int) -> int:
        streams = load64(work + WORK_STREAMS)
        end = streams + STREAM_SIZE * load64(work + WORK_COUNT)
        passes = load64(work + WORK_PASSES)
        while passes != 0:
            passes -= 1
            stream = streams
            while stream < end:
                if core_cycles:
                    started = cycles()
                    if step(lcore, work, stream) != 0:
                        add(stream + STREAM_BUSY_CYCLES, cycles() - started)
                else:
                    step(lcore, work, stream)
                stream += STREAM_SIZE
            if load_relaxed64(lcore + LCORE_STOP) != 0:  # behind the pass: one is made however soon the stop comes
                break
        return 0

    return testpmd_forward
