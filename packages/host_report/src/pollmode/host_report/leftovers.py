# SPDX-License-Identifier: BSD-3-Clause
"""What earlier runs left behind, and what of it is provably dead.

Who lives holds a lock: Pollmode's flock on the lock file of its runtime directory and on its hugepage file; DPDK's
record lock on `config`, and flock on its hugepage files and arrays; or a socket that is bound. The kernel gives all of
these up when a process ends, however it ends, so what has none of them, and was not touched for a minute, is dead.
Other files (sockets elsewhere, shared memory) give no such proof: they are only told.

A look takes no lock before it has seen that the others are free, and lets it go at once.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from pollmode.eal.errors import HostError
from pollmode.eal.hugepages import format_size
from pollmode.eal.runtime import LOCK
from pollmode.host_report.finding import Finding, counted, green, yellow
from pollmode.host_report.host import Host

__all__ = ["Leftover", "dead_leftovers", "is_alive", "leftovers", "remove"]

SETTLED = 60.0
"""Seconds without a change after which a directory is not one of a process that is starting."""
HUGE_FILE = re.compile(r".+map_\d+")
FIX = "doctor --fix-leftovers"
FLOCK = struct.Struct("hhqqi4x")  # struct flock of fcntl(2) on x86-64: type, whence, start, length, pid


@dataclass(frozen=True)
class Leftover:
    """A runtime directory or hugepage file of a process that has ended; `path` is the machine's."""

    kind: str
    path: str


def dead_leftovers(host: Host) -> list[Leftover]:
    """Return what is provably dead."""
    found = []
    bound = _bound_sockets(host)
    for base in _bases(host):
        paths = [f"{base}/{name}" for name in host.names(base)]
        found += [Leftover("runtime directory", path) for path in paths if _is_dead_folder(host, path, bound)]
    for mount in host.hugetlbfs_mounts():
        paths = [f"{mount.path}/{name}" for name in host.names(mount.path) if HUGE_FILE.fullmatch(name)]
        found += [Leftover("hugepage file", path) for path in paths if _is_dead_file(host.at(path))]
    return found


def _bases(host: Host) -> list[str]:
    candidates = [host.runtime_base, "/var/run/dpdk", "/tmp/dpdk", f"/tmp/dpdk-{host.uid}"]
    folders: dict[tuple[int, int], str] = {}
    for path in candidates:
        try:
            status = host.at(path).stat()
        except OSError:
            continue
        folders.setdefault((status.st_dev, status.st_ino), path)
    return list(folders.values())


def _is_dead_folder(host: Host, path: str, bound: Set[str]) -> bool:
    return host.may(path, os.R_OK | os.X_OK) and _is_settled(host.at(path)) and not _is_alive(host, path, bound)


def _is_settled(folder: Path) -> bool:
    """Whether it is a directory of plain files, none of them changed within the last minute."""
    latest = time.time() - SETTLED
    try:
        status = [folder.lstat(), *(entry.stat(follow_symlinks=False) for entry in os.scandir(folder))]
    except OSError:
        return False
    plain = all(stat.S_ISREG(one.st_mode) for one in status[1:])  # a socket may live in another network namespace
    return plain and stat.S_ISDIR(status[0].st_mode) and all(one.st_mtime < latest for one in status)


def is_alive(host: Host, folder: str) -> bool:
    """Whether a process has the runtime directory: a lock in either manner, a bound socket, or the pid of the lock."""
    return _is_alive(host, folder, _bound_sockets(host))


def _is_alive(host: Host, folder: str, bound: Set[str]) -> bool:
    paths = [f"{folder}/{name}" for name in host.names(folder)]
    files = [host.at(path) for path in paths]
    if any(_record_lock(file) for file in files) or _holder(host, folder):
        return True
    return not bound.isdisjoint({*paths, *map(os.path.realpath, files)}) or any(_flocked(file) for file in files)


def _bound_sockets(host: Host) -> Set[str]:
    """Return the paths of the sockets that processes of this network namespace have bound."""
    return {line.split()[-1] for line in host.text("/proc/net/unix").splitlines() if line.strip()}


def _holder(host: Host, folder: str) -> bool:
    pid = host.text(f"{folder}/{LOCK}")
    return pid.isdigit() and host.exists(f"/proc/{pid}")


def _record_lock(path: Path) -> bool:
    """Whether another process has a record lock on a plain file; a look that has no effect on anyone."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            told = fcntl.fcntl(file, fcntl.F_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return True  # what may not be opened may be anyone's
    return bool(FLOCK.unpack(told)[0] != fcntl.F_UNLCK)


def _flocked(path: Path) -> bool:
    """Whether a process holds a flock on a plain file."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _is_dead_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not _record_lock(path) and not _flocked(path)


def remove(host: Host, leftover: Leftover) -> None:
    """Remove a leftover, held locked meanwhile. Raises HostError when it lives again or is not ours to remove."""
    path = host.at(leftover.path)
    folder = leftover.kind == "runtime directory"
    lock = path / LOCK if folder else path
    try:
        with open(lock if lock.exists() else os.devnull, "rb") as held:
            dead = _is_dead_folder(host, leftover.path, _bound_sockets(host)) if folder else _is_dead_file(path)
            if not dead:
                raise HostError(f"{leftover.path} is in use again")
            if lock.exists():
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder:
                _remove_folder(path)
            else:
                path.unlink()
    except OSError as error:
        raise HostError(f"cannot remove {leftover.path}: {error.strerror}", mend=f"run: sudo {FIX}") from error


def _remove_folder(path: Path) -> None:
    for entry in path.iterdir():
        entry.unlink()
    path.rmdir()


def leftovers(host: Host) -> Iterator[Finding]:
    """Say what earlier runs left."""
    findings = [*_told_dead(host), *_stray(host)]
    yield from findings or [green("none")]


def _told_dead(host: Host) -> Iterator[Finding]:
    found = dead_leftovers(host)
    for kind, plural in (("runtime directory", "runtime directories"), ("hugepage file", "hugepage files")):
        paths = [leftover.path for leftover in found if leftover.kind == kind]
        if not paths:
            continue
        ours = all(host.may(os.path.dirname(path), os.W_OK | os.X_OK) for path in paths)
        size = sum(host.at(path).stat().st_size for path in paths) if kind == "hugepage file" else 0
        held = f", {format_size(size)}" if size else ""
        text = f"{len(paths)} {plural if len(paths) > 1 else kind} of ended processes{held}: {_some(paths)}"
        yield yellow(text, FIX if ours else f'sudo "$(command -v doctor)"{FIX.removeprefix("doctor")}')


def _stray(host: Host) -> Iterator[Finding]:
    """Tell what looks abandoned without a proof: the demonstration's sockets and shared memory."""
    bound = _bound_sockets(host)
    demos = [f"/tmp/{name}" for name in host.names("/tmp") if name.startswith("testpmd-")]
    demos = [path for path in demos if host.exists(f"{path}/vhost.sock") and f"{path}/vhost.sock" not in bound]
    if demos:
        yield yellow(
            f"{counted(len(demos), 'socket folder')} of a demonstration: {_some(demos)}", f"rm -r {' '.join(demos)}"
        )
    names = host.names("/dev/shm")
    shared = [f"/dev/shm/{name}" for name in names if name.startswith(("pollmode", "rte_", "dpdk"))]
    for path in shared:
        yield yellow(f"shared memory {path} may be abandoned", f"fuser -v {path} || rm {path}")


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (" ..." if len(paths) > 3 else "")
