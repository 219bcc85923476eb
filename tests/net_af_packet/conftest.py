# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of net_af_packet's tests: a port over the model of the kernel, for any user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.vdev_ports import ports

from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, PortConfig, Ports
from pollmode.mbuf import Burst, Mempool, Packet, create_pool
from pollmode.net_af_packet import AfPacketDevice, AfPacketOptions, Geometry
from pollmode.net_af_packet.testing import KernelModel, ModelRings

__all__ = ["Model", "Modelled", "model", "ports"]

MBUFS = 256


@dataclass
class Modelled:
    """A started port and the kernel behind it."""

    port: Port
    kernel: KernelModel
    pool: Mempool

    @property
    def rings(self) -> ModelRings:
        """The rings of the first queue pair."""
        return self.kernel.opened[0]

    def receive(self, queue: int = 0, most: int = 64) -> list[bytes]:
        """Receive one burst and free it; return the packets."""
        burst = Burst(most)
        self.port.rx(queue, burst)
        packets = [bytes(packet) for packet in burst]
        burst.free()
        return packets

    def send(self, *packets: bytes | list[bytes], queue: int = 0) -> int:
        """Send packets, one given in parts as a chain; return how many were taken. The others are freed."""
        burst = Burst(max(1, len(packets)))
        for packet in packets:
            parts = packet if isinstance(packet, list) else [packet]
            head = Packet.alloc(self.pool, parts[0])
            for part in parts[1:]:
                head.chain(Packet.alloc(self.pool, part))
            burst.append(head)
        taken = self.port.tx(queue, burst)
        burst.free()
        return taken


Model = Callable[..., Modelled]


@pytest.fixture
def model(environment: Environment, ports: Ports) -> Iterator[Model]:
    """Start a port with so many queue pairs over rings of so many frames; at the end no mbuf may be missing."""
    pools: list[Mempool] = []

    def made(pairs: int = 1, frames: int = 16, frame_size: int = 2048, mbufs: int = MBUFS, **config: int) -> Modelled:
        kernel = KernelModel()
        options = AfPacketOptions(
            "model0", pairs, Geometry(4096 * -(-frame_size // 4096), frame_size, frames), True, "hash"
        )
        port = ports.add(AfPacketDevice(environment, f"net_af_packet{len(pools)}", options, kernel))
        pools.append(create_pool(environment.memory, f"pool{len(pools)}", mbufs, cache_size=0))
        port.configure(pairs, pairs, PortConfig(**config))
        for queue in range(pairs):
            port.setup_rx_queue(queue, 0, pools[-1])
            port.setup_tx_queue(queue, 0)
        port.start()
        return Modelled(port, kernel, pools[-1])

    yield made
    for pool in pools:
        assert pool.available() == pool.count
        pool.audit()
