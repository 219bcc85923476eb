# SPDX-License-Identifier: BSD-3-Clause
"""A machine made of files whose kernel binds and unbinds, and the command on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.pci_machine import made_machine

from pollmode.devbind import cli
from pollmode.host_report.testing_kernel import FakeKernel

Ran = tuple[int, list[str], list[str]]
Run = Callable[..., Ran]


@pytest.fixture
def host(tmp_path: Path) -> FakeKernel:
    return made_machine(tmp_path / "machine")


@pytest.fixture
def run(host: FakeKernel, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the machine; return its exit code and the lines on standard output and standard error."""

    def run(*words: str) -> Ran:
        code = cli.main(words, host)
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run
