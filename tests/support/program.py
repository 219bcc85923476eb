# SPDX-License-Identifier: BSD-3-Clause
"""A program under test or beside it: started, talked to, watched, and always ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence

PATIENCE = 60.0
"""Seconds to wait for something that must come; long, because the machine may be busy."""


class Program:
    """A child process whose output can be read while it runs; its log lines (stderr) are kept apart.

    It buffers its output as it does for a user, whatever the shell around the tests says of Python.
    """

    def __init__(
        self, argv: Sequence[str], *, keyboard: bool = False, environment: dict[str, str] | None = None
    ) -> None:
        self.argv = list(argv)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._logged = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._logged,
            env={**os.environ, "PYTHONUNBUFFERED": "", **(environment or {})},
        )

    def output(self) -> str:
        """Return what it printed until now."""
        return os.pread(self._printed.fileno(), 1 << 26, 0).decode(errors="replace")

    def log(self) -> str:
        """Return what it logged until now."""
        return os.pread(self._logged.fileno(), 1 << 26, 0).decode(errors="replace")

    def type(self, line: str) -> None:
        """Type a line at its prompt."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, pattern: str, *, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until `pattern` is printed past the first `after` characters of the output; return the match.

        Raises AssertionError with the tail of the output when it does not come in time or the program ends without it.
        """
        end = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            found = re.compile(pattern, re.S).search(self.output(), after)
            if found:
                return found
            if ended or time.monotonic() > end:
                state = f"ended with {self.process.returncode}" if ended else f"waited {seconds} s"
                tail = f"{self.output()[-3000:]}\n--- log:\n{self.log()[-3000:]}"
                raise AssertionError(f"{' '.join(self.argv)}\nnever printed {pattern!r}: {state}\n{tail}")
            time.sleep(0.02)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(seconds)

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill it as the kernel's memory killer would: SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.kill()
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self._printed.close()
        self._logged.close()
