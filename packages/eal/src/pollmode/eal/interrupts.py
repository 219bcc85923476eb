# SPDX-License-Identifier: BSD-3-Clause
"""The interrupt thread: callbacks for descriptors that become readable and for alarms, one at a time, in one thread.

`unregister` and `cancel` return when the callback is not running and will not run again, so that whoever called may
free what the callback uses; called from the callback itself they return at once. Refused: asyncio (its loop would own
the main thread, and a call from another thread can't wait for a running callback).
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError

__all__ = ["Alarm", "Callback", "Interrupts"]

log = logs.get("lib.eal")

Callback = Callable[[], None]

READABLE = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP
WRITABLE = select.EPOLLOUT


@dataclass(frozen=True)
class _Source:
    """Why a callback runs: a registration of a descriptor."""

    fd: int
    callback: Callback


@dataclass(order=True, eq=True)
class Alarm:
    """A callback that is due at `due` seconds of the monotonic clock; `cancel` takes it."""

    due: float
    order: int
    callback: Callback = field(compare=False, repr=False)


class Interrupts:
    """A thread that waits on epoll. Callbacks take no arguments, must not block, and may use every method here.

    A callback that raises is logged and its descriptor is unregistered: a level-triggered event nobody handles would
    come for ever. Making one raises HostError when the process may have no more descriptors or threads.
    """

    def __init__(self) -> None:
        self._sources: dict[int, _Source] = {}
        self._alarms: list[Alarm] = []
        self._order = itertools.count()
        self._running: _Source | Alarm | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="interrupts", daemon=True)
        with contextlib.ExitStack() as stack:
            try:
                self._epoll = select.epoll()
                stack.callback(self._epoll.close)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                stack.callback(os.close, self._wake)
                self._epoll.register(self._wake, select.EPOLLIN)
                self._thread.start()
            except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
                raise HostError(f"cannot start the interrupt thread: {error}", mend="raise ulimit -n or -u") from error
            stack.pop_all()

    def register(self, fd: int, callback: Callback, *, writable: bool = False) -> None:
        """Call `callback()` whenever `fd` is readable (or writable), hung up or in error. It may find nothing to read.

        Raises ConfigError when the descriptor is registered or can't be waited for.
        """
        with self._changed:
            self._check_open()
            try:
                self._epoll.register(fd, WRITABLE if writable else READABLE)
            except FileExistsError:
                raise ConfigError(f"descriptor {fd} has an interrupt callback already") from None
            except OSError as error:
                raise ConfigError(f"descriptor {fd} can't be waited for: {error.strerror}", errno=error.errno) from None
            self._sources[fd] = _Source(fd, callback)

    def unregister(self, fd: int) -> bool:
        """Call nothing for `fd` from now on, and return when its callback is not running. Call it before closing `fd`.

        Returns whether it was registered.
        """
        with self._changed:
            source = self._sources.pop(fd, None)
            if source is None:
                return False
            self._forget(fd)
            self._wait_for(source)
        return True

    def alarm(self, seconds: float, callback: Callback) -> Alarm:
        """Call `callback()` once, `seconds` from now. Raises ConfigError for a time that is negative."""
        if not seconds >= 0:
            raise ConfigError(f"an alarm in {seconds} seconds: it must be 0 or more")
        with self._changed:
            self._check_open()
            alarm = Alarm(time.monotonic() + seconds, next(self._order), callback)
            heapq.heappush(self._alarms, alarm)
            os.eventfd_write(self._wake, 1)
        return alarm

    def cancel(self, alarm: Alarm) -> bool:
        """Take an alarm back and return when it is not running. Returns whether that kept it from being called."""
        with self._changed:
            waiting = alarm in self._alarms
            if waiting:
                self._alarms.remove(alarm)
                heapq.heapify(self._alarms)
            self._wait_for(alarm)
        return waiting

    def close(self) -> None:
        """End the thread after the callback that is running. Closing twice is no error."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check_open(self) -> None:
        if self._closing:
            raise ConfigError("the interrupt thread has ended")

    def _wait_for(self, work: _Source | Alarm) -> None:
        if threading.current_thread() is not self._thread:
            self._changed.wait_for(lambda: self._running is not work)

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):  # closed: by its owner, which unregistered it, or with this object
            pass

    def _work(self) -> None:
        while not self._closing:
            with self._changed:
                due = self._alarms[0].due - time.monotonic() if self._alarms else None
            # One event a turn: of a batch, later ones could be of descriptors that an earlier callback closed.
            events = self._epoll.poll(None if due is None else max(due, 0), 1)
            for fd, _ in events:
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._run(functools.partial(self._sources.get, fd))
            self._run(self._take_due)
        with self._changed:  # whoever set `_closing` has written to `_wake` by now
            self._epoll.close()
            os.close(self._wake)

    def _take_due(self) -> Alarm | None:
        if self._alarms and self._alarms[0].due <= time.monotonic():
            return heapq.heappop(self._alarms)
        return None

    def _run(self, choose: Callable[[], _Source | Alarm | None]) -> None:
        with self._changed:
            work = self._running = choose()
        if work is None or self._closing:
            return
        try:
            work.callback()
        except Exception as error:
            with contextlib.suppress(Exception):  # whatever keeps it from being told, the thread goes on
                log.error(f"an interrupt callback failed: {type(error).__name__}: {error}")
            if isinstance(work, _Source):
                self._drop(work)
        finally:
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _drop(self, source: _Source) -> None:
        with self._changed:
            if self._sources.get(source.fd) is source:
                del self._sources[source.fd]
                self._forget(source.fd)
