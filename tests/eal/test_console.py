# SPDX-License-Identifier: BSD-3-Clause
"""How a command ends: its exit code and what it prints."""

import pytest

from pollmode.eal import console
from pollmode.eal.errors import ConfigError


def _fails() -> int:
    raise ConfigError("burst must be between1 and 512")


def _interrupted() -> int:
    raise KeyboardInterrupt


def test_a_command_ends_with_its_own_code() -> None:
    assert console.run(lambda: 3) == 3


def test_an_error_is_two_lines_and_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(_fails) == 1
    assert capsys.readouterr().err == "EAL: Error - exiting with code: 1\n  Cause: burst must be between1 and 512\n"


def test_the_trace_comes_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(_fails, trace=True) == 1
    assert "in _fails" in capsys.readouterr().err


def test_an_interrupt_ends_as_shells_count() -> None:
    assert console.run(_interrupted) == 130
