# SPDX-License-Identifier: BSD-3-Clause
"""A program at a terminal of its own, which shows what it draws and takes what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["COLD", "Terminal"]

COLD = 400.0
"""Seconds for what has to compile everything on a busy machine."""
CONTROL = re.compile(r"\x1b\[[0-9;?<>=]*[$ ]?[A-Za-z]|\x1b[=>()][B0]?")


class Terminal:
    """The program at a terminal of 80 columns and 24 rows, or another size, which answers no question of the program's.

    `raw` is all that was written, `shown` what was written since the last `wait_for`, without control sequences,
    `before` the terminal's settings at the start.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], size: tuple[int, int] = (80, 24)) -> None:
        self._ours, self.theirs = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            argv,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={**os.environ, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        self.shown = self.raw = ""

    def resize(self, columns: int, rows: int) -> None:
        """Change its size."""
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> bool:
        """Take what was written; False when there will be no more."""
        if not select.select([self._ours], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            chunk = os.read(self._ours, 65536).decode(errors="replace")
        except OSError:
            return False
        self.raw += chunk
        self.shown += CONTROL.sub("", chunk)
        return bool(chunk)

    def wait_for(self, pattern: str, seconds: float = COLD) -> None:
        """Wait until something is shown, and forget what was shown up to its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            assert self.read() or re.search(pattern, self.shown), f"ended without {pattern!r}:\n{self.shown}"
            assert time.monotonic() < end, f"never showed {pattern!r}:\n{self.shown}"
        self.shown = self.shown[found.end() :]

    def wait_until(self, true: Callable[[], bool], seconds: float = COLD) -> None:
        """Wait until it is true; what is shown meanwhile is read."""
        end = time.monotonic() + seconds
        while not true():
            assert self.read(), f"ended:\n{self.shown}"
            assert time.monotonic() < end, f"never true:\n{self.shown}"

    def hang_up(self) -> None:
        """Go away; there is no reading or typing any more."""
        os.close(self._ours)
        os.close(self.theirs)
        self._ours = self.theirs = -1

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self.read():
            pass
        return self.process.wait(60)

    def close(self) -> None:
        """End the program, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        if self._ours >= 0:
            self.hang_up()
