# SPDX-License-Identifier: BSD-3-Clause
"""The program as its user sees it: what it prints, how it ends."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.interrupted import at_import
from support.program import Program

from pollmode.l2fwd.statistics import CLEAR

COMPILING = 150.0
"""Seconds for what may have to wait for compiled code on a busy machine."""

pytestmark = pytest.mark.timeout(600)

CPU = min(os.sched_getaffinity(0))
TWO_PORTS = ("--vdev", "net_null0", "--vdev", "net_null1")
NUMBERS = re.compile(r"(Packets|Total packets) (sent|received|dropped): +(\d+)")

Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return the starter of an l2fwd from its EAL words and its own."""
    started: list[Program] = []

    def run(eal: Sequence[str], own: Sequence[str], lcores: int = 1) -> Program:
        common = ["--no-huge", "--in-memory", "-m", "64", "--file-prefix", f"l2fwd{os.getpid()}"]
        common += ["--lcores", ",".join(f"{number}@{CPU}" for number in range(lcores))]
        started.append(Program([sys.executable, "-m", "pollmode.l2fwd", *common, *eal, "--", *own]))
        return started[-1]

    yield run
    for program in started:
        program.close()


def in_order(text: str, *parts: str) -> None:
    """Check that all parts stand in the text, one behind the other."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} does not stand behind the parts before it in\n{text}"
        at = found + len(part)


def totals(text: str) -> dict[str, int]:
    """Return the aggregate of the last page in the text."""
    return {name: int(number) for whose, name, number in NUMBERS.findall(text) if whose == "Total packets"}


def test_pages_come_and_an_interrupt_ends_with_a_summary(start):
    program = start(TWO_PORTS, ["-p", "0x3", "-q", "2", "-T", "1", "-P"])
    program.wait_for(re.escape(CLEAR) + r".*Total packets sent: +[1-9].*={52}\n", seconds=COMPILING)
    assert program.interrupt() == 0
    text = program.output()
    in_order(
        text,
        "MAC updating enabled\n",
        "Lcore 0: RX port 0 TX port 1\nLcore 0: RX port 1 TX port 0\n",
        "Initializing port 0... done: \nPort 0, MAC address: ",
        "Initializing port 1... done: \nPort 1, MAC address: ",
        "\nChecking link statusdone\nPort 0 Link up at 10 Gbps FDX Fixed\n",
        CLEAR + "\nPort statistics ====",
        "\n\nSignal 2 received, preparing to exit...\n\nPort statistics ====",
        "Closing port 0... Done\nClosing port 1... Done\nBye...\n",
    )
    counted = totals(text)
    assert counted["received"] > 0
    assert counted["sent"] + counted["dropped"] == counted["received"]
    assert "Traceback" not in program.log()


def test_without_a_period_there_is_only_the_summary(start):
    words = ["--log-level=user.l2fwd:info", *TWO_PORTS]
    program = start(words, ["-p", "3", "-q", "2", "-T", "0", "--no-mac-updating"], lcores=2)
    program.wait_for(r"Port 1 Link", seconds=COMPILING)
    program.process.send_signal(signal.SIGTERM)
    assert program.wait(COMPILING) == 0
    text = program.output()
    assert CLEAR not in text
    in_order(text, "MAC updating disabled", "Signal 15 received", "Port statistics", "Closing port 1... Done\nBye...")


def test_a_port_map_skips_the_ports_it_does_not_name(start):
    program = start([*TWO_PORTS, "--vdev", "net_null2"], ["-p", "7", "-q", "3", "-T", "0", "--portmap=(0,2)"])
    program.wait_for(r"Port 2 Link", seconds=COMPILING)
    assert program.interrupt() == 0
    text = program.output()
    in_order(text, "RX port 0 TX port 2", "RX port 2 TX port 0", "Skipping disabled port 1", "Initializing port 2")
    assert "Statistics for port 1" not in text
    assert "Notice: odd number" not in text


def test_an_odd_number_of_ports_is_noticed(start):
    program = start(TWO_PORTS[:2], ["-p", "1", "-T", "0"])
    program.wait_for(r"Port 0 Link", seconds=COMPILING)
    assert program.interrupt() == 0
    in_order(program.output(), "Notice: odd number of ports in portmask.\n", "Lcore 0: RX port 0 TX port 0\n")


@pytest.mark.parametrize(
    ("eal", "own", "told"),
    [
        ((), ["-p", "1"], "No Ethernet ports - bye"),
        (TWO_PORTS, ["-p", "4"], "Invalid portmask; possible (0x3), -p is 0x4"),
        (TWO_PORTS, ["-p", "3"], "Not enough cores: 2 ports, 1 lcores with -q 1"),
        (TWO_PORTS, [], "All available ports are disabled. Please set portmask."),
        (("--vdev", "net_nul0"), ["-p", "1"], "net_nul0"),
        (TWO_PORTS, ["-p", "zz"], "invalid portmask"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_1(start, eal, own, told):
    program = start(eal, own)
    assert program.wait(COMPILING) == 1
    cause = [line for line in program.log().splitlines() if line.startswith("  Cause: ")]
    assert len(cause) == 1
    assert told in cause[0]
    assert "EAL: Error - exiting with code: 1" in program.log()
    assert "Traceback" not in program.log()


def test_verbose_adds_where_an_error_was_raised(start):
    program = start((), ["-p", "zz", "--verbose"])
    assert program.wait(COMPILING) == 1
    assert "Traceback" in program.log()
    assert "invalid portmask" in program.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["pollmode.l2fwd.cli", "typer", "pollmode.l2fwd.run", "numpy", "pollmode.l2fwd.loop"])
def test_a_signal_before_anything_is_there_ends_it_without_a_word(at, number):
    ended = at_import("pollmode.l2fwd", at, number, ["--no-huge", "--in-memory", *TWO_PORTS, "--", "-p", "3"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, "", "")


def test_a_second_one_with_the_same_prefix_is_told_the_pid_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    words = ["--no-huge", "-m", "64", "--file-prefix", "taken", "--lcores", f"0@{CPU}", *TWO_PORTS, "--", "-p", "3"]
    command = [sys.executable, "-m", "pollmode.l2fwd", *words, "-q", "2", "-T", "0"]
    first = Program(command)
    try:
        first.wait_for(r"Port 1 Link", seconds=COMPILING)
        second = Program(command)
        assert second.wait(COMPILING) == 1
        holder = f"process {first.process.pid} ({os.path.basename(sys.executable)} -m pollmode.l2fwd)"
        assert f"{holder} has the file prefix 'taken'" in second.log()
        second.close()
        assert first.interrupt() == 0
        assert os.listdir(tmp_path / "dpdk") == []
    finally:
        first.close()
