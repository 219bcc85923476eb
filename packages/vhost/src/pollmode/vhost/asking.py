# SPDX-License-Identifier: BSD-3-Clause
"""Asking a back end: one request at a time, its answer or acknowledgement, and how long that is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pollmode.eal import logs
from pollmode.eal.errors import PollmodeError, UnsupportedError
from pollmode.vhost.connection import Connection, Watch
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout, RefusedMessage
from pollmode.vhost.messages import FLAG_NEED_REPLY, NEEDS, REPLY_FLAGS, U64, VERSION, Protocol, Request, describe
from pollmode.vhost.virtqueue import has

__all__ = ["DEFAULT_TIMEOUT", "Asker"]

DEFAULT_TIMEOUT = 10.0

log = logs.get("lib.vhost.config")


class Asker:
    """One connection to a back end; owns the socket from its construction on.

    `name` stands in log lines and errors. Raises PeerGone when the back end went away, PeerTimeout when it does not
    answer within `timeout` seconds, MalformedMessage when its answer breaks the protocol, RefusedMessage when it
    answers "no", UnsupportedError for a request whose protocol feature was not negotiated.
    """

    def __init__(self, sock: socket.socket, *, name: str = "vhost-user", timeout: float = DEFAULT_TIMEOUT) -> None:
        self.name = name
        self.timeout = timeout
        self.phase = "connected"
        self.protocol_features = 0
        self._connection = Connection(sock, self._check_header)
        self._awaited: tuple[int, int] | None = None
        self._limit: tuple[float, float] | None = None
        self._watch: Callable[[str], None] | None = None
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._connection.fileno()

    def alive(self) -> bool:
        """Tell whether the back end still holds its end open; asks nothing of it, waits for nobody."""
        return self._connection.alive()

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def within(self, seconds: float, watch: Callable[[str], None] | None = None) -> Iterator[None]:
        """Have all requests of this block together take no longer than `seconds`; the one that would times out.

        `watch(request)` is called some ten times a second while one is waited for; what it raises ends the wait.
        """
        before = self._limit, self._watch
        self._limit, self._watch = (seconds, time.monotonic() + seconds), watch
        try:
            yield
        finally:
            self._limit, self._watch = before

    def give_up(self) -> bool:
        """End the wait for an answer in another thread: its request raises PeerGone. False when nobody waits."""
        waiting = self._awaited is not None
        if waiting:
            self._connection.shut_down()
        return waiting

    def _fail(self, error: PollmodeError, text: str) -> PollmodeError:
        self.close()
        told = type(error)(f"{self.name}: {error}; phase: {self.phase}; message {text}")
        log.error(str(told))
        return told

    def _check_header(self, request: int, flags: int, size: int) -> None:
        awaited = self._awaited
        text = describe(request, flags, b"", 0)
        if awaited is None or request != awaited[0] or flags != REPLY_FLAGS:
            raise MalformedMessage(f"the back end says {text} (flags {flags:#x}), which nobody asked for", word=request)
        if size != awaited[1]:
            raise MalformedMessage(f"the answer has {size} bytes, not {awaited[1]}", word=size)

    def _request(
        self,
        request: Request,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        reply_size: int | None = None,
        *,
        reply_fds: list[int] | None = None,
        quiet: bool = False,
    ) -> bytes:
        """Send a request; wait for its answer of `reply_size` bytes, or for its acknowledgement where negotiated.

        One descriptor of the answer goes into `reply_fds`. A `quiet` request asks for no acknowledgement.
        """
        need = NEEDS.get(request)
        if need is not None and not has(self.protocol_features, need):
            raise UnsupportedError(f"{self.name}: {request.name} needs {need.name}, which the back end did not offer")
        ack = reply_size is None and not quiet and has(self.protocol_features, Protocol.REPLY_ACK)
        flags = VERSION | (FLAG_NEED_REPLY if ack else 0)
        text = describe(request, flags, payload, len(fds))
        with self._lock:
            if self.fileno() < 0:
                raise PeerGone(f"{self.name}: {request.name}: the connection is closed; phase reached: {self.phase}")
            log.debug(f"{self.name}: {self.phase}: sending {text}")
            try:
                self._connection.send(request, flags, payload, fds, self._patience(), self._watch_for(request))
                return self._answer(request, U64.size if ack else reply_size, ack, reply_fds)
            except RefusedMessage as error:
                raise RefusedMessage(f"{self.name}: {error}; phase: {self.phase}; message {text}") from error
            except PollmodeError as error:
                raise self._fail(error, text) from error

    def _patience(self) -> float:
        if self._limit is None:
            return self.timeout
        return min(self.timeout, max(self._limit[1] - time.monotonic(), 0))

    def _watch_for(self, request: Request) -> Watch | None:
        watch = self._watch
        return None if watch is None else lambda: watch(request.name)

    def _answer(self, request: Request, size: int | None, ack: bool, fds: list[int] | None) -> bytes:
        if size is None:
            return b""
        self._awaited = (request, size)
        try:
            message = self._connection.receive_within(self._patience(), self._watch_for(request))
        except PeerTimeout:
            if self._limit is None or self.timeout < self._limit[0]:
                raise
            raise PeerTimeout(f"no answer within the {self._limit[0]:.3g} s of all requests together") from None
        finally:
            self._awaited = None
        with message:
            log.debug(f"{self.name}: {self.phase}: received {message}")
            if len(message.fds) != (0 if fds is None else 1):
                allowed = "none belongs" if fds is None else "one belongs"
                raise MalformedMessage(f"{len(message.fds)} descriptors came with the answer; {allowed} there")
            if fds is not None:
                fds.append(message.take_fd())
            if ack and U64.unpack(message.payload)[0] != 0:
                raise RefusedMessage("the back end answered no")
            return message.payload
