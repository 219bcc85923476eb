# SPDX-License-Identifier: BSD-3-Clause
"""The command as users start it: help, errors in one line, and every way a run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.interrupted import at_import
from support.program import Program

from pollmode.testpmd import cli

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

COMMAND = [sys.executable, "-m", "pollmode.testpmd"]
COLD = 400.0
"""Seconds for a start that has to compile everything on a busy machine."""


def words(*app: str) -> list[str]:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "-m", "64", "--lcores", f"0@({cpus})", "--vdev", "net_null0"]
    return [*COMMAND, *eal, "--", "--total-num-mbufs=2048", *app]


@pytest.fixture
def started() -> Iterator[list[Program]]:
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.close()


def start(started: list[Program], *app: str, keyboard: bool = False) -> Program:
    program = Program(words(*app), keyboard=keyboard)
    started.append(program)
    program.wait_for("start packet forwarding", seconds=COLD)
    return program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_summary(started: list[Program], number: signal.Signals) -> None:
    program = start(started, "--stats-period=1")
    program.wait_for("TX offloads=.*TX RS bit threshold")
    program.process.send_signal(number)
    assert program.wait() == 0
    assert "Accumulated forward statistics for all ports" in program.output()
    assert program.output().endswith("\nBye...\n")


def test_the_enter_key_ends(started: list[Program]) -> None:
    program = start(started, keyboard=True)
    program.wait_for("Press enter to exit")
    assert program.process.poll() is None
    program.type("")
    assert program.wait() == 0
    assert "Telling cores to stop..." in program.output()


def test_an_input_that_has_ended_leaves_the_signals(started: list[Program]) -> None:
    program = start(started)  # its standard input is /dev/null
    program.wait_for("Press enter to exit")
    with pytest.raises(subprocess.TimeoutExpired):
        program.process.wait(0.5)
    assert program.interrupt() == 0


def test_help_imports_neither_compiler_nor_arrays() -> None:
    code = (
        "import sys; from pollmode.testpmd import cli; cli.main(['--help'])\n"
        "print('heavy:', sorted({'numba', 'numpy', 'rich', 'typer', 'structlog'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("Forwards, makes and counts packets")
    assert printed.endswith("heavy: []\n")


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--", "--help"], ["-l", "0", "--", "-h"]])
def test_every_way_to_ask_for_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    page = capsys.readouterr().out
    assert "--stats-period SECONDS" in page
    assert "-l, --lcores LIST" in page
    assert "--demo" in page
    assert "-i, --interactive" in page
    assert "--enable-lro" not in page  # not supported yet, so not offered


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("testpmd ")


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["--", "--burst=600"], "burst must be between1 and 512"),
        (["--", "-i", "--tx-first"], "--tx-first cannot be used on interactive mode; type start tx_first"),
        (["--vdevs", "net_null0"], "unknown argument --vdevs!"),
        (["--no-huge", "--demo"], "--demo must come first"),
        (["--demo", "--seconds", "0"], "--seconds is 0, it must be above 0"),
        (["--demo", "--seconds", "soon"], "--seconds"),
        (["--seconds", "5"], "--seconds is how long the demonstration lasts: testpmd --demo --seconds"),
        (["--seconds=5", "--no-huge", "--", "--burst=4"], "--seconds is how long the demonstration lasts"),
        (["--demo", "--", "--burst=600"], "burst must be between1 and 512"),
    ],
)
def test_an_error_is_one_line_and_code_one(argv: list[str], cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 1
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "EAL: Error - exiting with code: 1"
    assert cause in printed[1]
    assert len(printed) == 2


def test_the_demonstration_moves_packets_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--demo", "--seconds", "3"]) == 0
    output = capsys.readouterr().out
    assert "NIC statistics for port 1" in output
    accumulated = output[output.index("Accumulated forward statistics") :]
    assert int(accumulated.split("RX-packets: ")[1].split()[0]) > 1000
    assert output.endswith("\nBye...\n")


def test_an_own_option_without_the_dashes_before_it_is_shown_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--no-huge", "--stats-period", "1"]) == 1
    assert "unknown argument --stats-period!; options of testpmd itself stand behind --" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["--demo"], "pollmode.testpmd.cli"),
        (["--demo"], "typer"),
        (["--demo"], "numpy"),
        ([], "pollmode.testpmd.application"),
    ],
)
def test_a_signal_before_anything_is_there_ends_it_without_a_word(
    words: list[str], at: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ended = at_import("pollmode.testpmd", at, number, words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, "", "")
    assert os.listdir(tmp_path) == []


def test_a_second_one_with_the_same_prefix_is_told_the_pid_of_the_first(
    started: list[Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    command = [word for word in words() if word != "--in-memory"]
    for _ in range(2):
        started.append(Program(command))
        if len(started) == 1:
            started[0].wait_for("start packet forwarding", seconds=COLD)
    assert started[1].wait(COLD) == 1
    told = (
        f"process {started[0].process.pid} ({os.path.basename(sys.executable)} -m pollmode.testpmd) has the file prefix"
    )
    assert told in started[1].log()
    assert started[0].interrupt() == 0
    assert os.listdir(tmp_path / "dpdk") == []


@pytest.mark.parametrize("own", ["", "--demo --seconds=30"])
def test_an_output_nobody_reads_ends_it_without_a_word(own: str) -> None:
    command = [*COMMAND, *own.split()] if own else words("--stats-period=1")
    shell = ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *command]
    ended = subprocess.run(shell, capture_output=True, text=True, timeout=COLD, check=False)
    assert ended.returncode == 141
    assert ended.stdout.count("\n") == 1
    assert "Traceback" not in ended.stderr
    assert "Error" not in ended.stderr
