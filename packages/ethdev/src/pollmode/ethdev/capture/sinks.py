# SPDX-License-Identifier: BSD-3-Clause
"""Where captured packets go: a file of this process (`pollmode.net.pcapng.BlockFile`) or a socket to another one."""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Protocol

__all__ = ["Sink", "SocketSink"]

_LOOK = 0.1  # seconds between two looks at whether the capture ends, while the other side does not read
_LAST_PATIENCE = 2.0  # seconds to get rid of the rest then


class Sink(Protocol):
    """Takes whole blocks; `put` raises OSError when it can take no more."""

    def put(self, data: bytes | memoryview) -> None:
        """Take whole blocks."""

    def close(self) -> None:
        """Take no more. Twice is no error."""


class SocketSink:
    """A stream socket to the program that writes the file. It ends the capture by closing its side, or by dying."""

    def __init__(self, connection: socket.socket, ending: threading.Event) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._ending = ending
        self._deadline = 0.0

    def hung_up(self) -> bool:
        """Tell whether the other side wants no more: it says nothing, so whatever can be read is its end."""
        return bool(self._poll(select.POLLIN | select.POLLRDHUP, 0))

    def put(self, data: bytes | memoryview) -> None:
        """Send. Raises OSError when the other side is gone, or does not read while the capture is to end."""
        view = memoryview(data)
        while len(view):
            try:
                view = view[self._socket.send(view, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                self._poll(select.POLLOUT, _LOOK)
                self._check_patience()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _poll(self, events: int, seconds: float) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._socket, events)
        return poll.poll(seconds * 1000)

    def _check_patience(self) -> None:
        if self._ending.is_set():
            self._deadline = self._deadline or time.monotonic() + _LAST_PATIENCE
            if time.monotonic() > self._deadline:
                raise TimeoutError("the other side does not read")
