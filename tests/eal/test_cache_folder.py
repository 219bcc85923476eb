# SPDX-License-Identifier: BSD-3-Clause
"""Where compiled code is kept: in the user's cache, else below the temporary folder; and what is taken away there."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from pollmode.eal import cache_folder
from pollmode.eal.cache_folder import ABANDONED, KEPT, choose_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a temporary folder of the test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(cache_folder, "sources_digest", lambda checked: f"digest{checked}")
    return tmp_path / "home" / "pollmode"


@pytest.fixture
def no_home(home: Path) -> Path:
    """The user's cache is no folder."""
    home.parent.write_text("")
    return home.parent


def test_it_is_in_the_users_cache_and_found_again(home: Path) -> None:
    assert choose_folder(False) == choose_folder(False) == str(home / "digestFalse")
    assert choose_folder(True) == str(home / "digestTrue")


def test_without_a_home_the_temporary_folder_has_it_and_it_is_found_again(tmp_path: Path, no_home: Path) -> None:
    base = tmp_path / "tmp" / f"pollmode-cache-{os.geteuid()}"
    assert choose_folder(False) == choose_folder(False) == str(base / "digestFalse")
    assert base.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "tmp") == [base.name]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_somebody_put_in_the_temporary_folder_is_not_trusted(tmp_path: Path, no_home: Path, kind: str) -> None:
    base = tmp_path / "tmp" / f"pollmode-cache-{os.geteuid()}"
    (tmp_path / "theirs").mkdir()
    if kind == "link":
        base.symlink_to(tmp_path / "theirs")
    else:
        base.write_text("")
    chosen = Path(choose_folder(False))
    assert chosen.parent == tmp_path / "tmp"
    assert chosen != base
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "theirs") == []


def test_a_base_of_another_user_is_not_trusted(tmp_path: Path, no_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp" / "pollmode-cache-4711").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert Path(choose_folder(False)).parent == tmp_path / "tmp"


def test_old_folders_go_and_the_latest_stay(home: Path) -> None:
    for age in range(KEPT + 3):
        (home / f"old{age}").mkdir(parents=True)
        os.utime(home / f"old{age}", (1e9 - age, 1e9 - age))
    choose_folder(False)
    assert sorted(os.listdir(home)) == ["digestFalse", *(f"old{age}" for age in range(KEPT - 1))]


def test_what_a_killed_process_half_wrote_goes_and_what_another_is_writing_stays(home: Path) -> None:
    folder = Path(choose_folder(False)) / "mbuf_0"
    folder.mkdir()
    for name in ("rx.nbi", "rx.1.nbc", "rx.1.nbc.tmp.0123abcd", "tx.1.nbc.tmp.4567cdef"):
        (folder / name).write_text("")
    long_ago = time.time() - ABANDONED - 60
    os.utime(folder / "rx.1.nbc.tmp.0123abcd", (long_ago, long_ago))
    os.utime(folder / "rx.nbi", (long_ago, long_ago))
    choose_folder(False)
    assert sorted(os.listdir(folder)) == ["rx.1.nbc", "rx.nbi", "tx.1.nbc.tmp.4567cdef"]
