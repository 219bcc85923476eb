# SPDX-License-Identifier: BSD-3-Clause
"""Who is told about the events of a port."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pollmode.eal import logs

from .types import Event

if TYPE_CHECKING:
    from .port import Port

__all__ = ["EventCallback", "Events", "Listener"]

log = logs.get("lib.ethdev")

EventCallback = Callable[["Port", Event, Any], None]
"""`callback(port, event, detail)`, called in the thread that noticed the event, often the interrupt thread.

It must not wait for that thread: it sets a flag or wakes someone rather than stopping or closing the port itself.
"""


@dataclass(frozen=True, eq=False)
class Listener:
    """A callback on an event: the handle to end it by. `event` None listens to all."""

    event: Event | None
    callback: EventCallback


class Events:
    """The listeners of a port, or of all ports."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    def on(self, event: Event | None, callback: EventCallback) -> Listener:
        """Call back on an event, or on all; return the handle for `off`."""
        listener = Listener(event, callback)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return listener

    def off(self, listener: Listener) -> None:
        """End calling back; a handle that is not known is ignored."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def tell(self, port: Port, event: Event, detail: object) -> None:
        """Call each listener. One that raises is logged and doesn't keep the others from being told."""
        for listener in self._listeners:
            if listener.event in (None, event):
                try:
                    listener.callback(port, event, detail)
                except Exception as error:
                    log.error(f"port {port.id}: a callback on {event.name} failed: {type(error).__name__}: {error}")
