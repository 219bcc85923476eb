# SPDX-License-Identifier: BSD-3-Clause
"""A port's life in any order, with a device that refuses and breaks queues: DPDK 439847c154 and its kind."""

from __future__ import annotations

import contextlib
import itertools
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from net_vmxnet3.rigs import Rig, frame

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, DeviceFault, PollmodeError
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import PortConfig, Ports, RxOffload, State
from pollmode.net_vmxnet3 import layout as at

_serial = itertools.count()


class Life(RuleBasedStateMachine):
    """One port whose calls come in any order; after each, what the state promises holds."""

    def __init__(self) -> None:
        super().__init__()
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        words = ["--in-memory", "--no-huge", "--no-pci", "-m", "64", "--lcores", f"0@({cpus})"]
        self.environment = Environment.start([*words, "--file-prefix", f"life{os.getpid()}x{next(_serial)}"])
        self.ports = Ports(self.environment)
        self.rig = Rig(self.environment, self.ports, start=False, revision=3, mbufs=600)

    @rule(queues=st.sampled_from([1, 2, 3]), scatter=st.booleans())
    def configure(self, queues: int, scatter: bool) -> None:
        config = PortConfig(rx_offloads=RxOffload.SCATTER if scatter else RxOffload(0))
        with contextlib.suppress(ConfigError):  # three are no power of two; a started port
            self.rig.configure(queues, queues, config)

    @rule(refuses=st.booleans())
    def start(self, refuses: bool) -> None:
        self.rig.model.registers.refused = {at.CMD_ACTIVATE: 1} if refuses else {}
        with contextlib.suppress(ConfigError, DeviceFault):
            self.rig.port.start()

    @rule()
    def stop(self) -> None:
        with contextlib.suppress(ConfigError):
            self.rig.port.stop()

    @rule(refuses=st.booleans())
    def reset(self, refuses: bool) -> None:
        self.rig.model.registers.refused = {at.CMD_ACTIVATE: 1} if refuses else {}
        with contextlib.suppress(ConfigError, DeviceFault):
            self.rig.port.reset()

    @precondition(lambda self: self.rig.port.state is State.STARTED)
    @rule(word0=st.integers(0, 2**64 - 1), word1=st.integers(0, 2**64 - 1))
    def attack(self, word0: int, word1: int) -> None:
        self.rig.model.complete("rx", 0, word0, word1)
        self.rig.receive()
        self.rig.port.poll()

    @precondition(lambda self: self.rig.port.state is State.STARTED)
    @rule()
    def traffic(self) -> None:
        sound = not self.rig.broken
        self.rig.model.deliver(frame(), queue=0)
        got = self.rig.receive()
        assert not sound or got == [frame()]
        self.rig.send(self.rig.packet(frame(300)))
        self.rig.model.collect(0)

    @rule(on=st.booleans())
    def settings(self, on: bool) -> None:
        self.rig.port.set_promiscuous(on)
        self.rig.port.set_multicast([b"\x01\x00\x5e\x00\x00\x01"] if on else [])
        self.rig.port.stats()
        self.rig.port.xstats()

    @invariant()
    def what_the_state_promises(self) -> None:
        started = self.rig.port.state is State.STARTED
        assert self.rig.model.active == started
        if not started:
            assert self.rig.pool.in_use() == 0

    def teardown(self) -> None:
        with contextlib.suppress(PollmodeError):
            self.rig.port.stop()
        self.ports.close()
        self.rig.model.close()
        assert self.rig.pool.audit().available == self.rig.pool.count
        self.environment.close()


def test_calls_in_any_order_lose_nothing() -> None:
    examples, steps = (5, 20) if INTERPRETED else (15, 30)
    run_state_machine_as_test(Life, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))  # type: ignore[no-untyped-call]
