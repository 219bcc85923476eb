# SPDX-License-Identifier: BSD-3-Clause
"""What two processes of one memory say to each other: JSON values, one a line, over a pair of stream sockets.

JSON because the other side may be anybody of the same user: a value is checked where it is used, and can be nothing but
plain data.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, Final

from pollmode.eal.errors import (
    ConfigError,
    HostError,
    InternalError,
    PollmodeError,
    UnsupportedError,
)

__all__ = ["MAX_ANSWER", "MAX_REQUEST", "Channel", "error_from", "error_of"]

MAX_REQUEST: Final = 1 << 16
"""Bytes of a line that the primary reads."""
MAX_ANSWER: Final = 1 << 24
"""Bytes of a line that a secondary reads: thousands of queues."""
_CHUNK = 1 << 16
_KINDS = {kind.__name__: kind for kind in (ConfigError, HostError, InternalError, UnsupportedError)}


class Channel:
    """One end of the pair. One thread receives; sending is for one thread at a time."""

    def __init__(self, end: socket.socket, longest: int) -> None:
        self._socket = end
        self._longest = longest
        self._held = b""
        self._descriptors: list[int] = []

    def send(self, value: object, descriptor: int | None = None) -> None:
        """Send a value, with a copy of a descriptor. Raises OSError when the other side is gone."""
        line = memoryview(json.dumps(value).encode() + b"\n")
        if descriptor is not None:
            sent = socket.send_fds(self._socket, [line], [descriptor], socket.MSG_NOSIGNAL)
            line = line[sent:]
        self._socket.sendall(line, socket.MSG_NOSIGNAL)

    def receive(self, *, descriptors: bool = False) -> Any:
        """Wait for a value and return it; with `descriptors` keep one that comes along for `take_descriptor`.

        Raises EOFError at the end, ValueError for a line that is no JSON, EOFError too for one that is too long.
        """
        while b"\n" not in self._held:
            if len(self._held) > self._longest:
                raise EOFError(f"a line of more than {self._longest} bytes")
            chunk = self._chunk() if descriptors else self._socket.recv(_CHUNK)
            if not chunk:
                raise EOFError("the other side hung up")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        try:
            return json.loads(line)
        except RecursionError as error:
            raise ValueError(f"no JSON: {error}") from None

    def take_descriptor(self) -> int | None:
        """Return the descriptor that came, which is the caller's now, or None."""
        return self._descriptors.pop() if self._descriptors else None

    def end_sending(self) -> None:
        """Let the other side read the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that receives
        self._socket.close()

    def _chunk(self) -> bytes:
        chunk, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK, 1, socket.MSG_CMSG_CLOEXEC)
        self._descriptors += descriptors
        return chunk


def error_of(error: PollmodeError) -> dict[str, Any]:
    """Return an error as a plain value."""
    return {"error": str(error), "kind": type(error).__name__, "errno": error.errno}


def error_from(told: dict[str, Any]) -> PollmodeError:
    """Return the error that `error_of` made the value of."""
    kind = _KINDS.get(str(told.get("kind")), HostError)
    number = told.get("errno")
    return kind(str(told["error"]), errno=number if isinstance(number, int) else None)
