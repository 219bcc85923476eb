# SPDX-License-Identifier: BSD-3-Clause
"""testpmd as a secondary process: statistics, queues of its own, and the end of either."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.program import Program

from pollmode.eal.jit import INTERPRETED

CPU, *MORE = sorted(os.sched_getaffinity(0))
OTHER = MORE[0] if MORE else CPU
TESTPMD = [sys.executable, "-m", "pollmode.testpmd"]
POOL = re.compile(r"total_cache_count=(\d+)\s+common_pool_count=(\d+)")


class Prompt(Program):
    """testpmd at its prompt."""

    def __init__(self, eal: list[str], app: list[str], folder: Path) -> None:
        super().__init__(
            [*TESTPMD, *eal, "--file-prefix", "duo", "--", "-i", *app],
            keyboard=True,
            environment={"RUNTIME_DIRECTORY": str(folder)},
        )

    def ask(self, line: str, answer: str) -> re.Match[str]:
        before = len(self.output())
        self.type(line)
        return self.wait_for(answer, after=before)

    def stats(self, port: int) -> tuple[int, int]:
        found = self.ask(f"show port stats {port}", r"RX-packets: (\d+).*?TX-packets: (\d+)")
        return int(found[1]), int(found[2])

    def wait_for_packets(self, port: int = 0) -> None:
        """Wait until a port receives more than it has now."""
        before = self.stats(port)[0]
        while self.stats(port)[0] <= before:
            assert self.process.poll() is None, self.log()

    def wait_for_queue(self, queue: int) -> None:
        """Wait until a queue of port 0 receives more than it has now."""

        def packets() -> int:
            return int(self.ask("show port xstats 0", rf"rx_q{queue}_packets: (\d+)")[1])

        before = packets()
        while packets() <= before:
            assert self.process.poll() is None, self.log()

    def in_pool(self) -> int:
        found = self.ask("dump_mempool mb_pool_0", POOL.pattern)
        return int(found[1]) + int(found[2])


PRIMARY = ["--no-huge", "-m", "128", "--no-pci", "--lcores", f"(0,1)@{CPU}"]
SHARING = ["-a", "--rxq=2", "--txq=2", "--total-num-mbufs=4096", "--num-procs=2", "--proc-id=0"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def primary(folder: Path, request: pytest.FixtureRequest) -> Iterator[Prompt]:
    """A primary that forwards between two ports, on the first of two queues."""
    vdevs = getattr(request, "param", ["net_null0", "net_null1"])
    words = [word for vdev in vdevs for word in ("--vdev", vdev)]
    program = Prompt([*PRIMARY, *words], SHARING, folder)
    program.wait_for("TX RS bit threshold.*testpmd> ")
    yield program
    program.close()


@pytest.fixture
def secondary(folder: Path, primary: Prompt) -> Iterator[Prompt]:
    """A secondary of it that does nothing yet."""
    program = second(folder)
    yield program
    program.close()


def second(folder: Path, *words: str) -> Prompt:
    eal = ["--proc-type=auto", "--lcores", f"(4,5)@{OTHER}"]
    program = Prompt(eal, ["--num-procs=2", "--proc-id=1", *words], folder)
    program.wait_for("testpmd> ")
    return program


def end(program: Prompt) -> int:
    program.type("quit")
    return program.wait()


def test_a_secondary_shows_what_the_primary_does(primary: Prompt, secondary: Prompt) -> None:
    mac = primary.ask("show port info 1", r"MAC address: (\S+)")[1]
    assert secondary.ask("show port info 1", r"MAC address: (\S+)")[1] == mac
    assert secondary.ask("show port summary all", r"Number of available ports: (\d)")[1] == "2"
    secondary.wait_for_packets()
    assert secondary.stats(0)[0] <= primary.stats(0)[0]
    for line in ("set promisc 0 on", "port config mtu 0 1400", "mac_addr add 0 02:00:00:00:00:01"):
        secondary.ask(line, "testpmd> ")
    secondary.ask("port stop 0", "testpmd> ")
    secondary.ask("show port stats 0", "RX-packets")
    refused = rf"port 0 \(net_null0\): cannot stop it in a secondary process; .* process {primary.process.pid}\n"
    assert re.search(refused, secondary.log())
    assert secondary.log().count("in a secondary process; do it in the primary process") == 4
    primary.wait_for_packets()
    primary.ask("stop", "Done")
    primary.ask("port stop 0", "Done")
    assert secondary.ask("show port info 0", r"Link status: (\w+)")[1] == "down"
    assert (end(secondary), end(primary)) == (0, 0)
    assert "error" not in primary.log().lower()


def test_each_forwards_on_queues_of_its_own(primary: Prompt, secondary: Prompt) -> None:
    if INTERPRETED:
        secondary.ask("start", "testpmd> ")
        secondary.ask("show port stats 0", "RX-packets")
        assert "words of two processes are not changed atomically" in secondary.log()
        return
    secondary.ask("start", r"RX P=0/Q=1 .* -> TX P=1/Q=1 .*TX RS bit")
    secondary.wait_for_queue(1)
    secondary.wait_for_queue(0)
    primary.ask("stop", "Done")
    primary.ask("port stop 0", "testpmd> ")
    primary.wait_for_queue(1)
    used = f"port 0: Rx queue 1 is used by secondary process {secondary.process.pid}; end that process"
    assert used in primary.log()
    secondary.ask("stop", "Done")
    primary.ask("port stop 0", "Done")
    primary.ask("port start 0", "Done")
    primary.ask("start", "TX RS bit")
    secondary.ask("start", "TX RS bit")
    secondary.wait_for_queue(1)
    primary.type("quit")  # the primary sends it away
    assert primary.wait() == 0
    assert secondary.wait() == 1
    assert f"the primary process {primary.process.pid} of file prefix 'duo' has ended" in secondary.log()
    assert "error" not in primary.log().lower()


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
@pytest.mark.parametrize("primary", [["net_null0", "net_null1"], ["net_ring0", "net_ring1"]], indirect=True)
def test_a_secondary_killed_in_the_midst_of_bursts_is_cleared_up_after(primary: Prompt, folder: Path) -> None:
    primary.ask("stop", "Done")
    primary.ask("start tx_first 4", "TX RS bit")
    primary.wait_for_queue(0)
    kills, burst = 3, 32
    whole = primary.in_pool()
    for _ in range(kills):
        program = second(folder)
        try:
            program.ask("start tx_first 4", "TX RS bit")
            program.wait_for_queue(1)
            program.kill()
        finally:
            program.close()
        primary.wait_for_queue(0)
    with_fresh_one = second(folder)  # its queue is the next one's
    try:
        with_fresh_one.ask("start", "TX RS bit")
        assert end(with_fresh_one) == 0
    finally:
        with_fresh_one.close()
    primary.ask("stop", "Done")
    ringing = 2 * 4 * burst * kills  # what a ring port keeps on the way
    assert primary.in_pool() >= whole - ringing - 4 * burst * kills - 2 * burst
    assert end(primary) == 0
    assert "error" not in primary.log().lower()


def test_a_primary_that_is_killed_ends_the_secondary(primary: Prompt, secondary: Prompt) -> None:
    if not INTERPRETED:
        secondary.ask("start", "TX RS bit")
        secondary.wait_for_queue(1)
    primary.process.send_signal(signal.SIGKILL)
    primary.wait()
    assert secondary.wait() == 1
    assert f"Cause: the primary process {primary.process.pid} of file prefix 'duo' has ended" in secondary.log()
    assert "Traceback" not in secondary.log()


def test_a_secondary_without_queues_of_its_own_says_how_to_have_some(primary: Prompt, folder: Path) -> None:
    program = Prompt(["--proc-type=secondary"], [], folder)
    try:
        program.wait_for("testpmd> ")
        program.ask("start", "testpmd> ")
        program.ask("port attach net_null9", "testpmd> ")
        assert end(program) == 0
        assert "start it, and the primary, with --num-procs=N --proc-id=I" in program.log()
        assert "net_null9: cannot be attached in a secondary process" in program.log()
    finally:
        program.close()
