# SPDX-License-Identifier: BSD-3-Clause
"""The folder of the demonstration's socket: gone after a run, and after a killed run with the next one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from pollmode.testpmd import demo


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_folder_is_private_and_goes_with_the_run(tmp_path: Path) -> None:
    with demo._private_folder() as folder:
        assert Path(folder).parent == tmp_path
        assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path) == []


def test_what_a_killed_run_left_goes_and_what_a_living_one_uses_stays(tmp_path: Path) -> None:
    with demo._private_folder() as used:
        left = tmp_path / "testpmd-left"
        left.mkdir()
        (left / "vhost.sock").touch()
        for folder in (left, Path(used)):
            os.utime(folder, (1e9, 1e9))
        (tmp_path / "testpmd-young").mkdir()
        (tmp_path / "testpmd-file").touch()
        with demo._private_folder():
            assert not left.exists()
            assert len(os.listdir(tmp_path)) == 4
        assert sorted(os.listdir(tmp_path)) == sorted([Path(used).name, "testpmd-file", "testpmd-young"])


def test_the_folder_is_locked_while_it_is_used() -> None:
    with demo._private_folder() as folder:
        fd = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
