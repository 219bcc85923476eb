# SPDX-License-Identifier: BSD-3-Clause
"""Any order of calls on net_null and net_ring ports: what is allowed works, the rest is refused, nothing leaks."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import Port, Ports, QueueConfig, State
from pollmode.mbuf import Burst, create_pool

QUEUES = st.integers(0, 2)
COUNT = 128


class PortLife(RuleBasedStateMachine):
    """A port, and beside it what is known about where it is in its life."""

    device = "net_null0"

    @initialize()
    def begin(self) -> None:
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        words = ["--in-memory", "--no-huge", "--no-pci", "-m", "16", "--lcores", f"(0)@({cpus})"]
        self.environment = Environment.start(words)
        self.ports = Ports(self.environment)
        self.pool = create_pool(self.environment.memory, "pool", COUNT, cache_size=0)
        self.zones = {zone.name for zone in self.environment.memory.zones()}
        self.bus = VdevBus(self.environment, self.ports)
        self.attach_again()

    def attach_again(self) -> None:
        self.port: Port = self.bus.attach(self.device)
        self.state = State.ATTACHED
        self.counts = (0, 0)
        self.set_up: dict[tuple[str, int], bool] = {}
        self.running: set[tuple[str, int]] = set()
        self.held: list[Burst] = []

    def attempt(self, allowed: bool, call: Any, *arguments: Any) -> bool:
        """Do a call that must work when allowed, and be refused in one line otherwise."""
        if not allowed:
            with pytest.raises(ConfigError, match=r"^port 0 \(net_"):
                call(*arguments)
            return False
        call(*arguments)
        return True

    def dormant(self) -> bool:
        return self.state in (State.ATTACHED, State.CONFIGURED, State.STOPPED)

    @rule(rx=QUEUES, tx=QUEUES)
    def configure(self, rx: int, tx: int) -> None:
        if self.attempt(self.dormant() and rx + tx > 0, self.port.configure, rx, tx):
            self.state, self.counts, self.set_up = State.CONFIGURED, (rx, tx), {}

    @rule(direction=st.sampled_from(["rx", "tx"]), queue=QUEUES, deferred=st.booleans())
    def setup(self, direction: str, queue: int, deferred: bool) -> None:
        there = queue < self.counts[direction == "tx"]
        allowed = self.state in (State.CONFIGURED, State.STOPPED) and there
        config = QueueConfig(deferred_start=deferred)
        if direction == "rx":
            done = self.attempt(allowed, self.port.setup_rx_queue, queue, 0, self.pool, config)
        else:
            done = self.attempt(allowed, self.port.setup_tx_queue, queue, 0, config)
        if done:
            self.set_up[direction, queue] = deferred

    @rule()
    def setup_the_rest(self) -> None:
        for direction, count in zip(("rx", "tx"), self.counts, strict=True):
            for queue in range(count):
                if (direction, queue) not in self.set_up:
                    self.setup(direction, queue, False)

    @rule()
    def start(self) -> None:
        ready = self.state in (State.CONFIGURED, State.STOPPED) and len(self.set_up) == sum(self.counts)
        if self.attempt(ready, self.port.start):
            self.state = State.STARTED
            self.running = {queue for queue, deferred in self.set_up.items() if not deferred}

    @precondition(lambda self: self.dormant())
    @rule(rx=st.integers(1, 2))
    def bring_up(self, rx: int) -> None:
        self.configure(rx, 1)
        self.setup_the_rest()
        self.start()

    @rule()
    def stop(self) -> None:
        if self.attempt(self.state is State.STARTED, self.port.stop):
            self.state, self.running = State.STOPPED, set()

    @rule()
    def reset(self) -> None:
        self.attempt(self.state is not State.CLOSED, self.port.reset)

    @rule(direction=st.sampled_from(["rx", "tx"]), queue=QUEUES, on=st.booleans())
    def switch_queue(self, direction: str, queue: int, on: bool) -> None:
        allowed = self.state is State.STARTED and queue < self.counts[direction == "tx"]
        call = getattr(self.port, f"{'start' if on else 'stop'}_{direction}_queue")
        if self.attempt(allowed, call, queue):
            self.running = self.running | {(direction, queue)} if on else self.running - {(direction, queue)}

    @rule(queue=QUEUES)
    def receive(self, queue: int) -> None:
        burst = Burst(8)
        if self.attempt(self.state is State.STARTED and queue < self.counts[0], self.port.rx, queue, burst):
            if ("rx", queue) not in self.running:
                assert len(burst) == 0
            self.held.append(burst)

    @rule(queue=QUEUES)
    def send(self, queue: int) -> None:
        burst = Burst(8)
        if self.pool.available() >= 8:
            burst.alloc(self.pool, 8)
        n = len(burst)
        if self.attempt(self.state is State.STARTED and queue < self.counts[1], self.port.tx, queue, burst):
            assert n - len(burst) == (n if ("tx", queue) in self.running else 0)
        burst.free()

    @precondition(lambda self: any(len(burst) for burst in self.held))
    @rule()
    def free(self) -> None:
        for burst in self.held:
            burst.free()

    @rule()
    def close(self) -> None:
        if self.attempt(self.dormant(), self.port.close):
            self.state, self.set_up = State.CLOSED, {}

    @rule()
    def detach_and_attach(self) -> None:
        for burst in self.held:
            burst.free()
        if self.attempt(self.state is not State.STARTED, self.bus.detach, self.port):
            assert self.port.state is State.REMOVED
            assert self.pool.audit().out == 0, "an mbuf was lost"
            assert {zone.name for zone in self.environment.memory.zones()} == self.zones
            self.attach_again()

    @invariant()
    def the_port_is_where_it_should_be(self) -> None:
        if not hasattr(self, "port"):
            return
        assert self.port.state is self.state
        if self.state is not State.CLOSED:
            assert self.port.link().up is (self.state is State.STARTED)
        for direction, count in zip(("rx", "tx"), self.counts, strict=True):
            for queue in range(count):
                assert self.port.queue_running(direction, queue) is ((direction, queue) in self.running)

    def teardown(self) -> None:
        if hasattr(self, "port"):
            for burst in self.held:
                burst.free()
            self.ports.close()
            assert self.pool.audit().out == 0, "an mbuf was lost"
            self.environment.close()


@pytest.mark.parametrize("device", ["net_null0", "net_ring0"])
def test_any_order_of_calls(device: str) -> None:
    machine = type("PortLife", (PortLife,), {"device": device})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=10 if INTERPRETED else 40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
