# SPDX-License-Identifier: BSD-3-Clause
"""Our ports in the test's own process, ready to send and receive."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import Port, PortConfig, Ports, RxOffload, State, TxOffload
from pollmode.mbuf import create_pool
from pollmode.mbuf.mempool import Mempool
from support.numbered import BURST, churn, new_tally, play

_serial = itertools.count()

# Cycles without a packet after which a run is given up: some ten seconds on machines of our time.
PATIENCE = 30_000_000_000 if INTERPRETED else 40_000_000_000


@dataclass
class Tally:
    """What came of a run; see `support.numbered.TALLY`."""

    sent: int
    received: int
    lost: int
    changed: int
    failed: int


class Ours:
    """An environment with its ports; close it, and it says whether every mbuf is back."""

    def __init__(self, mbufs: int = 4096, memory_mb: int = 128) -> None:
        prefix = f"test{os.getpid()}x{next(_serial)}"
        self.environment = Environment.start(
            ["--no-huge", "--in-memory", "-m", str(memory_mb), "-l", "0", "--file-prefix", prefix]
        )
        self.ports = Ports(self.environment)
        self.bus = VdevBus(self.environment, self.ports)
        self.pool: Mempool = create_pool(self.environment.memory, "test", mbufs, cache_size=64)

    def add_port(self, vdev: str, *, queues: int = 1, frame: int = 64, descriptors: int = 256) -> Port:
        """Attach, configure and start a port for frames of `frame` bytes."""
        port = self.bus.attach(vdev)
        jumbo = frame > 1518
        config = PortConfig(
            mtu=frame - 18 if jumbo else 1500,
            rx_offloads=RxOffload.SCATTER if jumbo else RxOffload(0),
            tx_offloads=TxOffload.MULTI_SEGS if jumbo else TxOffload(0),
        )
        port.configure(queues, queues, config)
        for queue in range(queues):
            port.setup_rx_queue(queue, descriptors, self.pool)
            port.setup_tx_queue(queue, descriptors)
        port.start()
        return port

    def play(self, out: Port, back: Port, *, count: int, size: int, queue: int = 0, window: int = 128) -> Tally:
        """Send numbered frames on `out` and take them from `back`, on this thread."""
        tally = new_tally()
        burst = np.zeros(2 * BURST, np.int64)
        lcore = self.environment.lcores.control.address
        words: list[Any] = [lcore, self.ports.dispatch, out.id, back.id, queue, self.pool.address]
        play(*words, count, size, window, burst.ctypes.data, tally.ctypes.data, PATIENCE)
        return Tally(*(int(tally[0][name]) for name in ("sent", "received", "lost", "changed", "failed")))

    def start_churn(self, port: Port, size: int = 64) -> np.ndarray:
        """Send and receive on `port` in an lcore of its own; returns the words [sent, received], which go on."""
        counts, burst = np.zeros(2, np.int64), np.zeros(BURST, np.int64)
        self._kept = (counts, burst)
        words = [self.ports.dispatch, port.id, self.pool.address, size, burst.ctypes.data, counts.ctypes.data]
        self.environment.lcores.launch(0, churn, *words)
        return counts

    def stop_churn(self) -> None:
        """End what `start_churn` began."""
        self.environment.lcores.stop()
        self.environment.lcores.wait(0)

    def close(self) -> None:
        """Stop and close everything. Raises AssertionError when an mbuf is missing or a pool is damaged."""
        try:
            for port in list(self.ports):
                if port.state is State.STARTED:
                    port.stop()
                self.bus.detach(port)
            self.pool.audit()
            assert self.pool.available() == self.pool.count, f"{self.pool.count - self.pool.available()} mbufs lost"
        finally:
            self.ports.close()
            self.environment.close()
