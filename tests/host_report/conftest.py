# SPDX-License-Identifier: BSD-3-Clause
"""A machine made of files on which nothing is to mend, and what a check says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pollmode.host_report import CHECKS, Finding, Verdict, examine
from pollmode.host_report.testing import FakeHost, sound_machine

Look = Callable[[str], list[Finding]]
Worst = Callable[[str], Finding]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return sound_machine(tmp_path / "machine")


@pytest.fixture
def look(host: FakeHost) -> Look:
    """Return what a check says, by its name."""
    return lambda name: [finding for _, finding in examine(host, [check for check in CHECKS if check.name == name])]


@pytest.fixture
def only(look: Look) -> Worst:
    """Return the one finding of a check that is not green; there must be exactly one."""

    def find(name: str) -> Finding:
        bad = [finding for finding in look(name) if finding.verdict is not Verdict.GREEN]
        assert len(bad) == 1, look(name)
        return bad[0]

    return find
