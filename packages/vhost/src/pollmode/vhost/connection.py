# SPDX-License-Identifier: BSD-3-Clause
"""One vhost-user socket: whole messages in, whole messages out, and no descriptor lost on the way.

Reading never blocks the thread that serves all sockets: a message is put together from what has arrived, and a peer
that stalls half-way leaves the rest of the process alone. `receive_within` and `send` wait where waiting is wanted.

Every descriptor that arrives is owned by its `Message` until `take_fd` hands it on; `with message:` closes the rest.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout
from pollmode.vhost.messages import (
    HEADER,
    MAX_FDS,
    MAX_PAYLOAD,
    VERSION,
    VERSION_MASK,
    describe,
)

__all__ = ["Connection", "HeaderCheck", "Message", "Watch", "close_fd"]

HeaderCheck = Callable[[int, int, int], None]
"""Called with request, flags and size before any payload is read; raises MalformedMessage."""

Watch = Callable[[], None]
"""Called some ten times a second while the peer is waited for; what it raises ends the wait."""

# MSG_DONTWAIT beside O_NONBLOCK: a peer that gave us the socket shares its flags and may take the latter away.
_SEND_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
_RECEIVE_FLAGS = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
_WATCH_SECONDS = 0.1
_CONTROL = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)


def close_fd(fd: int) -> None:
    """Close a descriptor that may be -1 (none)."""
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)


class Message:
    """One message: request number, flags, payload and the descriptors that came with it."""

    def __init__(self, request: int, flags: int, payload: bytes, fds: list[int]) -> None:
        self.request = request
        self.flags = flags
        self.payload = payload
        self.fds = fds
        self._text = describe(request, flags, payload, len(fds))

    def take_fd(self) -> int:
        """Return the first descriptor that is left, now the caller's, or -1."""
        return self.fds.pop(0) if self.fds else -1

    def __str__(self) -> str:
        return self._text

    def __enter__(self) -> Message:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self.fds:
            close_fd(self.take_fd())


class Connection:
    """A connected stream socket; owns it, makes it non-blocking.

    `check` looks at each header before its payload is read. Any error leaves the stream useless: close it.
    """

    def __init__(self, sock: socket.socket, check: HeaderCheck) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._check = check
        self._bytes = bytearray()
        self._fds: list[int] = []
        self._wanted = HEADER.size
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._socket.fileno()

    @property
    def partial(self) -> bool:
        """True while a message has begun to arrive and is not complete."""
        return bool(self._bytes)

    def receive(self) -> Message | None:
        """Return the next message, or None when it has not arrived whole.

        Raises PeerGone at the end of the stream, MalformedMessage for a header that is refused or for descriptors
        that do not fit.
        """
        while len(self._bytes) < self._wanted:
            if not self._read(self._wanted - len(self._bytes)):
                return None
            if self._wanted == HEADER.size == len(self._bytes):
                self._open_header()
        request, flags, _ = HEADER.unpack_from(self._bytes)
        message = Message(request, flags, bytes(self._bytes[HEADER.size :]), self._fds)
        self._bytes, self._fds, self._wanted = bytearray(), [], HEADER.size
        return message

    def _read(self, count: int) -> bool:
        try:
            data, control, flags, _ = self._socket.recvmsg(count, _CONTROL, _RECEIVE_FLAGS)
        except BlockingIOError:
            return False
        except OSError as error:
            raise PeerGone(f"the peer's end went away: {error.strerror}") from error
        for level, kind, rights in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
                self._fds.extend(fds)
        if flags & socket.MSG_CTRUNC or len(self._fds) > MAX_FDS:
            raise MalformedMessage(f"more descriptors than the {MAX_FDS} a message may bring, or than we may open")
        if not data:
            raise PeerGone("the peer closed its end" + (" in the middle of a message" if self._bytes else ""))
        self._bytes += data
        return True

    def _open_header(self) -> None:
        request, flags, size = HEADER.unpack(self._bytes)
        text = describe(request, flags, b"", len(self._fds))
        if flags & VERSION_MASK != VERSION:
            raise MalformedMessage(f"{text} has protocol version {flags & VERSION_MASK}, not {VERSION}", word=flags)
        if size > MAX_PAYLOAD:
            raise MalformedMessage(f"{text} announces {size} bytes; no message has more than {MAX_PAYLOAD}", word=size)
        self._check(request, flags, size)
        self._wanted += size

    def receive_within(self, seconds: float, watch: Watch | None = None) -> Message:
        """Wait for one message. Raises PeerTimeout when it is not whole in time; see `receive` for the others."""
        deadline = time.monotonic() + seconds
        while (message := self.receive()) is None:
            self._wait(select.POLLIN, deadline, f"no answer within {seconds:.3g} s", watch)
        return message

    def send(
        self,
        request: int,
        flags: int,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        seconds: float = 0,
        watch: Watch | None = None,
    ) -> None:
        """Send one message with descriptors; they stay the caller's.

        Waits up to `seconds` for room. Raises PeerTimeout when the peer does not read, PeerGone when it is gone.
        """
        data = memoryview(HEADER.pack(request, flags, len(payload)) + payload)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        deadline = time.monotonic() + seconds
        while data:
            try:
                data = data[self._socket.sendmsg([data], rights, _SEND_FLAGS) :]
                rights = []
            except BlockingIOError:
                text = f"the peer does not read what it is sent ({seconds:.3g} s)"
                self._wait(select.POLLOUT, deadline, text, watch)
            except OSError as error:
                raise PeerGone(f"the peer's end went away: {error.strerror}") from error

    def _wait(self, event: int, deadline: float, text: str, watch: Watch | None) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise PeerTimeout(text)
        self._poll.modify(self._socket.fileno(), event)
        self._poll.poll((left if watch is None else min(left, _WATCH_SECONDS)) * 1000)
        if watch is not None:
            watch()

    def alive(self) -> bool:
        """Tell whether the peer still holds its end open, whatever it sent before; reads nothing."""
        fd = self.fileno()
        if fd < 0:
            return False
        poll = select.poll()  # not the one of `_wait`: another thread may be waiting
        poll.register(fd, select.POLLRDHUP)
        return not poll.poll(0)

    def shut_down(self) -> None:
        """End the stream both ways; a thread that waits for the peer finds it gone. The descriptor stays open."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket and every descriptor that has arrived and was not handed on. Closing twice is harmless."""
        while self._fds:
            close_fd(self._fds.pop())
        self._socket.close()
