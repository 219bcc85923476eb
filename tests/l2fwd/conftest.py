# SPDX-License-Identifier: BSD-3-Clause
"""Ports of l2fwd in the test's own process."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, Ports
from pollmode.l2fwd.forwarder import Forwarder
from pollmode.l2fwd.plan import Plan
from pollmode.l2fwd.ports import make_pool, start_port
from pollmode.mbuf import Burst, Packet

_serial = itertools.count()


class Rig:
    """Ports brought up as l2fwd does it, on lcores that share one cpu."""

    def __init__(self, vdevs: Sequence[str], lcores: int = 1) -> None:
        cpu = min(os.sched_getaffinity(0))
        eal = ["--no-huge", "--in-memory", "-m", "64", "--file-prefix", f"l2fwd{os.getpid()}x{next(_serial)}"]
        eal += ["--lcores", ",".join(f"{number}@{cpu}" for number in range(lcores))]
        self.environment = Environment.start([*eal, *(word for vdev in vdevs for word in ("--vdev", vdev))])
        self.table = Ports(self.environment)
        self.environment.on_close(self.table.close)
        VdevBus(self.environment, self.table).probe_all()
        self.pool = make_pool(self.environment.memory, len(vdevs), lcores)
        self.forwarder: Forwarder | None = None

    @property
    def ports(self) -> list[Port]:
        """The ports by number."""
        return list(self.table)

    def bring_up(self, *, promiscuous: bool = False) -> None:
        """Start every port."""
        for port in self.ports:
            start_port(port, self.pool, promiscuous=promiscuous)

    def forward(self, plan: Plan, *, mac_updating: bool = True) -> Forwarder:
        """Start forwarding."""
        self.forwarder = Forwarder(self.environment, self.table, plan, mac_updating=mac_updating)
        self.forwarder.start()
        return self.forwarder

    def put(self, port: Port, frames: Sequence[bytes]) -> None:
        """Send frames into the ring behind a net_ring port, where the port will receive them."""
        burst = Burst.of([Packet.alloc(self.pool, frame) for frame in frames])
        assert port.tx(0, burst) == len(frames)

    def take(self, port: Port) -> list[bytes]:
        """Receive all frames that wait for a port, and free them."""
        frames: list[bytes] = []
        burst = Burst(64)
        while port.rx(0, burst):
            frames += [bytes(packet.data) for packet in burst]
            burst.free()
        return frames

    def close(self) -> None:
        """End everything."""
        if self.forwarder is not None:
            self.forwarder.stop()
        self.environment.close()


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Return the maker of a rig from the texts of its virtual devices."""
    made: list[Rig] = []

    def make(*vdevs: str, lcores: int = 1) -> Rig:
        made.append(Rig(vdevs, lcores))
        return made[-1]

    yield make
    for one in made:
        one.close()
