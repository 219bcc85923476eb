# SPDX-License-Identifier: BSD-3-Clause
"""Lanes in memory, lcores that work on them, and what they counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pollmode.eal.clock import cycles_per_second
from pollmode.eal.jit import compile_now
from pollmode.ethdev import Ports
from pollmode.l2fwd.layout import COUNTERS, LANE, LANE_SIZE, WORK
from pollmode.l2fwd.loop import forward
from pollmode.l2fwd.plan import Plan
from pollmode.l2fwd.statistics import Counts
from pollmode.net import mac

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = ["DRAIN_SECONDS", "Forwarder", "station"]

DRAIN_SECONDS = 100e-6  # BURST_TX_DRAIN_US


def station(port: int) -> bytes:
    """Return the destination that packets leaving by a port are given: 02:00:00:00:00:<port>."""
    return bytes([2, 0, 0, 0, 0, port])


class Forwarder:
    """A plan put into memory: a lane for each port, grouped by lcore. `start` and `stop` may alternate."""

    def __init__(self, environment: Environment, ports: Ports, plan: Plan, *, mac_updating: bool) -> None:
        self._environment = environment
        self._plan = plan
        order = [port for mine in plan.lcores.values() for port in mine]
        self._zone = environment.memory.reserve("l2fwd", LANE_SIZE * len(order) + WORK.itemsize * len(plan.lcores), 64)
        self._lanes = self._zone.array(LANE, len(order))
        self._work = self._zone.array(WORK, len(plan.lcores), LANE_SIZE * len(order))
        for lane, port in zip(self._lanes, order, strict=True):
            out = plan.destinations[port]
            lane["rx_port"], lane["tx_port"] = port, out
            lane["destination"], lane["source"] = mac.word(station(out)), mac.word(ports[out].mac)
        drain = round(cycles_per_second() * DRAIN_SECONDS)
        first = 0
        for work, mine in zip(self._work, plan.lcores.values(), strict=True):
            work["dispatch"], work["lanes"] = ports.dispatch, self._zone.address + LANE_SIZE * first
            work["count"], work["drain_cycles"], work["mac_updating"] = len(mine), drain, int(mac_updating)
            first += len(mine)

    def start(self) -> None:
        """Launch the loop on every lcore of the plan. It is compiled before, so that all of them start together."""
        compile_now(forward, 2)
        start = self._zone.address + LANE_SIZE * len(self._lanes)
        for at, lcore in enumerate(self._plan.lcores):
            self._environment.lcores.launch(lcore, forward, start + at * WORK.itemsize)

    def stop(self) -> None:
        """End the loops and wait for them. What waited to be sent has been sent or freed then."""
        for lcore in self._plan.lcores:
            self._environment.lcores.stop(lcore)
        for lcore in self._plan.lcores:
            self._environment.lcores.wait(lcore)

    def counts(self) -> dict[int, Counts]:
        """Return what each port sent, received and dropped until now."""
        # A copy of each counter: the loops go on counting while the page is put together.
        counted = {name: np.array(self._lanes[name]).tolist() for name in COUNTERS}
        into = {int(port): at for at, port in enumerate(self._lanes["rx_port"])}
        out_of = {int(port): at for at, port in enumerate(self._lanes["tx_port"])}
        return {
            port: Counts(counted["sent"][out_of[port]], counted["received"][at], counted["dropped"][out_of[port]])
            for port, at in sorted(into.items())
        }

    def close(self) -> None:
        """Give the memory back. The loops must have been stopped."""
        self._environment.memory.free(self._zone)
