# SPDX-License-Identifier: BSD-3-Clause
"""The telemetry socket: `dpdk_telemetry.v2` in the directory of the file prefix, where DPDK's clients look for it.

Clients are served by the interrupt thread, one request of one client at a time. Nothing here waits: an answer that a
client does not fetch waits with that client, which is not read from meanwhile. (DPDK has a thread for each client.)

Who takes the name holds a lock on the directory meanwhile: a socket that nobody listens on is left over from a process
that died and is replaced, a live one is never taken; the newcomer's name gets ":1" and so on, as in DPDK.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.interrupts import Alarm, Interrupts
from pollmode.eal.runtime import make_directory
from pollmode.eal.telemetry import INPUT_SIZE, Telemetry

__all__ = ["MAX_CLIENTS", "SOCKET_NAME", "TelemetryServer"]

log = logs.get("lib.telemetry", logs.WARNING)

SOCKET_NAME: Final = "dpdk_telemetry.v2"
MAX_CLIENTS: Final = 10  # MAX_CONNECTIONS
_BACKLOG = 2 * MAX_CLIENTS
_PAUSE = 1.0  # seconds in which no client is taken after the process ran out of descriptors


class TelemetryServer:
    """Answers clients of the socket at `path` until `close`, which removes it.

    Raises HostError when there can be no socket in `directory`.
    """

    def __init__(self, telemetry: Telemetry, interrupts: Interrupts, directory: Path) -> None:
        self._telemetry = telemetry
        self._interrupts = interrupts
        self._clients: set[_Client] = set()
        self._pause: Alarm | None = None
        self._directory = directory
        self._listener, self.path = _listen(directory)
        self._inode = self.path.stat().st_ino
        interrupts.register(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Send every client away and remove the socket, and the directory if it is empty. Twice is no error."""
        if self._listener.fileno() < 0:
            return
        self._interrupts.unregister(self._listener.fileno())
        if self._pause is not None:
            self._interrupts.cancel(self._pause)
            self._interrupts.unregister(self._listener.fileno())
        for client in list(self._clients):
            client.close()
        # While we listen the name is ours; once we do not, somebody may take it, and even get its inode's number.
        with contextlib.suppress(OSError), _locked(self._directory):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
            self._directory.rmdir()  # fails where others, or we, keep files
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no more descriptors: the client stays in the queue and would wake us for ever
            self._interrupts.unregister(self._listener.fileno())
            self._pause = self._interrupts.alarm(_PAUSE, self._resume)
            with contextlib.suppress(OSError, ImportError):  # the first line of a log opens files
                log.warning(f"telemetry: a client can't be taken: {error.strerror}")
            return
        if len(self._clients) >= MAX_CLIENTS:
            connection.close()
            return
        client = _Client(connection, self._telemetry, self._interrupts, self._clients.discard)
        self._clients.add(client)
        client.begin()

    def _resume(self) -> None:
        self._interrupts.register(self._listener.fileno(), self._accept)


class _Client:
    """One connection: a request is read when the answer to the one before has been sent."""

    def __init__(
        self,
        connection: socket.socket,
        telemetry: Telemetry,
        interrupts: Interrupts,
        forget: Callable[[_Client], None],
    ) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._telemetry = telemetry
        self._interrupts = interrupts
        self._forget = forget
        self._unsent = b""

    def begin(self) -> None:
        """Greet, and answer from now on."""
        try:
            self._interrupts.register(self._socket.fileno(), self._ready)
        except ConfigError as error:
            log.warning(f"telemetry: a client can't be served: {error}")
            self.close()
        else:
            self._send(self._telemetry.greeting())

    def close(self) -> None:
        """Hang up. Twice is no error."""
        if self._socket.fileno() >= 0:
            while self._interrupts.unregister(self._socket.fileno()):
                pass  # a callback that was running may have registered the next one
            self._socket.close()
            self._forget(self)

    def _ready(self) -> None:
        descriptors: list[int] = []
        try:
            request, descriptors, _, _ = socket.recv_fds(self._socket, INPUT_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            request = b""
        try:
            if request:
                self._send(self._telemetry.answer(request, descriptors))
            else:  # the end, or an empty message: DPDK can't tell them apart either
                self.close()
        finally:
            for descriptor in descriptors:  # those that no command took
                os.close(descriptor)

    def _send(self, answer: bytes) -> None:
        try:
            self._socket.send(answer, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self._unsent = answer
            self._wait_for(self._writable, writable=True)
        except OSError:
            self.close()

    def _writable(self) -> None:
        answer, self._unsent = self._unsent, b""
        self._wait_for(self._ready, writable=False)
        self._send(answer)

    def _wait_for(self, callback: Callable[[], None], *, writable: bool) -> None:
        self._interrupts.unregister(self._socket.fileno())
        self._interrupts.register(self._socket.fileno(), callback, writable=writable)


def _listen(directory: Path) -> tuple[socket.socket, Path]:
    """Return a listening socket and the path it has, the first that no live process listens at."""
    while True:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            os.fchmod(listener.fileno(), 0o600)  # before the name exists: nobody else ever may connect
            with _locked(directory):
                names = itertools.chain([SOCKET_NAME], (f"{SOCKET_NAME}:{n}" for n in itertools.count(1)))
                path = next(path for name in names if not _taken(path := directory / name))
                path.unlink(missing_ok=True)
                listener.bind(str(path))
                listener.listen(_BACKLOG)
            return listener, path
        except FileNotFoundError:  # another process's end removed the directory
            listener.close()
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)  # "AF_UNIX path too long" has no number
            mend = "choose a shorter --file-prefix or a runtime directory of yours, or start with --no-telemetry"
            raise HostError(f"no telemetry socket in {directory}: {reason}", mend=mend, errno=error.errno) from error


def _taken(path: Path) -> bool:
    """Tell whether a path is in use: by a process that listens there, or for something that is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return True
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # its queue is full, or it is not for us
            return True
    return True


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Make the directory and keep others from taking names in it. Raises FileNotFoundError when it was just removed."""
    make_directory(directory)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(fd), directory.stat()):
            raise FileNotFoundError(directory)
        yield
    finally:
        os.close(fd)
