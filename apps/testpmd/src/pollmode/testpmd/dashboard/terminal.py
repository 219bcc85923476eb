# SPDX-License-Identifier: BSD-3-Clause
"""Taking the terminal for the dashboard and giving it back, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator

from pollmode.eal.errors import ConfigError, InternalError
from pollmode.eal.stopper import Stopper
from pollmode.testpmd.session import Session

__all__ = ["check_terminal", "show"]

LEAVE = b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[0m"
"""Leave the other screen; cursor, wrapping, keys, colours and reports of focus, pasting and size as before (xterm)."""
CHANGED = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
"""Signals that textual takes and keeps."""


def check_terminal() -> None:
    """Raise ConfigError where a dashboard cannot be drawn."""
    away = "use --stats-period=1, which prints anywhere"
    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if not stream.isatty():
            raise ConfigError(f"--tui needs a terminal, and standard {name} is none; {away}")
    if os.environ.get("TERM") in (None, "", "dumb", "unknown"):
        raise ConfigError(f"--tui needs a terminal that can place characters, and TERM says it cannot; {away}")


def show(session: Session, seconds: float = 0) -> None:
    """Show the dashboard until it is left, a signal comes or, if not 0, `seconds` have passed.

    What was printed meanwhile is printed then. Raises ConfigError without a terminal.
    """
    check_terminal()
    from pollmode.testpmd.dashboard.app import Dashboard
    from pollmode.testpmd.dashboard.messages import Messages

    messages = Messages(sys.stdout, sys.stderr)
    with _given_back() as give_back:
        app = Dashboard(session, messages, seconds, _still_there)
        with Stopper(app.end_soon, on_forced=give_back) as stopper:
            left_for = app.run(mouse=False)
    messages.replay()
    if app.return_code:
        raise InternalError("the dashboard failed; what is above says where. Please report it")
    left_for = stopper.signal or left_for
    if left_for:
        session.stopper.signal = left_for
        session.stopper.stop()
        print(f"\nSignal {left_for} received, preparing to exit...", flush=True)


def _still_there() -> bool:
    """Tell whether the terminal is; one that went away without a signal would be read in vain for ever."""
    try:
        termios.tcgetattr(sys.__stdin__ or 0)
    except termios.error:
        return False
    return True


@contextlib.contextmanager
def _given_back() -> Iterator[Callable[[], None]]:
    """Keep what textual changes for good, for afterwards; yields what gives the terminal back at once."""
    handlers = {number: signal.getsignal(number) for number in CHANGED}
    no_color = os.environ.get("NO_COLOR")
    attributes = termios.tcgetattr(sys.stdin)
    fds = sys.stdin.fileno(), sys.stdout.fileno()

    def give_back() -> None:
        os.write(fds[1], LEAVE)
        termios.tcsetattr(fds[0], termios.TCSANOW, attributes)

    try:
        yield give_back
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if no_color is not None:
            os.environ["NO_COLOR"] = no_color
