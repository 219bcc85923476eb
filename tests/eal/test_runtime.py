# SPDX-License-Identifier: BSD-3-Clause
"""The file prefix: one process has it, the next is told who, and death leaves nothing in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollmode.eal import runtime as runtime_module
from pollmode.eal.errors import HostError
from pollmode.eal.runtime import Runtime, runtime_base

HOLDER = """
import sys
from pollmode.eal.runtime import Runtime
runtime = Runtime("rte")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path / "dpdk"


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_directory_is_made_for_its_owner_alone(base: Path) -> None:
    with Runtime("rte") as runtime:
        assert runtime.directory == base / "rte"
        assert (base / "rte").stat().st_mode & 0o777 == 0o700
        assert runtime.path("x.sock") == base / "rte" / "x.sock"


def test_nothing_is_left_after_close(base: Path) -> None:
    runtime = Runtime("rte")
    runtime.close()
    runtime.close()
    assert os.listdir(base) == []


def test_files_of_others_are_left_alone(base: Path) -> None:
    (base / "rte").mkdir(parents=True)
    (base / "rte" / "config").touch()
    with Runtime("rte"):
        pass
    assert os.listdir(base / "rte") == ["config"]


def test_the_second_process_is_told_who_has_the_prefix(base: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(HostError) as caught:
        Runtime("rte")
    told = str(caught.value)
    assert told.startswith(f"Cannot create lock on '{base}/rte/pollmode.lock'. Is another primary process running? ")
    assert f"process {holder.pid} ({Path(sys.executable).name}) has" in told
    assert "has the file prefix 'rte'; end it, or start with another --file-prefix" in told
    assert "\n" not in told


def test_another_prefix_is_free(holder: subprocess.Popen[bytes]) -> None:
    with Runtime("other") as runtime:
        assert runtime.prefix == "other"


def test_a_killed_holder_is_no_obstacle(base: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (base / "rte" / "pollmode.lock").exists()
    with Runtime("rte"):
        assert (base / "rte" / "pollmode.lock").read_text() == f"{os.getpid()}\n"
    assert os.listdir(base) == []


def test_one_process_cannot_have_a_prefix_twice() -> None:
    with Runtime("rte"), pytest.raises(HostError, match=f"process {os.getpid()} "):
        Runtime("rte")


def test_a_holder_that_has_not_written_its_pid_yet_is_still_a_holder(base: Path) -> None:
    with Runtime("rte"):
        (base / "rte" / "pollmode.lock").write_text("")
        with pytest.raises(HostError, match=r"running\? another process has the file prefix 'rte'"):
            Runtime("rte")


def test_the_lock_file_of_a_holder_that_just_ended_is_not_taken(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])  # the first file was removed between opening and locking it
    monkeypatch.setattr(runtime_module, "_same_file", lambda _fd, _path: next(answers))
    before = len(os.listdir("/proc/self/fd"))
    with Runtime("rte"):
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert next(answers, None) is None


def test_without_files_a_prefix_is_shared_and_nothing_is_made(base: Path) -> None:
    with Runtime("rte", files=False) as one, Runtime("rte", files=False) as other:
        assert one.directory is other.directory is None
        assert one.path("x") is None
    assert not base.exists()


def test_a_directory_that_cannot_be_made_is_a_clear_error(base: Path) -> None:
    base.write_text("a file")
    with pytest.raises(HostError, match=rf"cannot use the runtime directory {base}/rte: .*--in-memory"):
        Runtime("rte")


def test_a_prefix_too_long_for_a_file_name_is_a_clear_error() -> None:
    with pytest.raises(HostError, match="File name too long; choose a shorter --file-prefix"):
        Runtime("x" * 300)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([b"/usr/bin/testpmd", b"-l", b"0"], " (testpmd)"),
        ([b"/usr/bin/python3", b"/opt/bin/testpmd", b"--no-huge"], " (python3 testpmd)"),
        ([b"python", b"-m", b"pollmode.testpmd"], " (python -m pollmode.testpmd)"),
        ([b"python", b"-c", b"import x\nx.run()"], " (python)"),
        ([b"", b""], ""),
        ([b"\x1b[31mred"], ""),
    ],
)
def test_a_holder_is_named_by_its_program(monkeypatch: pytest.MonkeyPatch, words: list[bytes], told: str) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _path: b"\0".join(words) + b"\0")
    assert runtime_module._command("1") == told


# Where it is


def test_root_uses_the_systems_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_base() == Path("/var/run/dpdk")


def test_a_user_uses_the_directory_of_the_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_base() == tmp_path / "dpdk"


def test_a_directory_of_another_login_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/run/user/0")
    assert runtime_base() in (Path("/tmp/dpdk"), Path("/tmp/dpdk-12345"))


def test_a_tmp_dpdk_of_another_user_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    monkeypatch.setattr(Path, "stat", lambda _path: os.stat("/"))
    assert runtime_base() == Path("/tmp/dpdk-12345")
