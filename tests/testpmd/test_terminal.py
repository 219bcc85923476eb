# SPDX-License-Identifier: BSD-3-Clause
"""The program with its prompt: at a terminal, where keys complete, interrupt and end; and at a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.terminal import COLD, Terminal

from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED

# A first run compiles, which a busy machine takes minutes for.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="what is typed does not depend on how code runs"),
]

PROMPT = r"testpmd>"


def words(*app: str, ports: int = 1) -> list[str]:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-1)@({cpus})"]
    vdevs = [word for number in range(ports) for word in ("--vdev", f"net_null{number}")]
    return [sys.executable, "-m", "pollmode.testpmd", *eal, *vdevs, "--", "-i", "--total-num-mbufs=2048", *app]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    environment = {"PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(tmp_path)}
    made = Terminal(words(), environment, size=(100, 24))
    try:
        made.wait_for(PROMPT)
        yield made
    finally:
        made.close()


def test_keys_complete_and_the_history_stays(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("show port summ\t")
    terminal.wait_for("show port summary")
    terminal.type("all\r")
    terminal.wait_for("Number of available ports: 1")
    terminal.wait_for("net_null0")
    terminal.wait_for(PROMPT)
    terminal.type("set burst 600\r")
    terminal.wait_for(r"nb pkt per burst: 600 > 512")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")  # Ctrl-D
    terminal.wait_for(r"Bye\.\.\.")
    assert terminal.end() == 0
    history = (tmp_path / "pollmode" / "testpmd_history").read_text()
    assert "+show port summary all\n" in history
    assert "+set burst 600\n" in history


def test_an_interrupt_ends_with_the_statistics(terminal: Terminal) -> None:
    terminal.type("start\r")
    terminal.wait_for("TX RS bit threshold")
    terminal.wait_for(PROMPT)
    terminal.type("\x03")  # Ctrl-C
    terminal.wait_for("Signal 2 received, preparing to exit...")
    terminal.wait_for("Accumulated forward statistics for all ports")
    terminal.wait_for(r"Bye\.\.\.")
    assert terminal.end() == 0


def test_a_signal_ends_while_nobody_types(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for("Signal 15 received, preparing to exit...")
    terminal.wait_for(r"Bye\.\.\.")
    assert terminal.end() == 0


def test_watching_ends_with_the_enter_key(terminal: Terminal) -> None:
    terminal.type("watch port stats all\r")
    terminal.wait_for("RX Mpps")
    terminal.type("\r")
    terminal.wait_for(PROMPT)
    terminal.type("quit\r")
    terminal.wait_for(r"Bye\.\.\.")
    assert terminal.end() == 0


def piped(commands: str, *app: str, ports: int = 1) -> str:
    done = subprocess.run(
        words(*app, ports=ports),
        input=commands,
        capture_output=True,
        text=True,
        errors="surrogatepass",
        timeout=COLD,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pipe_is_shown_its_lines_and_ends_with_its_input() -> None:
    printed = piped("set burst 8\nnonsense\nset burst 9")  # the last line has no end
    assert "testpmd> set burst 8\nNumber of packets per burst set to 8\n" in printed
    assert "testpmd> nonsense\nCommand not found\ntestpmd> set burst 9\n" in printed
    assert "Shutting down port 0...\n" in printed
    assert printed.endswith("\nBye...\n")


def test_nothing_that_comes_through_a_pipe_ends_the_session() -> None:
    odd = ["", "\t ", "\x00", "\x1b[A", "\x03", "\x04", "show port\x7f", "\ud800 \u2028", "set burst 8\r"]
    long = ["x" * 200, f"load {'x' * 65530}", "quit" * 50000, "set burst 9"]
    printed = piped("\n".join([*odd, *long, *["set burst 10"] * 3000, "set burst 11"]))
    assert printed.count("Command not found\n") == 6
    assert printed.count("Bad arguments\n") == 2
    assert printed.count("# a line of more than 65536 bytes was left out\n") == 1
    assert "set burst 8\nNumber of packets per burst set to 8\n" in printed
    assert printed.count("Number of packets per burst set to 10\n") == 3000
    assert "Number of packets per burst set to 11\n" in printed
    assert printed.endswith("\nBye...\n")


def test_the_end_of_the_input_stops_forwarding() -> None:
    printed = piped("start tx_first 2\n", "--disable-link-check")
    assert "Accumulated forward statistics for all ports" in printed
    assert printed.index("Telling cores to stop...") < printed.index("Stopping port 0...")


def test_files_of_commands_come_first_and_forwarding_may_begin_by_itself(tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    shown.write_text("set burst 7\n")
    hidden.write_text("set fwd mac\n")
    printed = piped("quit\n", f"--cmdline-file={shown}", f"--cmdline-file-noecho={hidden}", "--auto-start")
    assert "testpmd> set burst 7\nNumber of packets per burst set to 7\nRead CLI commands from" in printed
    assert "testpmd> set fwd mac" not in printed
    assert "Start automatic packet forwarding\nmac packet forwarding - ports=1" in printed
    assert "mac packet forwarding packets/burst=7" in printed


def test_without_ports_the_prompt_opens_all_the_same() -> None:
    printed = piped("show port summary all\nport attach net_null3\nport start 0\nstart\nquit\n", ports=0)
    assert "Number of available ports: 0" in printed
    assert "Port 0 is attached. Now total ports is 1" in printed
    assert "io packet forwarding - ports=1" in printed


def test_ports_may_be_left_stopped() -> None:
    printed = piped("start\nport start all\nstart\nquit\n", "--disable-device-start")
    assert printed.count("io packet forwarding - ports=1") == 1
    assert printed.index("testpmd> port start all") < printed.index("Configuring Port 0")
