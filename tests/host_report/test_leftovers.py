# SPDX-License-Identifier: BSD-3-Clause
"""What earlier runs left: locks, sockets and pids on a machine made of files, and processes that are killed."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollmode.eal.errors import HostError
from pollmode.eal.hugepages import Mount
from pollmode.eal.runtime import LOCK
from pollmode.host_report import Leftover, Verdict, dead_leftovers, remove
from pollmode.host_report.leftovers import is_alive
from pollmode.host_report.testing import FakeHost, touched

BASE = "/run/user/1000/dpdk"
DEAD_PID = 4_194_305  # above the kernel's largest pid, 2^22
HOUR = 3600.0


def leave(host: FakeHost, prefix: str, *names: str, pid: int | None = None) -> str:
    """Leave a runtime directory that was changed an hour ago; return its path."""
    folder = f"{BASE}/{prefix}"
    host.folder(folder)
    for name in names:
        host.write(f"{folder}/{name}", pid if name == LOCK and pid else "")
    for path in (*(f"{folder}/{name}" for name in names), folder):
        touched(host, path, HOUR)
    return folder


def dead(host: FakeHost) -> list[str]:
    return [leftover.path for leftover in dead_leftovers(host)]


def test_the_directory_of_a_dead_process(host: FakeHost, only) -> None:
    folder = leave(host, "rte", LOCK, "dpdk_telemetry.v2", pid=DEAD_PID)
    assert only("leftovers").verdict is Verdict.YELLOW
    assert only("leftovers").text == f"1 runtime directory of ended processes: {folder}"
    assert only("leftovers").mend == "doctor --fix-leftovers"
    host.denied.add(BASE)
    assert only("leftovers").mend == 'sudo "$(command -v doctor)" --fix-leftovers'


def test_many_are_told_in_one_line(host: FakeHost, only) -> None:
    for number in range(5):
        leave(host, f"p{number}", LOCK)
    assert only("leftovers").text == f"5 runtime directories of ended processes: {BASE}/p0, {BASE}/p1, {BASE}/p2 ..."


def test_a_flock_is_a_life(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    assert dead(host) == [folder]
    with open(host.at(f"{folder}/{LOCK}")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert dead(host) == []
        assert is_alive(host, folder)
        with pytest.raises(HostError, match="in use again"):
            remove(host, Leftover("runtime directory", folder))
    assert dead(host) == [folder]


def test_a_shared_flock_of_another_file_is_a_life(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, "fbarray_memzone", pid=DEAD_PID)
    with open(host.at(f"{folder}/fbarray_memzone")) as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert dead(host) == []


def test_a_look_holds_no_lock(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    assert dead(host) == [folder]
    with open(host.at(f"{folder}/{LOCK}")) as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture
def record_locker(host: FakeHost) -> Iterator[str]:
    """Another process that has DPDK's lock on `config`; return its runtime directory."""
    folder = leave(host, "dpdk", "config")
    code = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, str(host.at(f"{folder}/config"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield folder


def test_dpdks_record_lock_is_a_life(host: FakeHost, record_locker: str) -> None:
    assert is_alive(host, record_locker)
    assert dead(host) == []


def test_dpdks_directory_without_a_lock_is_dead(host: FakeHost) -> None:
    folder = leave(host, "dpdk", "config", "fbarray_memzone")
    assert dead(host) == [folder]


def test_the_pid_of_a_lock_is_a_life(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=4321)
    assert dead(host) == [folder]
    host.add_process(4321, "anything")
    assert dead(host) == []


def test_a_bound_socket_is_a_life(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, "dpdk_telemetry.v2", pid=DEAD_PID)
    host.write(
        "/proc/net/unix", f"Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 1 5 1 77 {folder}/dpdk_telemetry.v2"
    )
    assert dead(host) == []


def test_a_socket_may_live_in_another_network_namespace(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    os.mknod(host.at(f"{folder}/telemetry"), stat.S_IFSOCK | 0o600)
    for path in (f"{folder}/telemetry", folder):
        touched(host, path, HOUR)
    assert dead(host) == []


def test_what_changed_within_a_minute_may_be_starting(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    os.utime(host.at(f"{folder}/{LOCK}"))
    assert dead(host) == []


def test_a_directory_with_more_than_files_is_not_ours(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    host.folder(f"{folder}/inner")
    touched(host, f"{folder}/inner", HOUR)
    touched(host, folder, HOUR)
    assert dead(host) == []


def test_a_directory_that_may_not_be_read_is_left(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, pid=DEAD_PID)
    host.denied.add(folder)
    assert dead(host) == []


def test_a_dead_directory_is_removed_whole_and_alone(host: FakeHost) -> None:
    folder = leave(host, "rte", LOCK, "config", pid=DEAD_PID)
    leave(host, "other", LOCK, pid=4321)
    host.add_process(4321, "anything")
    for leftover in dead_leftovers(host):
        remove(host, leftover)
    assert host.names(BASE) == ["other"]
    assert host.names(f"{BASE}/other") == [LOCK]
    with pytest.raises(HostError, match="in use again"):
        remove(host, Leftover("runtime directory", folder))


def test_hugepage_files_nobody_has(host: FakeHost, only) -> None:
    host.write("/dev/hugepages/rtemap_0", "x" * 2047)
    host.write("/dev/hugepages/notes", "")
    assert only("leftovers").text == "1 hugepage file of ended processes, 2 KiB: /dev/hugepages/rtemap_0"
    with open(host.at("/dev/hugepages/rtemap_0")) as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert dead(host) == []
    (leftover,) = dead_leftovers(host)
    remove(host, leftover)
    assert host.names("/dev/hugepages") == ["notes"]


def test_a_link_among_hugepage_files_is_left(host: FakeHost) -> None:
    host.mounts = [Mount("/dev/hugepages", 2 << 20)]
    host.write("/elsewhere", "")
    host.link_to("/dev/hugepages/rtemap_1", str(host.at("/elsewhere")))
    assert dead(host) == []


def test_sockets_of_a_demonstration_are_told_and_left(host: FakeHost, only, look) -> None:
    host.write("/tmp/testpmd-abc/vhost.sock", "")
    assert only("leftovers").mend == "rm -r /tmp/testpmd-abc"
    assert dead(host) == []
    host.write("/proc/net/unix", "0: 2 0 1 1 1 77 /tmp/testpmd-abc/vhost.sock")
    assert look("leftovers")[0].verdict is Verdict.GREEN


def test_shared_memory_is_told_and_left(host: FakeHost, only) -> None:
    host.write("/dev/shm/pollmode-x", "")
    host.write("/dev/shm/sem.other", "")
    assert only("leftovers").mend == "fuser -v /dev/shm/pollmode-x || rm /dev/shm/pollmode-x"
    assert dead(host) == []


def test_a_killed_process_leaves_what_is_found_and_a_living_one_nothing(host: FakeHost, tmp_path: Path) -> None:
    """The real thing: an environment is started in a runtime directory, looked at, killed and looked at again."""
    code = (
        "import sys\n"
        "from pollmode.eal.runtime import Runtime\n"
        "runtime = Runtime('killed')\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    base = str(host.at(os.path.dirname(BASE)))
    words = {**os.environ, "RUNTIME_DIRECTORY": base}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=words
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        folder = f"{BASE}/killed"
        for path in (f"{folder}/{LOCK}", folder):
            touched(host, path, HOUR)
        assert is_alive(host, folder)
        assert dead(host) == []
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    deadline = time.monotonic() + 60
    while is_alive(host, folder) and time.monotonic() < deadline:  # the kernel gives the lock up
        time.sleep(0.01)
    assert dead(host) == [folder]
    remove(host, dead_leftovers(host)[0])
    assert host.names(BASE) == []
