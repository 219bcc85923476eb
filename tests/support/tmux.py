# SPDX-License-Identifier: BSD-3-Clause
"""A program in a terminal of tmux: a server of the test's own, keys typed into it, its screen and what scrolled off."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

INSTALL = "apt-get install tmux"
PATIENCE = 400.0
"""Seconds to wait for something that must come; a busy machine may have to compile everything first."""
HISTORY = 50000
"""Lines kept of what scrolled off."""


def require_tmux() -> None:
    """Skip the test where tmux is not installed, or fail it where peers are required."""
    if shutil.which("tmux"):
        return
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(f"tmux is not installed: {INSTALL}")
    pytest.skip(f"tmux is not installed: {INSTALL}")


class Tmux:
    """A program in a terminal of `columns` by `lines`; ENDED and its exit code stand behind what it printed."""

    ENDED = "ended with exit code"

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, columns: int = 160, lines: int = 45
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tmux-")
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", **environment, "TMUX_TMPDIR": self._folder.name}
        self._environment.pop("TMUX", None)
        # What was printed is read after the program ended: something else must hold the terminal.
        shell = f"{shlex.join(argv)}; echo {self.ENDED} $?; exec cat"
        size = ["-x", str(columns), "-y", str(lines)]
        self._tmux(
            "start-server", ";", "set", "-g", "history-limit", str(HISTORY), ";", "new-session", "-d", *size, shell
        )

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-f", "/dev/null", "-L", "test", *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, f"tmux {' '.join(words)}: {done.stderr}"
        return done.stdout

    def shown(self) -> str:
        """Return all that is and was on the screen; folded lines are whole, blanks at the end of a line are gone."""
        text = self._tmux("capture-pane", "-p", "-J", "-S", "-")
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()

    def type(self, text: str) -> None:
        """Type characters."""
        self._tmux("send-keys", "-l", "--", text)

    def press(self, key: str) -> None:
        """Press a key by tmux's name of it: Enter, Tab, Up."""
        self._tmux("send-keys", key)

    def wait_until(self, holds: Callable[[str], bool], what: str) -> str:
        """Wait until something holds of all that is shown, and return that; `what` is for the message.

        Raises AssertionError when it does not come in time or the program ends without it.
        """
        end = time.monotonic() + PATIENCE
        while not holds(shown := self.shown()):
            over = f"\n{self.ENDED}" in shown or time.monotonic() > end
            assert not over, f"never showed {what}:\n{shown}"
            time.sleep(0.05)
        return shown

    def close(self) -> None:
        """End the server and what runs in it."""
        try:
            self._tmux("kill-server")
        finally:
            self._folder.cleanup()
