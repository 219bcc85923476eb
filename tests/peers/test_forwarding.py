# SPDX-License-Identifier: BSD-3-Clause
"""Our testpmd, as a user starts it, against DPDK's testpmd: each way of forwarding through each of our two drivers."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.dpdk import STATISTICS, DpdkTestpmd
from support.program import Program

TESTPMD = str(Path(sys.executable).parent / "testpmd")
OPPOSITE = {"rxonly": "txonly", "txonly": "rxonly", "io": "io", "mac": "mac"}
ENOUGH = 1000

_serial = itertools.count()

Start = Callable[..., DpdkTestpmd]


@dataclass(frozen=True)
class Case:
    """One way of forwarding."""

    mode: str
    mergeable: int
    queues: int
    frame: int

    def __str__(self) -> str:
        return f"{self.mode}-{'mergeable' if self.mergeable else 'plain'}-{self.queues}q-{self.frame}"

    @property
    def options(self) -> list[str]:
        """The application options both programs take."""
        return [f"--rxq={self.queues}", f"--txq={self.queues}", f"--txpkts={self.frame - 4}"]


CASES = [
    Case(mode, mergeable, queues, frame)
    for mode in OPPOSITE
    for mergeable in (0, 1)
    for queues, frame in ((1, 64), (4, 64), (1, 1518), (4, 1518))
]


@pytest.fixture
def testpmd() -> Iterator[Callable[[str, Case], Program]]:
    """Start our testpmd with one port."""
    started: list[Program] = []

    def start(vdev: str, case: Case) -> Program:
        prefix = f"ours{os.getpid()}x{next(_serial)}"
        eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "128", "--lcores", "0@0,1@1", "--file-prefix", prefix]
        app = [
            "--total-num-mbufs=8192",
            "--disable-link-check",
            "--stats-period=1",
            f"--forward-mode={case.mode}",
            *case.options,
        ]
        app += ["--tx-first"] if case.mode in ("io", "mac") else []
        started.append(Program([TESTPMD, *eal, "--vdev", vdev, "--", *app]))
        return started[-1]

    yield start
    for program in started:
        program.close()


PAGE = re.compile(r"NIC statistics for port 0.*?TX-bytes:\s+\d+\n", re.S)


def moved(program: Program, case: Case) -> None:
    """Wait until our port moved enough, then end the program: it says what it moved and exits with 0."""
    seen = read_to = 0
    while seen < ENOUGH:
        page = program.wait_for(PAGE.pattern, after=read_to)
        read_to = page.end()
        found = STATISTICS.search(page[0])
        assert found, page[0]
        seen = int(found[3] if case.mode == "txonly" else found[1])
    assert program.interrupt() == 0, program.log()
    summary = program.wait_for(r"Accumulated forward statistics.*?RX-packets: (\d+).*?TX-packets: (\d+)")
    assert int(summary[2 if case.mode == "txonly" else 1]) >= ENOUGH
    if case.mode == "rxonly":
        sizes = re.findall(r"RX-packets: (\d+) .*?RX-bytes:\s+(\d+)", program.output())
        assert all(int(total) == int(packets) * (case.frame - 4) for packets, total in sizes)


def begin(peer: DpdkTestpmd, case: Case) -> None:
    """Set the peer forwarding the opposite way."""
    peer.type(f"set fwd {OPPOSITE[case.mode]}")
    peer.type("start")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_virtio_user_with_dpdks_vhost(
    testpmd: Callable[[str, Case], Program], dpdk: Start, socket_path: str, case: Case
) -> None:
    peer = dpdk(f"net_vhost0,iface={socket_path},queues={case.queues}", app=case.options)
    begin(peer, case)
    vdev = f"net_virtio_user0,path={socket_path},queues={case.queues},mrg_rxbuf={case.mergeable}"
    program = testpmd(vdev, case)
    moved(program, case)
    if case.mode == "txonly":
        assert peer.statistics()[0] >= ENOUGH


@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_vhost_with_dpdks_virtio_user(
    testpmd: Callable[[str, Case], Program], dpdk: Start, socket_path: str, case: Case
) -> None:
    program = testpmd(f"net_vhost0,iface={socket_path},queues={case.queues}", case)
    program.wait_for("NIC statistics for port 0")
    vdev = f"net_virtio_user0,path={socket_path},queues={case.queues},mrg_rxbuf={case.mergeable}"
    peer = dpdk(vdev, app=case.options)
    begin(peer, case)
    if case.mode in ("io", "mac"):
        # Our first packets went out before there was anyone to take them.
        peer.type("stop")
        peer.type("start tx_first 4")
    moved(program, case)
    if case.mode == "txonly":
        assert peer.statistics()[0] >= ENOUGH
