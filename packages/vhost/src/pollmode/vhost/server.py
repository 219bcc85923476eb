# SPDX-License-Identifier: BSD-3-Clause
"""How two ends of a vhost-user socket meet: a Listener waits at a path, a Connector keeps trying to reach one.

Which end listens says nothing about which end is the back end: both roles come both ways. One peer is served at a
time. A second one is sent away; unless the first is gone and nobody noticed yet, which is what a peer that was killed
and started again looks like.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError
from pollmode.vhost.patience import Loop

__all__ = ["MAX_PATH", "Connector", "Listener", "Peer", "check_path", "connect"]

MAX_PATH = 107  # sun_path has 108 bytes and ends with a zero
FIRST_RETRY = 0.05
LONGEST_RETRY = 0.5
LONGEST_REFUSAL = 5.0  # between connections that a peer takes and ends at once
SHORT = 1.0  # seconds of a connection that was not worth it
_BACKLOG = 8
_PAUSE = 1.0
_ACCEPTS = 16  # connections taken before other work has its turn

_ours: set[tuple[int, int]] = set()  # the inodes of this process's own listeners

log = logs.get("lib.vhost.config")


class Peer(Interface):
    """What is made of a connection; a `Session` is one."""

    def alive(self) -> bool:
        """Tell whether the peer is still there; may clean up when it is not."""


OnConnect = Callable[[socket.socket], "Peer | None"]
"""Takes a connected socket, which it owns from here on, and returns who serves it, or None when it was refused."""


def check_path(path: str) -> None:
    """Raise ConfigError unless a socket could be at this path, HostError when its directory may not be entered."""
    length = len(os.fsencode(path))
    if not path or "\0" in path:
        raise ConfigError(f"socket path {path!r} is empty or holds a zero byte")
    if length > MAX_PATH:
        raise ConfigError(f"socket path {path!r} has {length} bytes; a socket's path has at most {MAX_PATH}")
    parent = os.path.dirname(path) or "."
    try:
        os.stat(os.path.join(parent, "."))  # "." asks for a directory that may be entered
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"socket path {path!r}: there is no directory {parent!r}") from None
    except OSError as error:
        raise HostError(
            f"socket path {path!r}: directory {parent!r}: {error.strerror}",
            mend="check its permissions",
            errno=error.errno,
        ) from None


def _existing(path: str) -> os.stat_result | None:
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"socket path {path!r}: {error.strerror}", errno=error.errno) from None
    if not stat.S_ISSOCK(about.st_mode):
        kind = "a directory" if stat.S_ISDIR(about.st_mode) else "a file that is no socket"
        raise ConfigError(f"socket path {path!r} is {kind}; name a socket, or a path where nothing is")
    return about


def connect(path: str) -> socket.socket:
    """Connect to a socket at `path` without waiting.

    Raises ConfigError when the path can't be one of a socket, HostError when nobody listens there, or not now.
    """
    check_path(path)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise HostError(f"socket {path!r}: {error.strerror}", mend="raise ulimit -n", errno=error.errno) from None
    sock.setblocking(False)
    try:
        _existing(path)
        sock.connect(path)
    except OSError as error:
        sock.close()
        reasons = {
            errno.ECONNREFUSED: "nobody listens there",
            errno.EAGAIN: "its queue of connections is full",
            errno.ENOENT: "there is no such socket",
        }
        reason = reasons.get(error.errno or 0)
        mend = "start the peer first" if reason else "check the permissions"
        raise HostError(f"socket {path!r}: {reason or error.strerror}", mend=mend, errno=error.errno) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _holder(path: str) -> int | None:
    """Return the process that listens at `path` (0 when it can't be told), or None when nobody does."""
    try:
        sock = connect(path)
    except HostError as error:
        if error.errno == errno.ECONNREFUSED:
            return None
        if error.errno == errno.EAGAIN:
            return 0
        raise
    with sock:
        pid, _, _ = struct.unpack("iii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iii")))
        return int(pid)


def _bind(path: str) -> socket.socket:
    check_path(path)
    about = _existing(path)
    if about is not None:
        if (about.st_dev, about.st_ino) in _ours:
            raise ConfigError(
                f"socket {path!r} is in use by this process itself; give every port a path of its own",
                errno=errno.EADDRINUSE,
            )
        pid = _holder(path)
        if pid is not None:
            who = f"process {pid}" if pid else "another process"
            raise ConfigError(
                f"socket {path!r} is in use by {who}; end it or choose another path", errno=errno.EADDRINUSE
            )
        log.info(f"socket {path!r} was left behind by a process that ended; removed")
        with contextlib.suppress(FileNotFoundError):
            _unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise HostError(
            f"socket {path!r} can't be made: {error.strerror}",
            mend=f"check the permissions of {os.path.dirname(path) or '.'!r}",
            errno=error.errno,
        ) from None
    sock.setblocking(False)
    return sock


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except PermissionError as error:
        raise HostError(f"socket {path!r} is stale and can't be removed: {error.strerror}", errno=error.errno) from None


