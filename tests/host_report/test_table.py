# SPDX-License-Identifier: BSD-3-Clause
"""The table as a whole: every check on a sound machine, on an empty one, on this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pollmode.host_report
from pollmode.host_report import CHECKS, Check, Finding, Host, Verdict, examine
from pollmode.host_report.testing import FakeHost


def test_a_sound_machine_is_all_green(host: FakeHost) -> None:
    findings = [(check.name, finding) for check, finding in examine(host)]
    assert [pair for pair in findings if pair[1].verdict is not Verdict.GREEN] == []
    assert {name for name, _ in findings} == {check.name for check in CHECKS}


def test_names_are_there_once_and_say_what_is_looked_at() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.looks_at for check in CHECKS)


@pytest.mark.parametrize("machine", ["empty", "this one"])
def test_whatever_is_not_green_says_how_to_mend_it(machine: str, tmp_path: Path) -> None:
    findings = list(examine(FakeHost(tmp_path) if machine == "empty" else Host()))
    assert {check.name for check, _ in findings} == {check.name for check in CHECKS}
    for check, finding in findings:
        assert finding.text, check.name
        assert bool(finding.mend) == (finding.verdict is not Verdict.GREEN), (check.name, finding)
        assert "\n" not in finding.text + finding.mend
        assert "in a way that is not known" not in finding.text, (check.name, finding)


def test_a_machine_without_files_can_still_run(tmp_path: Path) -> None:
    """Not to know is no reason to stop anyone: only what was seen to be wrong is red."""
    bare = FakeHost(tmp_path)
    bare.folder("/tmp")
    bare.folder("/run/user/1000")
    bare.write("/sys/devices/system/cpu/online", "0-1")
    assert [pair for pair in examine(bare) if pair[1].verdict is Verdict.RED] == []


@pytest.mark.parametrize("error", [OSError("no such thing"), ValueError("abc"), IndexError("list")])
def test_a_check_that_fails_stops_no_other(error: Exception, host: FakeHost) -> None:
    def fail(_host: Host) -> Iterator[Finding]:
        raise error

    broken = Check("broken", "nothing", fail)
    said = [(check.name, finding) for check, finding in examine(host, [broken, CHECKS[0]])]
    assert [name for name, _ in said] == ["broken", "system"]
    assert said[0][1].verdict is Verdict.YELLOW
    assert str(error) in said[0][1].text
    assert said[1][1].verdict is Verdict.GREEN


def test_files_that_hold_junk_stop_no_check(host: FakeHost) -> None:
    for path in host.root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff junk, (null)\n-1 x")
    said = {check.name for check, _ in examine(host)}
    assert said == {check.name for check in CHECKS}


def test_the_face_is_complete() -> None:
    for name in pollmode.host_report.__all__:
        assert getattr(pollmode.host_report, name) is not None
