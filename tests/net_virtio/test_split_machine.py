# SPDX-License-Identifier: BSD-3-Clause
"""Both rings as state machines: whatever an honest host and a program do in turn, every frame arrives once, in order
and unchanged, and every mbuf is somewhere.
"""

from __future__ import annotations

import os
from collections import deque

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from net_virtio.rigs import FRAME, RxRig, TxRig

from pollmode.eal.jit import INTERPRETED
from pollmode.eal.lcore import Lcores
from pollmode.eal.memory import private
from pollmode.mbuf import Packet, create_pool
from pollmode.net_virtio.queue import RxVirtQueue, TxVirtQueue
from pollmode.net_virtio.rx import make_rx
from pollmode.net_virtio.tx import make_tx

MBUFS = 64
SIZES = st.integers(14, 6000)


def frame(number: int, size: int) -> bytes:
    return FRAME[:14] + bytes((number * 31 + place) & 0xFF for place in range(size - 14))


class Machine(RuleBasedStateMachine):
    """Memory, a pool, and a count of frames, for one example."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = private(4 << 20)
        self.lcores = Lcores(((0, frozenset(os.sched_getaffinity(0))),), self.memory)
        self.pool = create_pool(self.memory, "machine", MBUFS, cache_size=0)
        self.lcore = self.lcores.control.address
        self.number = 0

    def next_frame(self, size: int) -> bytes:
        self.number += 1
        return frame(self.number, size)

    def finish(self, queue: RxVirtQueue | TxVirtQueue) -> None:
        queue.end(self.lcore)
        queue.close()
        assert self.pool.audit().out == 0
        self.lcores.close()
        self.memory.close()


class Receiving(Machine):
    @initialize(mergeable=st.booleans(), entries=st.sampled_from([4, 8, 32]))
    def begin(self, mergeable: bool, entries: int) -> None:
        queue = RxVirtQueue(self.memory, "ring", 0, entries, self.pool)
        self.mergeable = mergeable
        self.rig = RxRig(self.lcore, queue, make_rx(mergeable, 12, False, False), 12)
        self.sent: deque[bytes] = deque()
        self.held: list[Packet] = []
        self.away = np.zeros(0, np.int64)

    @rule(size=SIZES)
    def deliver(self, size: int) -> None:
        size = size if self.mergeable else min(size, 2048)
        if self.rig.host.available() * 2060 >= size + 12:
            data = self.next_frame(size)
            self.rig.host.deliver(data)
            self.sent.append(data)

    @rule(n=st.integers(0, 40), keep=st.booleans())
    def receive(self, n: int, keep: bool) -> None:
        packets = self.rig.packets(n)
        assert len(packets) == min(n, len(self.sent))
        for packet in packets:
            assert bytes(packet) == self.sent.popleft()
        self.held += packets
        if not keep:
            self.give_back()

    @rule()
    def give_back(self) -> None:
        for packet in self.held:
            packet.free()
        self.held = []

    @precondition(lambda self: len(self.away) == 0)
    @rule(left=st.integers(0, 4))
    def exhaust(self, left: int) -> None:
        self.away = self.pool.get(max(0, self.pool.available() - left))

    @rule()
    def replenish(self) -> None:
        self.pool.put(self.away)
        self.away = np.zeros(0, np.int64)

    @rule()
    def reset(self) -> None:
        self.rig.queue.end(self.lcore)
        self.rig.begin()
        self.sent.clear()

    @invariant()
    def everything_is_somewhere(self) -> None:
        if hasattr(self, "rig"):
            assert self.rig.broken == 0
            record = self.rig.queue.record
            assert self.rig.queue.outstanding() + record["free"] == self.rig.queue.entries

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.give_back()
            self.replenish()
            self.finish(self.rig.queue)


class Transmitting(Machine):
    @initialize(indirect=st.booleans(), layout=st.booleans(), entries=st.sampled_from([4, 8, 32]))
    def begin(self, indirect: bool, layout: bool, entries: int) -> None:
        queue = TxVirtQueue(self.memory, "ring", 1, entries)
        self.rig = TxRig(self.lcore, self.pool, queue, make_tx(12, False, indirect, layout))
        self.sent: deque[bytes] = deque()

    @rule(sizes=st.lists(SIZES, min_size=1, max_size=8), shared=st.booleans())
    def send(self, sizes: list[int], shared: bool) -> None:
        packets, frames = [], []
        for size in sizes:
            data = self.next_frame(size)
            parts = [data[start : start + 2000] for start in range(0, size, 2000)]
            if len(parts) > self.pool.available() or len(parts) + 1 > self.rig.queue.entries:
                break
            first, *rest = (Packet.alloc(self.pool, part) for part in parts)
            for segment in rest:
                first.chain(segment)
            packets.append(first)
            frames.append(data)
        if shared and packets:
            packets[0].record["refcnt"] = 2
        took = self.rig.offer(packets)
        self.sent.extend(frames[:took])
        if shared and packets:
            packets[0].record["refcnt"] -= 1 if took == 0 else 0
            self.shared(packets[0], took)
        for packet in packets[max(took, int(shared)) :]:
            packet.free()

    def shared(self, packet: Packet, took: int) -> None:
        """Give up our share of a packet that two own."""
        if took == 0:
            packet.free()
        else:
            packet.record["refcnt"] = 1  # the driver's share is the last one now

    @rule(limit=st.integers(1, 40))
    def collect(self, limit: int) -> None:
        for sent in self.rig.host.collect(limit=limit):
            assert sent.frame == self.sent.popleft()

    @rule()
    def reset(self) -> None:
        self.rig.queue.end(self.lcore)
        self.rig.begin()
        self.sent.clear()

    @invariant()
    def the_ring_is_sound(self) -> None:
        if hasattr(self, "rig"):
            assert self.rig.broken == 0

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.finish(self.rig.queue)


LIMITS = settings(max_examples=15 if INTERPRETED else 60, stateful_step_count=30, deadline=None)
TestReceiving = Receiving.TestCase
TestReceiving.settings = LIMITS
TestTransmitting = Transmitting.TestCase
TestTransmitting.settings = LIMITS
