# SPDX-License-Identifier: BSD-3-Clause
"""Many threads on one ring: no word is lost, none comes twice, and each producer's words stay in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from pollmode.eal.jit import INTERPRETED, compiled, fetch_add64, load_relaxed64, store64, yield_cpu
from pollmode.eal.memory import Memory
from pollmode.mbuf import (
    ring,
    ring_dequeue_bulk,
    ring_dequeue_burst,
    ring_enqueue_bulk,
    ring_enqueue_burst,
)

TURNS = 6 if INTERPRETED else 60
"""How often each producer fills the ring: where threads share a core, a full ring waits for the next time slice."""
PATIENCE = 100.0
PRODUCER_SHIFT = 32


@compiled
def produce(address: int, stop: int, objs: int, producer: int, count: int, most: int) -> int:
    """Add `count` numbered words in bursts and bulks of 1 to `most`; returns how many went in."""
    done = 0
    while done < count and load_relaxed64(stop) == 0:
        n = min(1 + (done * 7 + producer) % most, count - done)
        for i in range(n):
            store64(objs + 8 * i, (producer << PRODUCER_SHIFT) + done + i)
        sent = ring_enqueue_bulk(address, objs, n) if done & 1 else ring_enqueue_burst(address, objs, n)
        if sent == 0:
            yield_cpu()
        done += sent
    return done


@compiled
def consume(address: int, stop: int, objs: int, taken: int, total: int, most: int) -> int:
    """Take words into the array at `objs` until all consumers together have `total`; returns how many came here."""
    here = 0
    while load_relaxed64(taken) < total and load_relaxed64(stop) == 0:
        n = 1 + here % most
        got = (
            ring_dequeue_bulk(address, objs + 8 * here, n)
            if here & 1 and load_relaxed64(taken) + 64 < total
            else ring_dequeue_burst(address, objs + 8 * here, n)
        )
        if got == 0:
            yield_cpu()
        else:
            here += got
            fetch_add64(taken, got)
    return here


@pytest.mark.parametrize(
    ("producers", "consumers", "slots"), [(1, 1, 1024), (3, 1, 1024), (1, 3, 1024), (3, 3, 1024), (2, 2, 64), (2, 2, 4)]
)
def test_every_word_arrives_once_and_in_order(memory: Memory, producers: int, consumers: int, slots: int) -> None:
    made = ring.create(memory, "r", slots, single_producer=producers == 1, single_consumer=consumers == 1)
    each = TURNS * made.capacity
    total = producers * each
    most = min(made.capacity // 2, 16)  # larger bulks of both sides could wait for each other
    stop, taken = np.zeros(1, np.int64), np.zeros(1, np.int64)
    sources = [np.zeros(16, np.int64) for _ in range(producers)]
    sinks = [np.full(total + 16, -1, np.int64) for _ in range(consumers)]
    # Compiled, or loaded, before the threads need it.
    assert produce(made.address, stop.ctypes.data, sources[0].ctypes.data, 0, 0, 1) == 0
    assert consume(made.address, stop.ctypes.data, sinks[0].ctypes.data, taken.ctypes.data, 0, 1) == 0
    sent, received = [0] * producers, [0] * consumers

    def producer(index: int) -> Callable[[], None]:
        def work() -> None:
            sent[index] = produce(made.address, stop.ctypes.data, sources[index].ctypes.data, index, each, most)

        return work

    def consumer(index: int) -> Callable[[], None]:
        def work() -> None:
            received[index] = consume(
                made.address, stop.ctypes.data, sinks[index].ctypes.data, taken.ctypes.data, total, most
            )

        return work

    threads = [threading.Thread(target=consumer(index)) for index in range(consumers)]
    threads += [threading.Thread(target=producer(index)) for index in range(producers)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stop[0] = 1
    for thread in threads:
        thread.join()
    assert sent == [each] * producers
    assert sum(received) == total
    assert len(made) == 0
    everything = np.concatenate([sink[:count] for sink, count in zip(sinks, received, strict=True)])
    expected = [(index << PRODUCER_SHIFT) + np.arange(each) for index in range(producers)]
    assert (np.sort(everything) == np.concatenate(expected)).all()
    for sink, count in zip(sinks, received, strict=True):
        for index in range(producers):
            own = sink[:count][sink[:count] >> PRODUCER_SHIFT == index]
            assert (np.diff(own) > 0).all()
