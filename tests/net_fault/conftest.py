# SPDX-License-Identifier: BSD-3-Clause
"""A ring with faults around it: what is sent comes back, as far as chance lets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.vdev_ports import pool, ports

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, Ports, State
from pollmode.mbuf import Burst, Mempool, Packet

__all__ = ["Rig", "pool", "ports", "rig"]

MBUFS = 256


class Rig:
    """net_ring0 with faults, and what was sent into it and came out."""

    def __init__(self, environment: Environment, ports: Ports, pool: Mempool) -> None:
        self.environment = environment
        self.ports = ports
        self.bus = VdevBus(environment, ports)
        self.pool = pool

    def attach(self, device: str, faults: str = "") -> Port:
        """Attach a device, put faults around it, and start it."""
        port: Port = self.bus.attach(device)
        if faults:
            assert self.bus.attach(f"net_fault{port.id},port={port.name},{faults}") is port
        port.configure(1, 1)
        port.setup_rx_queue(0, 0, self.pool)
        port.setup_tx_queue(0, 0)
        port.start()
        return port

    def ring(self, faults: str) -> Port:
        return self.attach(f"net_ring{len(self.ports)}", faults)

    def send(self, port: Port, count: int, first: int = 0) -> int:
        """Send frames of 64 bytes, each of its number; free those not taken."""
        burst = Burst.of([Packet.alloc(self.pool, bytes([(first + i) & 0xFF]) * 64) for i in range(count)])
        taken = port.tx(0, burst)
        burst.free()
        return taken

    def receive(self, port: Port, capacity: int = 64) -> list[bytes]:
        """Receive until nothing comes."""
        burst, frames = Burst(capacity), []
        while port.rx(0, burst):
            frames += [bytes(packet) for packet in burst]
            burst.free()
        return frames

    def counted(self, port: Port, way: str) -> dict[str, int]:
        """Return the counters of the faults, after a look at their sums."""
        named, prefix = port.xstats(), f"{way}_q0_fault_"
        found = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
        found = {name.removesuffix("_packets"): value for name, value in found.items()}
        arrived = found["entered"] + found["duplicated"]
        assert arrived == found["left"] + found["dropped"] + found["discarded"] + found["held"], found
        assert named[f"{way}_q0_packets"] == found["entered" if way == "rx" else "left"]
        return found

    def close(self) -> None:
        """Stop, and see that no mbuf is missing."""
        for port in list(self.ports):
            if port.state is State.STARTED:
                port.stop()
            self.bus.detach(port)
        assert self.pool.audit().available == MBUFS


@pytest.fixture
def rig(environment: Environment, ports: Ports, pool: Mempool) -> Iterator[Rig]:
    made = Rig(environment, ports, pool)
    yield made
    made.close()
