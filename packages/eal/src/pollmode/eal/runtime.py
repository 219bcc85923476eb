# SPDX-License-Identifier: BSD-3-Clause
"""The runtime directory of a file prefix, and the lock that lets one process have it.

The lock is flock on a file that also holds the pid of its holder: the kernel gives it up when the process dies, however
it dies, so nothing that is left behind can keep the next start from succeeding.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from pollmode.eal.errors import HostError

__all__ = ["Runtime", "make_directory", "runtime_base"]

LOCK = "pollmode.lock"  # not DPDK's name: a DPDK process may have the same prefix


class Runtime:
    """A file prefix and, unless `files` is false, its locked directory.

    Without files (--no-shconf, --in-memory) `directory` is None and any number of processes share the prefix.
    """

    def __init__(self, prefix: str, *, files: bool = True) -> None:
        self.prefix = prefix
        self.directory: Path | None = None
        self._fd = -1
        if files:
            self.directory = runtime_base() / prefix
            self._fd = self._lock(self.directory)

    def path(self, name: str) -> Path | None:
        """Return where a file of that name belongs, or None when this process leaves no files."""
        return None if self.directory is None else self.directory / name

    def close(self) -> None:
        """Give the prefix back and remove what is ours of the directory. Closing twice is no error."""
        if self._fd < 0 or self.directory is None:
            return
        (self.directory / LOCK).unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1
        try:
            self.directory.rmdir()
        except OSError:  # others keep files here: DPDK does not clean up
            pass

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self, directory: Path) -> int:
        """Return the descriptor of the lock file, held. A holder that ends takes its file away: then try again."""
        path = directory / LOCK
        while True:
            try:
                make_directory(directory)
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._no_directory(directory, error) from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = self._held(path, fd)
                os.close(fd)
                raise held from None
            if _same_file(fd, path):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
            os.close(fd)

    def _held(self, path: Path, fd: int) -> HostError:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
        who = f"process {pid}{_command(pid)}" if pid.isdigit() else "another process"
        told = f"Cannot create lock on '{path}'. Is another primary process running? {who} has the file prefix "
        mend = "end it, or start with another --file-prefix"
        return HostError(f"{told}{self.prefix!r}", mend=mend, errno=errno.EAGAIN)

    def _no_directory(self, directory: Path, error: OSError) -> HostError:
        told = f"cannot use the runtime directory {directory}: {error.strerror}"
        if error.errno == errno.ENAMETOOLONG:
            return HostError(told, mend="choose a shorter --file-prefix", errno=error.errno)
        mend = "set XDG_RUNTIME_DIR to a directory of yours, or start with --in-memory"
        return HostError(told, mend=mend, errno=error.errno)


def make_directory(directory: Path) -> None:
    """Make a directory that any process may remove again at once: who goes on to use it sees FileNotFoundError then.

    (`Path.mkdir` looks again at what exists, and takes a directory that went meanwhile for a file in its place.)
    """
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)


def runtime_base() -> Path:
    """Return the directory above those of the file prefixes: DPDK's, or one of ours where DPDK's is not to be used.

    That is $RUNTIME_DIRECTORY/dpdk, else /var/run/dpdk for root, else $XDG_RUNTIME_DIR/dpdk, else /tmp/dpdk; a variable
    left over from another user, or a /tmp/dpdk that is another user's, is passed over for /tmp/dpdk-UID.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0]) / "dpdk"
    if os.geteuid() == 0:
        return Path("/var/run/dpdk")
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if session and os.access(session, os.W_OK | os.X_OK):
        return Path(session) / "dpdk"
    shared = Path("/tmp/dpdk")
    if not shared.exists() or shared.stat().st_uid == os.geteuid():
        return shared
    return Path(f"/tmp/dpdk-{os.geteuid()}")


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _command(pid: str) -> str:
    """Return the program of a process for people, " (testpmd)", or nothing when it is not known."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    program, first, second = [*words, "", ""][:3]
    script = f"-m {second}" if first == "-m" else os.path.basename(first) if not first.startswith("-") else ""
    told = f"{os.path.basename(program)} {script}".strip()
    return f" ({told})" if told and told.isprintable() else ""
