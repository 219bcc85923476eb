# SPDX-License-Identifier: BSD-3-Clause
"""How a command ends: its exit code and what it prints."""

import os
import subprocess
import sys

import pytest

from pollmode.eal import console
from pollmode.eal.errors import ConfigError


def _fails() -> int:
    raise ConfigError("burst must be between1 and 512")


def test_a_command_ends_with_its_own_code() -> None:
    assert console.run(lambda: 3) == 3


def test_an_error_is_two_lines_and_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(_fails) == 1
    assert capsys.readouterr().err == "EAL: Error - exiting with code: 1\n  Cause: burst must be between1 and 512\n"


def test_the_trace_comes_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(_fails, trace=True) == 1
    assert "in _fails" in capsys.readouterr().err


def _ends(shell_words: str, body: str) -> subprocess.CompletedProcess[str]:
    """Run a command that prints under a shell's redirections."""
    program = f"import sys; from pollmode.eal import console; sys.exit(console.run(lambda: {body}))"
    command = ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {shell_words}', sys.executable, program]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, env=buffered, capture_output=True, text=True, timeout=60, check=False)


def test_an_output_that_is_full_is_one_clear_error() -> None:
    ended = _ends(">/dev/full", "print('x' * 1000000)")
    assert ended.returncode == 1
    assert ended.stderr == (
        "EAL: Error - exiting with code: 1\n  Cause: cannot write the output: No space left on device\n"
    )


@pytest.mark.parametrize("into", ["| true", "2>&1 | true"], ids=["output", "both"])
def test_an_output_nobody_reads_ends_the_command_without_a_word(into: str) -> None:
    # more than a pipe holds, so that it fails whenever the reader ends
    ended = _ends(into, "print('x' * 1000000)")
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("into", [">/dev/full", ">/dev/full 2>/dev/full", "| true", "2>&1 | true", ">&- 2>&-"])
def test_an_error_is_code_one_whatever_became_of_the_outputs(into: str) -> None:
    ended = _ends(into, "print('x') or (_ for _ in ()).throw(console.PollmodeError('no such port'))")
    assert ended.returncode == 1
    if into in (">/dev/full", "| true"):
        assert ended.stderr == "EAL: Error - exiting with code: 1\n  Cause: no such port\n"
    else:
        assert ended.stderr == ""


def test_streams_that_were_closed_lead_nowhere() -> None:
    ended = _ends("<&- >&- 2>&-", "print('x', sys.stdin.read()) or print('y', file=sys.stderr) or 3")
    assert ended.returncode == 3