class Listener:
    """A listening socket at `path`, bound at once.

    Take peers with `accept` (waiting) or have them taken with `serve`. A stale socket file is replaced. Raises
    ConfigError when the path is taken by a live process (named), is no socket, is too long or has no directory;
    HostError when the machine refuses it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = _bind(path)
        about = os.stat(path)
        self._inode = (about.st_dev, about.st_ino)
        _ours.add(self._inode)
        self._loop: Loop | None = None
        self._on_connect: OnConnect | None = None
        self._peer: Peer | None = None
        self._refused = 0
        self._trouble = ""
        self._resumption: Any = None

    def fileno(self) -> int:
        """Return the listening descriptor, -1 once closed."""
        return self._socket.fileno()

    def accept(self, seconds: float) -> socket.socket | None:
        """Wait for a peer; None when none came in time, or the listener was closed."""
        if self.fileno() < 0:
            return None
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return self._accept() if poll.poll(seconds * 1000) else None

    def _accept(self) -> socket.socket | None:
        try:
            sock = self._socket.accept()[0]
        except BlockingIOError:
            return None
        except OSError as error:
            self._say(error.strerror or str(error))
            self._pause()
            return None
        self._say("")
        return sock

    def _say(self, trouble: str) -> None:
        """Log why connections can't be taken, or that they can again: once, until it changes."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.error(f"socket {self.path!r}: no connection can be taken: {trouble}; trying again every second")
        else:
            log.warning(f"socket {self.path!r}: connections are taken again")

    def serve(self, loop: Loop, on_connect: OnConnect) -> None:
        """Have `loop` take connections: `on_connect(socket)` makes the peer that is served until it is not alive."""
        self._loop, self._on_connect = loop, on_connect
        loop.register(self.fileno(), self._ready)

    def _ready(self) -> None:
        for _ in range(_ACCEPTS):
            sock = self._accept()
            if sock is None:
                return
            if self._peer is not None and self._peer.alive():
                self._refuse(sock)
            elif self._on_connect is not None:
                self._refused = 0
                self._peer = self._on_connect(sock)

    def _refuse(self, sock: socket.socket) -> None:
        sock.close()
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:  # one that comes again and again must not fill the log
            times = f" ({self._refused} times)" if self._refused > 1 else ""
            log.warning(f"socket {self.path!r}: a second peer was sent away; one is served at a time{times}")

    def _pause(self) -> None:
        # Out of descriptors, most likely. The connection stays in the queue and would wake the loop for ever.
        if self._loop is not None:
            self._loop.unregister(self.fileno())
            self._resumption = self._loop.alarm(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._loop is not None and self.fileno() >= 0:
            self._loop.register(self.fileno(), self._ready)

    def close(self) -> None:
        """Stop listening and remove the socket file if it is still ours. Peers stay. Closing twice is harmless."""
        if self.fileno() < 0:
            return
        if self._loop is not None:
            if self._resumption is not None:
                self._loop.cancel(self._resumption)
            self._loop.unregister(self.fileno())
        self._socket.close()
        _ours.discard(self._inode)
        with contextlib.suppress(OSError):
            about = os.stat(self.path)
            if (about.st_dev, about.st_ino) == self._inode:
                os.unlink(self.path)


class Connector:
    """Keeps one connection to `path` up: tries at once and then again and again, and after `reconnect`.

    A peer that ends connections as soon as they are made, and before a ring ran, is left alone for longer each time, up
    to 5 seconds.

    `on_connect(socket)` is called on the loop's thread. Raises ConfigError for a path that can't be a socket's.
    """

    def __init__(self, path: str, loop: Loop, on_connect: OnConnect) -> None:
        check_path(path)
        _existing(path)
        self.path = path
        self._loop = loop
        self._on_connect = on_connect
        self._delay = self._refusal = FIRST_RETRY
        self._since = 0.0
        self._alarm: Any = None
        self._closed = False
        self._told = ""

    def start(self) -> None:
        """Try to connect, now."""
        self._after(0)

    def reconnect(self, *, served: bool = False) -> None:
        """The peer is gone: try again. Call it from the loop's thread, as in `Backend.on_closed`.

        `served`: a ring of it ran (`Session.served`); it did not end the connection at once.
        """
        short = not served and time.monotonic() - self._since < SHORT
        self._refusal = min(2 * self._refusal, LONGEST_REFUSAL) if short else FIRST_RETRY
        self._after(self._refusal)

    def _after(self, seconds: float) -> None:
        if not self._closed:
            self._alarm = self._loop.alarm(seconds, self._try)

    def _try(self) -> None:
        if self._closed:
            return
        try:
            sock = connect(self.path)
        except (ConfigError, HostError) as error:
            if str(error) != self._told:
                log.info(f"{error}; trying again until it answers")
            self._told = str(error)
            self._delay = min(2 * self._delay, LONGEST_RETRY)
            self._after(self._delay)
            return
        self._delay, self._told = FIRST_RETRY, ""
        self._since = time.monotonic()
        self._on_connect(sock)

    def close(self) -> None:
        """Stop trying. A connection that was made stays. Closing twice is harmless."""
        self._closed = True
        if self._alarm is not None:
            self._loop.cancel(self._alarm)
