# SPDX-License-Identifier: BSD-3-Clause
"""The slots of one port: what each of its queues points at now, and swapping it while lcores poll."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable

from pollmode.eal.errors import ConfigError

from .dispatch import Dispatch
from .entries import Added, Entry, nothing, wrap
from .types import BurstEntry

__all__ = ["PortSlots"]

Queue = tuple[str, int]
"""A direction, "rx" or "tx", and a queue's number."""
Recipe = tuple[BurstEntry | None, tuple[Added, ...]]
"""What an entry was made of: the driver's function and the chain around it."""


class PortSlots:
    """The queues of a port that are open, and the entries their slots hold.

    `given(direction, queue)` asks the driver for its function, None while there is none. Methods may be called from any
    thread that isn't inside a burst callback; each returns when no lcore is inside an entry it replaced.
    """

    def __init__(self, dispatch: Dispatch, port: int, given: Callable[[str, int], BurstEntry | None]) -> None:
        self._dispatch = dispatch
        self._port = port
        self._given = given
        self._lock = threading.Lock()
        self._open: set[Queue] = set()
        self._added: dict[Queue, list[Added]] = {}
        self._entries: dict[Queue, Entry] = {}
        self._made_of: dict[Queue, Recipe] = {}
        self._lent: dict[Queue, object] = {}
        self._silent = False
        self._replaced: list[Entry] = []  # an lcore may be inside them

    def open(self, queues: list[Queue]) -> None:
        """Let these queues move packets: they take the driver's function, and follow it at each `refresh`."""
        with self._lock:
            self._open.update(queues)
            self._publish(queues)

    def close(self, queues: list[Queue]) -> None:
        """Let these queues do nothing. Raises ConfigError when one is lent."""
        with self._lock:
            self._require_home(queues)
            self._open.difference_update(queues)
            self._publish(queues)

    def close_all(self) -> None:
        """Let all queues do nothing. Raises ConfigError when one is lent."""
        with self._lock:
            self._require_home(self._lent)
            queues, self._open = self._open, set()
            self._publish(queues)

    def is_open(self, direction: str, queue: int) -> bool:
        """Tell whether a queue was opened."""
        return (direction, queue) in self._open

    def silence(self, silent: bool) -> None:
        """Let all open queues do nothing for a while, or speak again. Raises ConfigError when one is lent."""
        with self._lock:
            self._require_home(self._lent)
            self._silent = silent
            self._publish(self._open)

    def require_home(self) -> None:
        """Raise ConfigError when a queue is lent."""
        with self._lock:
            self._require_home(self._lent)

    def lend(self, queue: Queue, user: object) -> None:
        """Let an open queue do nothing here while another process uses it.

        Raises ConfigError when it is not open or lent already.
        """
        with self._lock:
            self._require_home([queue])
            if queue not in self._open or self._silent:
                told = f"port {self._port}: {_text(queue)} is not running"
                raise ConfigError(f"{told}; start the port and the queue first")
            self._lent[queue] = user
            self._publish([queue])

    def take_back(self, user: object, queue: Queue | None = None) -> None:
        """Use a queue again that was lent to `user`, or all of them."""
        with self._lock:
            back = [each for each, its in self._lent.items() if its is user and queue in (None, each)]
            for each in back:
                del self._lent[each]
            self._publish(back)

    def refresh(self) -> None:
        """Ask the driver again for the functions of the open queues and swap those that changed."""
        with self._lock:
            self._publish(self._open)

    def add(self, added: Added) -> None:
        """Put a callback at the end of a queue's chain."""
        with self._lock:
            queue = added.direction, added.queue
            self._added[queue] = [*self._added.get(queue, []), added]
            self._publish([queue])

    def remove(self, added: Added) -> bool:
        """Take a callback out of its chain; tell whether it was there."""
        with self._lock:
            queue = added.direction, added.queue
            chain = self._added.get(queue, [])
            if added not in chain:
                return False
            self._added[queue] = [other for other in chain if other is not added]
            self._publish([queue])
            return True

    def _publish(self, queues: Iterable[Queue]) -> None:
        for queue in queues:
            recipe = self._recipe(queue)
            if recipe == self._made_of.get(queue, _NOTHING):
                continue
            entry = _made(queue, recipe)
            self._replaced.append(self._entries.get(queue, nothing()))
            self._entries[queue], self._made_of[queue] = entry, recipe
            self._dispatch.publish(self._dispatch.slot(queue[0], self._port, queue[1]), entry.address)
        if self._replaced:
            self._dispatch.quiesce()  # only now may what was replaced be forgotten
            self._replaced.clear()

    def _require_home(self, queues: Iterable[Queue]) -> None:
        for queue in queues:
            if queue in self._lent:
                told = f"port {self._port}: {_text(queue)} is used by {self._lent[queue]}"
                raise ConfigError(f"{told}; end that process, or stop the queue there first", errno=errno.EBUSY)

    def _recipe(self, queue: Queue) -> Recipe:
        speaks = queue in self._open and queue not in self._lent and not self._silent
        given = self._given(*queue) if speaks else None
        return (given, tuple(self._added.get(queue, ()))) if given else _NOTHING


_NOTHING: Recipe = (None, ())


def _text(queue: Queue) -> str:
    return f"{queue[0].capitalize()} queue {queue[1]}"


def _made(queue: Queue, recipe: Recipe) -> Entry:
    given, chain = recipe
    if given is None:
        return nothing()
    entry = Entry(given)
    # Receiving, the first callback is the innermost, nearest to the driver; sending, it is the outermost.
    for added in chain if queue[0] == "rx" else reversed(chain):
        entry = wrap(entry, added)
    return entry
