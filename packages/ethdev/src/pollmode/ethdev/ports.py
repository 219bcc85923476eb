# SPDX-License-Identifier: BSD-3-Clause
"""The table of a process's ports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, PollmodeError
from pollmode.mbuf import telemetry as mbuf_telemetry

from . import telemetry
from .capture.remote import RemoteCaptures
from .dispatch import Dispatch, receive_once, send_once
from .entries import nothing
from .events import EventCallback, Events, Listener
from .layout import MAX_PORTS
from .multiprocess.lending import Lending
from .port import Port, State
from .types import Event

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.mbuf import Burst

    from .device import Device

__all__ = ["Ports", "open_ports"]

log = logs.get("lib.ethdev")


class Ports:
    """The ports of a process, by number, and the dispatch table that compiled loops reach them through.

    `dispatch` is the table's address for `rx_burst` and `tx_burst`; it stays valid while this object lives. The
    environment's telemetry tells about these ports, and about pools and rings.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.events = Events()
        self._table: dict[int, Port] = {}
        self._lock = threading.Lock()
        self._dispatch = Dispatch(nothing().address)
        self._interpreter = threading.Lock()
        self._watch: Watch | None = None
        mbuf_telemetry.register(environment.telemetry, environment.memory)
        telemetry.register(environment.telemetry, self)
        self._captures = RemoteCaptures(self)
        if environment.secondaries is not None:
            Lending(self, environment.secondaries)

    @property
    def dispatch(self) -> int:
        """Address of the dispatch table."""
        return self._dispatch.address

    def __getitem__(self, port: int) -> Port:
        """Return a port. Raises ConfigError that names those there are."""
        found = self._table.get(port)
        if found is None:
            there = ", ".join(str(number) for number in sorted(self._table)) or "none"
            raise ConfigError(f"there is no port {port}; ports: {there}")
        return found

    def __contains__(self, port: object) -> bool:
        """Tell whether there is such a port, given itself or its number."""
        return port in self._table or any(port is other for other in self._table.values())

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Port]:
        """Go through all ports by number, closed ones too."""
        table = self._table.copy()  # at once: ports come and go in other threads
        return iter([table[number] for number in sorted(table)])

    def available(self) -> list[Port]:
        """Return the ports that are not closed, by number."""
        return [port for port in self if port.state is not State.CLOSED]

    def by_name(self, name: str) -> Port:
        """Return the port of a device. Raises ConfigError when no port has that name."""
        for port in self:
            if port.name == name:
                return port
        raise ConfigError(f"there is no port named {name!r}; names: {', '.join(port.name for port in self) or 'none'}")

    def add(self, device: Device) -> Port:
        """Make a device a port, with the lowest free number; Event.NEW tells so.

        Raises ConfigError when the table is full or has a device of that name.
        """
        with self._lock:
            if any(port.name == device.name for port in self._table.values()):
                raise ConfigError(f"{device.name}: a port of that name is attached already")
            free = [number for number in range(MAX_PORTS) if number not in self._table]
            if not free:
                raise ConfigError(f"{device.name}: all {MAX_PORTS} ports are taken; detach one first")
            port = device.port = Port(free[0], device, self, self._dispatch)
            self._table[port.id] = port
        port.notify(Event.NEW)
        return port

    def remove(self, port: Port) -> None:
        """Take a port out of the table, closing it if needed; Event.DESTROY tells so.

        Raises ConfigError when the port is started, or not in the table.
        """
        if self._table.get(port.id) is not port:
            raise ConfigError(f"port {port.id} ({port.name}) is not attached")
        try:
            if port.state is not State.CLOSED:
                port.close()
        finally:
            if port.state is State.CLOSED:
                with self._lock:
                    self._table.pop(port.id, None)
                port.notify(Event.DESTROY)
                port.removed()

    def on(self, event: Event | None, callback: EventCallback) -> Listener:
        """Call `callback(port, event, detail)` on an event of any port, of those to come too; None: on all events."""
        return self.events.on(event, callback)

    def off(self, listener: Listener) -> None:
        """End calling back."""
        self.events.off(listener)

    def poll(self) -> None:
        """Collect the faults of all ports; see `Port.poll`."""
        for port in self:
            port.poll()

    def watch(self, seconds: float = 0.5) -> None:
        """Do `poll` every so many seconds in the interrupt thread, until `close`."""
        if self._watch is None:
            self._watch = Watch(self, seconds)

    def close(self) -> None:
        """Send secondary processes away, end captures; stop, close and remove every port.

        The first error is raised when all were tried.
        """
        if self.environment.secondaries is not None:
            self.environment.secondaries.send_away()
        self._captures.close()
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        errors: list[PollmodeError] = []
        for port in reversed(list(self)):
            try:
                if port.state is State.STARTED:
                    port.stop()
            except PollmodeError as error:
                errors.append(error)
            try:
                self.remove(port)
            except PollmodeError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def receive(self, port: int, queue: int, burst: Burst) -> int:
        """Receive into a burst object; see `Port.rx`."""
        if len(burst):
            raise ConfigError(f"the burst still holds {len(burst)} packets; send or free them before receiving into it")
        with self._interpreter:
            count = receive_once(self._lcore(), self.dispatch, port, queue, burst.address, burst.capacity)
            burst.fill(count)
        return count

    def send(self, port: int, queue: int, burst: Burst) -> int:
        """Send the packets of a burst object; see `Port.tx`."""
        with self._interpreter:
            count = send_once(self._lcore(), self.dispatch, port, queue, burst.address, len(burst))
            burst.drop(count)
        return count

    def _lcore(self) -> int:
        address: int = self.environment.lcores.control.address
        return address


def open_ports(environment: Environment) -> Ports:
    """Return the ports of a process: an empty table to fill, in a secondary process that of the primary's ports."""
    if environment.primary is None:
        return Ports(environment)
    from .multiprocess.secondary import SecondaryPorts

    return SecondaryPorts(environment)


class Watch:
    """An alarm that polls the ports and sets itself again."""

    def __init__(self, ports: Ports, seconds: float) -> None:
        self._ports = ports
        self._seconds = seconds
        self._ended = False
        self._lock = threading.Lock()
        self._handle: Any = None
        self._again()

    def end(self) -> None:
        """Set no further alarm."""
        with self._lock:
            self._ended = True
        # Outside the lock: this waits for an alarm that is being rung, and that wants the lock.
        self._ports.environment.interrupts.cancel(self._handle)

    def _again(self) -> None:
        with self._lock:
            if not self._ended:
                self._handle = self._ports.environment.interrupts.alarm(self._seconds, self._ring)

    def _ring(self) -> None:
        try:
            self._ports.poll()
        finally:
            self._again()
