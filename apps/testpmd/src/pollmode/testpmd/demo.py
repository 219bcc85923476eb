# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration: a vhost port and a virtio port joined in one process, with packets going round between them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pollmode.eal.errors import ConfigError
from pollmode.eal.stopper import Stopper
from pollmode.testpmd.options import parse

__all__ = ["run"]

BURSTS = 8
"""Bursts put on the way at the start: as many packets as circulate, less than a ring of 256 holds."""

SECONDS = 10.0
"""How long the demonstration lasts unless it is said."""

PREFIX = "testpmd-"
YOUNG = 60.0
"""Seconds in which a folder that was just made is locked, with room to spare."""


def run(words: Sequence[str], seconds: float | None) -> int:
    """Forward for so many seconds, with `words` added to testpmd's own options; return the exit code.

    Without a number it is SECONDS, or until the dashboard is left. Needs neither root nor hugepages, and leaves nothing
    behind: the socket is in a private temporary folder.
    """
    if seconds is not None and not 0 < seconds <= 86400:
        raise ConfigError(f"--seconds is {seconds:g}, it must be above 0 and at most 86400")
    tui = parse(words).tui
    options = parse([f"--tx-first={BURSTS}", *([] if tui else ["--stats-period=1"]), *words])
    if seconds is None:
        seconds = 0 if tui else SECONDS
    from pollmode.testpmd import application  # slow: until a Stopper is there a signal ends the process at once

    with Stopper(), _private_folder() as folder:
        socket = os.path.join(folder, "vhost.sock")
        # Ports close in order, so the virtio port sees its vhost port go: nothing to warn of here.
        eal_words = ["--no-huge", "--in-memory", "--no-pci", "--log-level=pmd.net.virtio.*:critical"]
        eal_words += ["--vdev", f"net_vhost0,iface={socket}", "--vdev", f"net_virtio_user0,path={socket}"]
        return application.run(eal_words, options, seconds=seconds)


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """Make a folder for the socket, locked as long as it is used; folders that killed runs left are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_abandoned(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(fd)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that no process holds; a young one may be about to be locked. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.fstat(fd)
        if there.st_uid == os.geteuid() and there.st_mtime < time.time() - YOUNG:
            shutil.rmtree(folder)
    finally:
        os.close(fd)
