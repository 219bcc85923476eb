# SPDX-License-Identifier: BSD-3-Clause
"""What somebody at the command line is told about a socket: one line that names it, exit code 1, and no hanging."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.program import Program

from pollmode.net_virtio import user
from pollmode.testpmd import cli

pytestmark = pytest.mark.timeout(600)

COLD = 400.0
"""Seconds for a start that has to compile on a busy machine."""
HOLD = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('sock'); s.listen(); print('on', flush=True); input()"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # pytest's own paths can be longer than a socket's may be
    return "sock"


@pytest.fixture
def silent(path: str) -> Iterator[str]:
    """A socket whose owner takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(8)  # the kernel takes them
        yield path


def words(*vdevs: str) -> list[str]:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-1)@({cpus})"]
    return [*eal, *(word for vdev in vdevs for word in ("--vdev", vdev)), "--", "--total-num-mbufs=2048"]


def cause(capfd: pytest.CaptureFixture[str], *vdevs: str) -> str:
    """Run testpmd, which must end with code 1; return the line that says why."""
    assert cli.main(words(*vdevs)) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[-2] == "EAL: Error - exiting with code: 1"
    assert lines[-1].startswith("  Cause: ")
    return lines[-1]


def test_a_peer_that_never_answers(
    silent: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "_START_SECONDS", 0.3)
    told = cause(capfd, f"net_virtio_user0,path={silent}")
    assert "net_virtio_user0: no answer within the 0.3 s of all requests together" in told
    assert "GET_FEATURES" in told
    assert "is what listens at 'sock' a vhost-user back end?" in told


def test_a_signal_while_a_silent_peer_is_waited_for(silent: str) -> None:
    program = Program([sys.executable, "-m", "pollmode.testpmd", *words(f"net_virtio_user0,path={silent}")])
    try:
        end = time.monotonic() + COLD
        while "waiting for the vhost back end at 'sock' to answer GET_FEATURES, 10 s at most" not in program.log():
            assert program.process.poll() is None, program.log()
            assert time.monotonic() < end, program.log()
            time.sleep(0.02)
        assert program.interrupt() == 1
        assert "Cause: net_virtio_user0: told to stop while waiting for the vhost back end" in program.log()
    finally:
        program.close()


def test_nobody_listens_and_a_stale_socket(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    way_out = "start the peer first, or use server=1"
    assert f"there is no such socket; {way_out}" in cause(capfd, f"net_virtio_user0,path={path}")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    assert f"nobody listens there; {way_out}" in cause(capfd, f"net_virtio_user0,path={path}")


@pytest.mark.parametrize("vdev", ["net_virtio_user0,path=", "net_virtio_user0,server=1,path=", "net_vhost0,iface="])
def test_a_path_that_cannot_be(path: str, capfd: pytest.CaptureFixture[str], vdev: str) -> None:
    assert "there is no directory 'no/where'" in cause(capfd, f"{vdev}no/where/sock")
    assert "107" in cause(capfd, f"{vdev}{'x' * 108}")
    Path("file").touch()
    assert "is a file that is no socket" in cause(capfd, f"{vdev}file")


@pytest.mark.parametrize("kind", ["net_virtio_user{},server=1,path=sock", "net_vhost{},iface=sock"])
def test_a_path_given_twice(path: str, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    told = cause(capfd, kind.format(0), kind.format(1))
    assert "'sock' is in use by this process itself" in told
    assert not os.path.exists(path)


def test_a_path_where_another_process_listens(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    other = Program([sys.executable, "-c", HOLD], keyboard=True)
    try:
        other.wait_for("on")
        for vdev in ("net_virtio_user0,server=1,path=sock", "net_vhost0,iface=sock"):
            told = cause(capfd, vdev)
            assert f"'sock' is in use by process {other.process.pid}; end it or choose another path" in told
        assert os.path.exists(path)
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect everywhere: run the tests as an ordinary user")
def test_a_socket_without_permission(silent: str, capfd: pytest.CaptureFixture[str]) -> None:
    os.chmod(silent, 0o400)
    told = cause(capfd, f"net_virtio_user0,path={silent}")
    assert "socket 'sock': Permission denied; check the permissions" in told
