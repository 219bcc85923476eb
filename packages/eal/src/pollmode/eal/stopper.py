# SPDX-License-Identifier: BSD-3-Clause
"""How an application is stopped: the first SIGINT or SIGTERM asks it to end, a later one ends it at once.

timeout(1) and terminals send a signal to a process and to its group, so the same one may come twice at once: what comes
within half a second of the first is the first.

A handler of Python runs in the main thread, between two bytecodes, perhaps while that thread holds a lock: it may set
words and write descriptors, and must take no lock. So waiting is on an eventfd, not on a `threading.Event`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from pollmode.eal.errors import InternalError

__all__ = ["Stopper", "stop_requested"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_SIGNAL = 0.5
"""Seconds after the first signal in which another one is taken for the same."""


def stop_requested() -> bool:
    """Tell whether the application was asked to end, for what waits long at its start. Any thread may ask."""
    holder = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return isinstance(holder, Stopper) and holder.requested


class Stopper:
    """A context of the main thread in which signals stop the application.

    `on_stop` is called at the first signal or `stop()`, from a signal handler: it may set stop words (`Lcores.stop`)
    and must not wait. `on_forced` is called there before a later signal ends the process, to put right what must not
    stay as it is. `signal` is the number of the signal that came, or None. One within another takes the signals over,
    and the request if the outer one has been asked already.
    """

    def __init__(
        self, on_stop: Callable[[], None] | None = None, *, on_forced: Callable[[], None] | None = None
    ) -> None:
        self.requested = False
        self.signal: int | None = None
        self._signalled = 0.0
        self._on_stop = on_stop
        self._on_forced = on_forced
        self._wake = -1
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stopper:
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        outer = getattr(self._before[signal.SIGINT], "__self__", None)
        if isinstance(outer, Stopper) and outer.requested:
            self.signal, self._signalled = outer.signal, outer._signalled
            self.stop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        os.close(self._wake)
        self._wake = -1

    def stop(self) -> None:
        """Ask the application to end, as a signal does. Any thread may call it."""
        if self.requested:
            return
        self.requested = True
        if self._on_stop is not None:
            self._on_stop()
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the application is asked to end, at most `timeout` seconds; returns whether it is."""
        if self._wake < 0:
            raise InternalError("a Stopper waits only within its context")
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if not self.requested:
            poll.poll(None if timeout is None else max(timeout, 0) * 1000)
        return self.requested

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and time.monotonic() < self._signalled + SAME_SIGNAL:
            return
        if self.requested:
            if self._on_forced is not None:
                self._on_forced()
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nForced to quit by a second signal\n")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal, self._signalled = number, time.monotonic()
        self.stop()
