# SPDX-License-Identifier: BSD-3-Clause
"""System, interpreter, libraries and the code cache: each verdict on a machine made of files."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from pollmode.eal import cache_folder
from pollmode.host_report import Host, Verdict
from pollmode.host_report.testing import FakeHost

CACHE = "/home/user/.cache/pollmode"


@pytest.mark.parametrize("facts", [("Linux", "6.12.0", "aarch64"), ("Darwin", "24.1", "x86_64")])
def test_a_system_that_nothing_is_compiled_for(facts: tuple[str, str, str], host: FakeHost, only) -> None:
    host.system_facts = facts
    assert only("system").verdict is Verdict.RED
    assert facts[2] in only("system").text


@pytest.mark.parametrize("facts", [("CPython", "3.10.12"), ("PyPy", "3.11.9")])
def test_an_interpreter_that_will_not_do(facts: tuple[str, str], host: FakeHost, only) -> None:
    host.python_facts = (*facts, "python3")
    assert only("python").verdict is Verdict.RED
    assert only("python").mend == "python3.11 start.py"


def test_newer_interpreters_will_do(host: FakeHost, look) -> None:
    host.python_facts = ("CPython", "3.14.0rc1", "python3")
    assert look("python")[0].verdict is Verdict.GREEN


def test_a_library_that_is_not_installed(host: FakeHost, only) -> None:
    del host.libraries["numba"]
    assert only("libraries").verdict is Verdict.RED
    assert only("libraries").mend == "python3 -m pip install 'numba<0.70,>=0.63'"


@pytest.mark.parametrize("version", ["0.62.1", "0.70.0", "1.0"])
def test_a_version_that_was_not_tried(version: str, host: FakeHost, only) -> None:
    host.libraries["numba"] = version
    assert only("libraries").verdict is Verdict.YELLOW
    assert only("libraries").text.startswith(f"numba {version} is not of numba<0.70,>=0.63")


@pytest.mark.parametrize("version", ["0.63", "0.63.0", "0.69.9"])
def test_versions_within_the_bounds(version: str, host: FakeHost, look) -> None:
    host.libraries["numba"] = version
    assert [finding.text for finding in look("libraries")] == [f"numba {version}, numpy 2.4.0"]


def test_this_installation_names_what_it_needs() -> None:
    needed = Host().requirements()
    assert any(word.startswith("numba") for word in needed)
    assert not any(word.startswith("pollmode") for word in needed)
    assert Host().version("numba") == numba.__version__
    assert Host().version("no-such-library") is None
    assert {"testpmd", "l2fwd", "doctor"} <= Host().commands()


def test_the_digest_is_that_of_the_folder_compiled_code_is_kept_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Host().cache_base == str(tmp_path / "pollmode")
    assert cache_folder.choose_folder(False) == f"{Host().cache_base}/{Host().cache_digest}"


def test_a_cold_cache_and_older_versions_are_told(host: FakeHost, look) -> None:
    host.write(f"{CACHE}/0ld/code", "x" * 2047)
    assert look("code cache")[0].text == "~/.cache/pollmode holds the present code (2 KiB, 1 older version)"
    host.digest = "0ther"
    assert look("code cache")[0].text.startswith("~/.cache/pollmode has no code of these sources: the first start")
    assert look("code cache")[0].verdict is Verdict.GREEN


def test_a_cache_that_can_be_made_will_do(host: FakeHost, look) -> None:
    host.remove("/home/user/.cache")
    assert look("code cache")[0].verdict is Verdict.GREEN


def test_a_cache_that_cannot_be_written_costs_time(host: FakeHost, only) -> None:
    host.denied.add(CACHE)
    assert only("code cache").verdict is Verdict.YELLOW
    told = "~/.cache/pollmode is not yours to write: compiled code is kept in /tmp, until the machine starts anew"
    assert only("code cache").text == told
    host.denied.add("/tmp")
    assert only("code cache").verdict is Verdict.RED


def test_a_full_disk(host: FakeHost, only) -> None:
    host.free = 5 << 20
    assert only("code cache").text == "5 MiB free at ~/.cache/pollmode"


def test_folders_of_runs_without_a_cache(host: FakeHost, only) -> None:
    host.write("/tmp/pollmode-cache-abc/index", "x" * 1023)
    host.folder("/tmp/pollmode-cache-def")
    assert only("code cache").text == "2 folders of earlier runs without a cache, 1 KiB"
    assert only("code cache").mend == "rm -r /tmp/pollmode-cache-abc /tmp/pollmode-cache-def"


def test_the_folder_in_use_without_a_home_is_not_to_be_removed(host: FakeHost, look) -> None:
    host.write(f"/tmp/pollmode-cache-{host.uid}/code", "x")
    assert look("code cache")[-1].mend == f"rm -r /tmp/pollmode-cache-{host.uid}"
    host.denied.add(CACHE)
    assert [finding.mend.split()[0] for finding in look("code cache")] == ["export"]
