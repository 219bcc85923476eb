# SPDX-License-Identifier: BSD-3-Clause
"""A port that receives what it sends, for engines to work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.ethdev import Port, Ports
from pollmode.mbuf import Burst, Packet
from pollmode.mbuf.mempool import Mempool
from pollmode.testpmd.bringup import Bringup
from pollmode.testpmd.forwarding import Forwarding
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import plan_streams
from pollmode.testpmd.report import StreamSummary

TOTAL_MBUFS = 2048


@dataclass
class Outcome:
    """What an engine made of some frames: the frames that left, each as one piece, and what it counted."""

    frames: list[bytes]
    counted: StreamSummary


class Loop:
    """net_ring0: a ring that gives back what is put in."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.ports = Ports(environment)
        VdevBus(environment, self.ports).attach("net_ring0")
        self._bringup: Bringup | None = None

    @property
    def port(self) -> Port:
        return self.ports[0]

    @property
    def pool(self) -> Mempool:
        assert self._bringup is not None
        return self._bringup.pool

    def put(self, frames: Sequence[bytes | Sequence[bytes]]) -> None:
        """Send frames into the ring; one given in parts is a chain."""
        for frame in frames:
            parts = [frame] if isinstance(frame, bytes) else list(frame)
            packet = Packet.alloc(self.pool, parts[0])
            for part in parts[1:]:
                packet.chain(Packet.alloc(self.pool, part))
            assert self.port.tx(0, Burst.of([packet])) == 1

    def take(self) -> list[bytes]:
        """Receive and free everything that is in the ring."""
        frames: list[bytes] = []
        burst = Burst(64)
        while self.port.rx(0, burst):
            frames += [bytes(packet) for packet in burst]
            burst.free()
        return frames

    def forward(self, options: Options, frames: Sequence[bytes | Sequence[bytes]] = (), *, passes: int = 1) -> Outcome:
        """Run the engine of `options` over the ring for some passes, with `frames` in it."""
        options = replace(options, total_num_mbufs=TOTAL_MBUFS, mbcache=32, flush_rx=False)
        if self._bringup is None:
            self._bringup = Bringup(self.environment, [self.port], options)
            self._bringup.apply(self.port)
            self.port.start()
        self.put(frames)
        plan = plan_streams(options, (0,), (1,), to_sender=options.forward_mode == "icmpecho")
        forwarding = Forwarding(self.environment, self.ports, self.pool, options, plan, options.burst)
        try:
            forwarding.start(passes=passes)
            forwarding.wait()
            return Outcome(self.take(), forwarding.summary().streams[0])
        finally:
            forwarding.close()

    def close(self) -> None:
        """Stop, and see that no mbuf is missing."""
        if self._bringup is not None:
            self.take()
            assert self.pool.available() == TOTAL_MBUFS
            self.pool.audit()
        self.ports.close()
