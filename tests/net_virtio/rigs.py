# SPDX-License-Identifier: BSD-3-Clause
"""Queues on their own, without a device: the host's side is played by `pollmode.net_virtio.testing`."""

from __future__ import annotations

import ctypes

import numpy as np

from pollmode.eal.jit import Callback
from pollmode.mbuf import Mempool, Packet
from pollmode.net_virtio.queue import RxVirtQueue, TxVirtQueue
from pollmode.net_virtio.testing import HostRing

_BURST = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)

PORT = 3
FRAME = bytes.fromhex("020000000001 020000000002 0800") + bytes(range(46))


class Rig:
    """A queue, its callback, and the host at the other side of the ring."""

    queue: RxVirtQueue | TxVirtQueue

    def __init__(self, lcore: int, pool: Mempool, callback: Callback) -> None:
        self.lcore, self.pool, self.callback = lcore, pool, callback
        self._call = _BURST(callback.address)
        self._burst = np.zeros(512, np.int64)

    def begin(self) -> None:
        """Start the ring afresh, with a new host."""
        self._start()
        self.host = HostRing(self.queue.entries, self.queue.desc, self.queue.avail, self.queue.used)

    def _start(self) -> None:
        raise NotImplementedError

    def call(self, addresses: list[int], n: int) -> int:
        self._burst[: len(addresses)] = addresses
        return int(self._call(self.lcore, self.queue.address, self._burst.ctypes.data, n))

    def got(self, n: int) -> list[Packet]:
        return [Packet(int(address)) for address in self._burst[:n]]

    @property
    def broken(self) -> int:
        """The FAULT_* that broke the queue, 0 while it is sound."""
        return int(self.queue.record["broken"])

    def heal(self) -> None:
        """Do what a reset of the port does to the queue."""
        self.queue.end(self.lcore)
        assert self.pool.in_use() == 0
        self.begin()
        assert self.queue.fault() is None


class RxRig(Rig):
    """A receive queue, its callback, and the host that fills it."""

    queue: RxVirtQueue

    def __init__(self, lcore: int, queue: RxVirtQueue, callback: Callback, header: int) -> None:
        super().__init__(lcore, queue.pool, callback)
        self.queue, self.header = queue, header
        self.begin()

    def _start(self) -> None:
        self.posted = self.queue.begin(self.lcore, self.header, PORT)

    def packets(self, n: int = 32) -> list[Packet]:
        """Receive, and return the packets, which are the caller's."""
        got = self.got(self.call([], n))
        for packet in got:
            packet.check()
        return got

    def receive(self, n: int = 32) -> list[bytes]:
        """Receive, free, and return the frames."""
        packets = self.packets(n)
        frames = [bytes(packet) for packet in packets]
        for packet in packets:
            packet.free()
        return frames


class TxRig(Rig):
    """A transmit queue, its callback, and the host that empties it."""

    queue: TxVirtQueue

    def __init__(self, lcore: int, pool: Mempool, queue: TxVirtQueue, callback: Callback) -> None:
        super().__init__(lcore, pool, callback)
        self.queue = queue
        self.begin()

    def _start(self) -> None:
        self.queue.begin()

    def send(self, *packets: Packet) -> int:
        """Send packets, which must all be taken or dropped; return how many were."""
        addresses = [packet.give("sent") for packet in packets]
        return self.call(addresses, len(addresses))

    def offer(self, packets: list[Packet]) -> int:
        """Send packets of which some may stay the caller's; return how many do not."""
        return self.call([packet.address for packet in packets], len(packets))
