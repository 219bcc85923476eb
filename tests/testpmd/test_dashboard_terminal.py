# SPDX-License-Identifier: BSD-3-Clause
"""The program with its dashboard at a terminal: how it ends, what the terminal is afterwards, and where it refuses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from support.terminal import COLD, Terminal

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED
from pollmode.testpmd.options import parse

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

whole = pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="what is drawn does not depend on how code runs")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9]+)*m")


def words(*app: str, vdevs: tuple[str, ...] = ("net_null0",)) -> list[str]:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"0@({cpus})"]
    eal += [word for vdev in vdevs for word in ("--vdev", vdev)]
    return [
        sys.executable,
        "-m",
        "pollmode.testpmd",
        *eal,
        "--",
        "--tui",
        "--total-num-mbufs=2048",
        "--disable-link-check",
        *app,
    ]


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()


def start(terminals: list[Terminal], argv: list[str], **environment: str) -> Terminal:
    made = Terminal(argv, environment)
    terminals.append(made)
    made.wait_for(r"RX packets/s")
    made.wait_for(r"q quit")
    return made


def state_of(pid: int) -> str:
    """The state of a process: T is stopped."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def assert_given_back(terminal: Terminal) -> None:
    """The terminal is as it was: its settings, the screen, the cursor; the statistics stand on the plain screen."""
    left = terminal.raw.rindex("\x1b[?1049l")
    assert "\x1b[?1049h" not in terminal.raw[left:]
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    plain = terminal.raw[left:]
    assert "Accumulated forward statistics for all ports" in plain
    assert plain.rstrip().endswith("Bye...")


@whole
def test_leaving_ends_as_quit_does(terminals: list[Terminal]) -> None:
    terminal = start(terminals, words())
    terminal.type("q")
    assert terminal.end() == 0
    assert_given_back(terminal)
    assert "Signal" not in terminal.raw


@whole
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(terminals: list[Terminal], number: signal.Signals) -> None:
    terminal = start(terminals, words())
    terminal.process.send_signal(number)
    assert terminal.end() == 0
    assert_given_back(terminal)
    assert f"Signal {int(number)} received, preparing to exit..." in terminal.raw


@whole
def test_the_key_of_an_interrupt_ends_it_without_colours_where_they_are_not_wanted(terminals: list[Terminal]) -> None:
    terminal = start(terminals, words(), NO_COLOR="1")
    terminal.type("\x03")
    assert terminal.end() == 0
    assert_given_back(terminal)
    assert "Signal 2 received, preparing to exit..." in terminal.raw
    assert COLOUR.search(terminal.raw) is None


@whole
def test_a_terminal_may_become_larger(terminals: list[Terminal]) -> None:
    terminal = start(terminals, words())
    assert COLOUR.search(terminal.raw)
    terminal.resize(160, 50)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for("RX bits/s")
    terminal.type("q")
    assert terminal.end() == 0
    assert_given_back(terminal)


@whole
def test_it_can_be_suspended_and_goes_on(terminals: list[Terminal]) -> None:
    terminal = start(terminals, words())
    terminal.type("\x1a")
    terminal.wait_until(lambda: state_of(terminal.process.pid) == "T")
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for("RX packets/s")
    terminal.type("q")
    assert terminal.end() == 0
    assert_given_back(terminal)


@whole
def test_it_ends_when_the_terminal_goes_away(terminals: list[Terminal]) -> None:
    terminal = start(terminals, words())
    terminal.hang_up()
    assert terminal.process.wait(COLD) in (0, 1), "no signal ended it"


@whole
def test_a_peer_may_come_and_go(terminals: list[Terminal], tmp_path: str) -> None:
    path = f"{tmp_path}/s"
    host = start(terminals, words(vdevs=(f"net_vhost0,iface={path}",)))
    assert "down" in host.raw
    guest = start(terminals, words(vdevs=(f"net_virtio_user0,path={path}",)))
    host.wait_for("up")
    guest.process.kill()
    guest.process.wait(60)
    host.wait_for("down")
    host.type("q")
    assert host.end() == 0
    assert_given_back(host)


@whole
def test_the_demonstration_lasts_until_it_is_left_or_as_long_as_told(terminals: list[Terminal]) -> None:
    command = [sys.executable, "-m", "pollmode.testpmd", "--demo"]
    told = start(terminals, [*command, "--seconds", "3", "--tui"])
    assert told.end() == 0
    assert_given_back(told)
    left = start(terminals, [*command, "--", "--tui", "--record-core-cycles"])
    left.type("4")
    left.wait_for(r"lcore \d+: 2")
    left.wait_for(r"\d%")
    left.type("2")
    left.wait_for(r"/256")
    left.type("q")
    assert left.end() == 0
    assert_given_back(left)


@pytest.mark.parametrize("other", ["-i", "--stats-period=1", "--display-xstats=rx_good_packets"])
def test_what_shows_the_same_in_another_way_is_refused(other: str) -> None:
    with pytest.raises(ConfigError, match="Invalid option combination, tui and "):
        parse(["--tui", other])


def test_without_a_terminal_it_says_what_to_use() -> None:
    done = subprocess.run(words(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COLD, check=False)
    assert done.returncode == 1
    assert "--tui needs a terminal, and standard input is none; use --stats-period=1" in done.stderr
    assert done.stderr.count("\n") == 2
