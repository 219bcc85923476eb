# SPDX-License-Identifier: BSD-3-Clause
"""What the program prints while the dashboard has the terminal: kept, shown in a view, printed when it is over."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator
from typing import TextIO

__all__ = ["Messages", "Said"]

KEPT = 2000
"""Lines that are remembered."""


class Messages:
    """Lines of both outputs, in the order they came; `last` is the newest that is not empty. Any thread may print."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self._lock = threading.Lock()
        self._lines: deque[tuple[TextIO, str]] = deque(maxlen=KEPT)
        self.last = ""
        self.stdout, self.stderr = Said(self, stdout), Said(self, stderr)

    def add(self, stream: TextIO, line: str) -> None:
        """Remember a line of an output."""
        with self._lock:
            self._lines.append((stream, line))
            self.last = line.strip() or self.last

    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        with self._lock:
            return [line for _, line in self._lines]

    def replay(self) -> None:
        """Print on the terminal what did not get there. Raises OSError when it cannot be written."""
        for said in (self.stdout, self.stderr):
            said.finish()
        with self._lock:
            for stream, line in self._lines:
                if stream.isatty():
                    print(line, file=stream)
                    stream.flush()
            self._lines.clear()


class Said(io.TextIOBase):
    """One output: lines go to `Messages`, and at once to the real output where that is no terminal."""

    def __init__(self, messages: Messages, real: TextIO) -> None:
        self._messages = messages
        self._real = real
        self._begun = ""

    def write(self, text: str) -> int:
        """Take a piece of text."""
        if not self._real.isatty():
            self._real.write(text)
        for line in self._whole_lines(text):
            self._messages.add(self._real, line)
        return len(text)

    def _whole_lines(self, text: str) -> Iterator[str]:
        *whole, self._begun = (self._begun + text).split("\n")
        yield from whole

    def finish(self) -> None:
        """Take what was printed without an end as a line."""
        if self._begun:
            self._messages.add(self._real, self._begun)
            self._begun = ""

    def flush(self) -> None:
        """Pass it on."""
        self._real.flush()

    def writable(self) -> bool:
        """Tell that it is."""
        return True
