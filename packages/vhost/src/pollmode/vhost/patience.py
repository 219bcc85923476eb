# SPDX-License-Identifier: BSD-3-Clause
"""How long a session waits for its front end: to say anything at all, and for the rest of a message."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import Protocol as Interface

from pollmode.vhost.faults import PeerTimeout

__all__ = ["Loop", "Patience"]


class Loop(Interface):
    """What a session needs of `pollmode.eal.interrupts.Interrupts`."""

    def register(self, fd: int, callback: Callable[[], None]) -> Any:
        """Call back whenever the descriptor is readable."""

    def unregister(self, fd: int) -> Any:
        """Stop calling back; return when no call is under way, unless called from it."""

    def alarm(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Call back once, later; return a handle."""

    def cancel(self, handle: Any) -> Any:
        """Forget an alarm."""


class Patience:
    """The alarms of one session, on its event loop; without one it waits for ever.

    `give_up(error)` is called on the loop's thread, without a lock, for a front end that took too long. `lock` is the
    session's, and is held while `begin` and `note` are called.
    """

    def __init__(self, lock: AbstractContextManager[Any], give_up: Callable[[PeerTimeout], None]) -> None:
        self._lock = lock
        self._give_up = give_up
        self._loop: Loop | None = None
        self._handshake: Any = None
        self._heard = False
        self._message_seconds = 0.0
        self._began: float | None = None  # when the message that is not whole yet began to arrive
        self._half: Any = None  # the alarm that looks at it

    def begin(self, loop: Loop, handshake_seconds: float, message_seconds: float) -> None:
        """Wait so long for the first message, and so long for the whole of each."""
        self._loop, self._message_seconds = loop, message_seconds
        self._handshake = loop.alarm(handshake_seconds, self._handshake_over)

    def note(self, *, whole: bool, partial: bool) -> None:
        """Something was read: it made a message `whole`, and the next is there in part, or not.

        One alarm at most is set, however many messages arrive in pieces.
        """
        self._heard = self._heard or whole
        if not partial:
            self._began = None
        elif self._began is None:
            self._began = time.monotonic()
            if self._half is None and self._loop is not None:
                self._half = self._loop.alarm(self._message_seconds, self._look)

    def end(self) -> None:
        """Forget the alarms; none is ringing when this returns, unless it is what calls."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            for alarm in (self._handshake, self._half):
                if alarm is not None:
                    loop.cancel(alarm)

    def _handshake_over(self) -> None:
        if not self._heard:
            self._give_up(PeerTimeout("the peer connected and said nothing; its place is free again"))

    def _look(self) -> None:
        with self._lock:
            self._half = None
            if self._began is None or self._loop is None:
                return
            left = self._began + self._message_seconds - time.monotonic()
            if left > 0:
                self._half = self._loop.alarm(left, self._look)
                return
        self._give_up(PeerTimeout(f"a message that began {self._message_seconds:g} s ago is not whole yet"))
