# SPDX-License-Identifier: BSD-3-Clause
"""A port: the life of a device as applications see it.

    attached --configure--> configured --set up every queue, start--> started --stop--> stopped --close--> closed
                                ^------------- configure --------------------------------|

Configuring releases every queue. A call in the wrong state, or with a value the device cannot take, is a ConfigError
that says what to do first; it changes nothing.

Control calls for one port come from one thread at a time, as in DPDK. `refresh`, `notify` and `poll` may come from any.
Lcores may go on polling a port that is stopped, reset or closed: they find nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, DeviceFault, PollmodeError

from .checks import check_config, check_descriptors, check_pool, check_queue_offloads
from .dispatch import Dispatch
from .entries import Added
from .events import EventCallback, Events, Listener
from .faults import Faults
from .port_filters import PortFilters
from .slots import PortSlots
from .types import (
    BurstCallback,
    BurstEntry,
    DeviceInfo,
    Event,
    Link,
    PortConfig,
    QueueConfig,
    QueueCount,
    QueueInfo,
    Stats,
)
from .xstats import basic_xstats

if TYPE_CHECKING:
    from pollmode.mbuf import Burst, Mempool

    from .decorator import Decorator
    from .device import Device
    from .ports import Ports

__all__ = ["Port", "State"]

log = logs.get("lib.ethdev")


class State(Enum):
    """Where a port is in its life."""

    ATTACHED = "attached"
    CONFIGURED = "configured"
    STARTED = "started"
    STOPPED = "stopped"
    CLOSED = "closed"
    REMOVED = "removed"


_WAY_OUT = {
    State.ATTACHED: "configure it first",
    State.CONFIGURED: "set up its queues and start it first",
    State.STARTED: "stop it first",
    State.STOPPED: "start it first",
    State.CLOSED: "a closed port can only be removed",
    State.REMOVED: "it is gone; attach the device again",
}
_DONE_BY = {"start": State.STARTED, "stop": State.STOPPED, "close": State.CLOSED}
_ALIVE = (State.ATTACHED, State.CONFIGURED, State.STARTED, State.STOPPED)
_READY = (State.CONFIGURED, State.STOPPED)
_DORMANT = (State.ATTACHED, State.CONFIGURED, State.STOPPED)


class Port(PortFilters):
    """One port of the table, made by `Ports.add`. `id` is its number; see the module for the order of calls."""

    def __init__(self, port: int, device: Device, ports: Ports, dispatch: Dispatch) -> None:
        super().__init__(device, f"port {port} ({device.name})")
        self.id = port
        self.name = device.name
        self.state = State.ATTACHED
        self.config = PortConfig()
        self._ports = ports
        self._events = Events()
        self._faults = Faults()
        self._set_up: dict[tuple[str, int], QueueInfo] = {}
        self._counts = {"rx": 0, "tx": 0}
        self._slots = PortSlots(dispatch, port, self._given)

    def __repr__(self) -> str:
        return f"<Port {self.id} {self.name} {self.state.value}>"

    @property
    def rx_queues(self) -> int:
        """Receive queues configured."""
        return self._counts["rx"]

    @property
    def tx_queues(self) -> int:
        """Transmit queues configured."""
        return self._counts["tx"]

    @property
    def faults(self) -> tuple[DeviceFault, ...]:
        """The queues that were found broken by `poll` and not healed since."""
        return self._faults.present

    # Life.

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig | None = None) -> None:
        """Set the numbers of queues and the configuration; every queue has to be set up again afterwards.

        Raises ConfigError for what the device cannot do, and what the driver raises; then the port is as attached.
        """
        config = config or PortConfig()
        self._require("configure", *_DORMANT)
        check_config(self._where, self.device.info(), rx_queues, tx_queues, config)
        self._release_queues()
        self.state, self._counts = State.ATTACHED, {"rx": 0, "tx": 0}
        config = replace(config, mtu=config.mtu or self.mtu)
        self.device.configure(rx_queues, tx_queues, config)
        self.config, self.mtu, self._counts = config, config.mtu, {"rx": rx_queues, "tx": tx_queues}
        self.state = State.CONFIGURED

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig | None = None) -> None:
        """Make a receive queue whose mbufs come from `pool`; 0 descriptors are the device's default number.

        Doing it again replaces the queue. Raises ConfigError for what the device cannot do.
        """
        config, where = self._check_setup("rx", queue, config)
        info = self.device.info()
        descriptors = check_descriptors(where, info.rx_desc_lim, descriptors, info.default_rx_ring_size)
        check_pool(where, info, pool)
        check_queue_offloads(where, "Rx", self.config.rx_offloads, info.rx_queue_offload_capa, config)
        self._release("rx", queue)
        self.device.setup_rx_queue(queue, descriptors, pool, config)
        self._set_up["rx", queue] = QueueInfo(descriptors, config, pool)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig | None = None) -> None:
        """Make a transmit queue; see `setup_rx_queue`."""
        config, where = self._check_setup("tx", queue, config)
        info = self.device.info()
        descriptors = check_descriptors(where, info.tx_desc_lim, descriptors, info.default_tx_ring_size)
        check_queue_offloads(where, "Tx", self.config.tx_offloads, info.tx_queue_offload_capa, config)
        self._release("tx", queue)
        self.device.setup_tx_queue(queue, descriptors, config)
        self._set_up["tx", queue] = QueueInfo(descriptors, config)

    def start(self) -> None:
        """Begin to move packets. Raises ConfigError when a queue is not set up, and what the driver raises."""
        self._require("start", *_READY)
        for direction, count in self._counts.items():
            for queue in range(count):
                if (direction, queue) not in self._set_up:
                    kind = direction.capitalize()
                    raise ConfigError(
                        f"{self._where}: cannot start: {kind} queue {queue} of {count} is not set up; "
                        f"call setup_{direction}_queue({queue}, ...) first"
                    )
        before = self.state
        with self._faults.healing():
            self.device.start()
        self.state = State.STARTED
        try:
            self._slots.open([queue for queue, how in self._set_up.items() if not how.config.deferred_start])
        except BaseException:  # a function of the driver's could not be made
            self.stop()
            self.state = before
            raise

    def stop(self) -> None:
        """End moving packets; the queues stay set up. Lcores are out of the driver's functions before it stops."""
        self._require("stop", State.STARTED)
        self._slots.close_all()  # refused while a queue is lent
        self.state = State.STOPPED
        self.device.stop()

    def close(self) -> None:
        """Release the queues and give back everything the device holds. The port can only be removed then."""
        self._require("close", *_DORMANT)
        self.state = State.CLOSED
        try:
            self._release_queues()
        finally:
            self.device.close()

    def reset(self) -> None:
        """Heal the broken queues of a started port: Event.RECOVERY_SUCCESS, or RECOVERY_FAILED and the driver's error.

        After a failure the port is stopped. A port that is not started forgets its faults: its queues start healed.
        """
        self._require("reset", *_ALIVE)
        healed = bool(self.faults)
        if self.state is not State.STARTED:
            with self._faults.healing():
                return
        self._slots.silence(True)
        try:
            with self._faults.healing():
                self.device.reset()
        except PollmodeError as error:
            self.state = State.STOPPED
            self._slots.close_all()
            self._slots.silence(False)
            log.error(f"{self._where}: could not be reset: {error}")
            self.notify(Event.RECOVERY_FAILED, error)
            raise
        self._slots.silence(False)
        if healed:
            self.notify(Event.RECOVERY_SUCCESS)

    def start_rx_queue(self, queue: int) -> None:
        """Let a stopped or deferred receive queue of a started port move packets."""
        self._switch_queue("rx", queue, True)

    def stop_rx_queue(self, queue: int) -> None:
        """Let a receive queue receive nothing; returns when no lcore is inside its function."""
        self._switch_queue("rx", queue, False)

    def start_tx_queue(self, queue: int) -> None:
        """Let a stopped or deferred transmit queue of a started port move packets."""
        self._switch_queue("tx", queue, True)

    def stop_tx_queue(self, queue: int) -> None:
        """Let a transmit queue take nothing; returns when no lcore is inside its function."""
        self._switch_queue("tx", queue, False)

    def queue_running(self, direction: str, queue: int) -> bool:
        """Tell whether a queue ("rx" or "tx") of a started port moves packets."""
        return self.state is State.STARTED and self._slots.is_open(direction, queue)

    def queue_info(self, direction: str, queue: int) -> QueueInfo:
        """Return how a queue ("rx" or "tx") was set up. Raises ConfigError when it was not."""
        where = self._check_queue(direction, queue)
        info = self._set_up.get((direction, queue))
        if info is None:
            raise ConfigError(f"{where} is not set up; call setup_{direction}_queue({queue}, ...) first")
        return info

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how full a receive queue's ring is, for a look from outside (rte_eth_rx_queue_count).

        None while the port is not started, the other side is away, or the driver has no ring or cannot tell.
        """
        return self._queue_count("rx", queue, self.device.rx_queue_count)

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how full a transmit queue's ring is (rte_eth_tx_queue_count); see `rx_queue_count`."""
        return self._queue_count("tx", queue, self.device.tx_queue_count)

    # What the device says.

    def info(self) -> DeviceInfo:
        """Return what the device can do."""
        self._require("tell about a device", *_ALIVE)
        return self.device.info()

    def link(self) -> Link:
        """Return the state of the link now."""
        self._require("read the link", *_ALIVE)
        return self.device.link()

    def stats(self) -> Stats:
        """Return the basic statistics."""
        self._require("read statistics", *_ALIVE)
        return self.device.stats()

    def xstats(self) -> dict[str, int]:
        """Return the extended statistics: the generic ones with DPDK's names, then the driver's own."""
        self._require("read statistics", *_ALIVE)
        return basic_xstats(self.device.stats(), self.rx_queues, self.tx_queues) | self.device.xstats()

    def reset_stats(self) -> None:
        """Set all statistics to zero."""
        self._require("reset statistics", *_ALIVE)
        self.device.reset_stats()

    def poll(self) -> list[DeviceFault]:
        """Collect faults: a new one is logged, kept in `faults` and told as Event.INTR_RESET. Returns the new ones."""
        if self.state is not State.STARTED:
            return []
        new = self._faults.collect(self.device.faults)
        for fault in new:
            log.error(f"{self._where}: {fault}; reset the port to heal it")
            self.notify(Event.INTR_RESET, fault)
        return new

    # Events and callbacks.

    def on(self, event: Event | None, callback: EventCallback) -> Listener:
        """Call `callback(port, event, detail)` on an event of this port, or on all; see `events.EventCallback`."""
        return self._events.on(event, callback)

    def off(self, listener: Listener) -> None:
        """End calling back."""
        self._events.off(listener)

    def notify(self, event: Event, detail: object = None) -> None:
        """Tell the listeners of this port, then those of all ports. For drivers."""
        self._events.tell(self, event, detail)
        self._ports.events.tell(self, event, detail)

    def refresh(self) -> None:
        """Ask the driver for its functions again and swap those that changed. For drivers; not within a callback.

        Returns when no lcore is inside a function that the driver no longer gives.
        """
        self._slots.refresh()

    def add_rx_callback(self, queue: int, callback: BurstCallback, user: int = 0) -> Added:
        """Have `callback(lcore, user, burst, n)` see every burst after it was received; it returns how many remain.

        It frees what it takes out and moves the others together. Callbacks run in the order added.
        """
        return self._add("rx", queue, callback, user)

    def add_tx_callback(self, queue: int, callback: BurstCallback, user: int = 0) -> Added:
        """Have `callback(lcore, user, burst, n)` see every burst before it is sent; see `add_rx_callback`.

        What it drops counts as sent. When the driver does not take all, the next burst shows it the rest again.
        """
        return self._add("tx", queue, callback, user)

    def remove_callback(self, added: Added) -> None:
        """Take a callback out; returns when no lcore is inside it. Raises ConfigError when it is not there."""
        if not self._slots.remove(added):
            raise ConfigError(
                f"{self._where}: callback {added.callback.name} is not on {added.direction} queue {added.queue}"
            )

    # Devices around the device.

    def put_around(self, decorator: Decorator) -> None:
        """Put a device around the present one; a started port goes on, through its functions. Not within a callback.

        Raises ConfigError when it was not made around this port's device.
        """
        self._require("put a device around", *_ALIVE)
        self._slots.require_home()
        if decorator.inner is not self.device:
            raise ConfigError(f"{self._where}: another device was put around it meanwhile; make it around that one")
        self.device = decorator
        try:
            self._slots.refresh()
        except BaseException:  # a function of the decorator's could not be made
            self.take_off(decorator)
            raise

    def take_off(self, decorator: Decorator) -> None:
        """Undo `put_around`; a started port goes on. Raises ConfigError when it is not the outermost device."""
        if self.device is not decorator:
            raise ConfigError(f"{self._where}: another device is around it; take that one off first")
        self._slots.require_home()
        self.device = decorator.inner
        self._slots.refresh()
        decorator.taken_off()

    # Queues that another process uses.

    def lend(self, direction: str, queue: int, user: object) -> None:
        """Let a running queue ("rx" or "tx") do nothing here while `user`, another process, moves its packets.

        Returns when no lcore is inside its function. Until it is back the port can't be stopped or reset. Raises
        ConfigError for a queue that does not run or is lent already.
        """
        self._require_started("lend a queue", direction, queue)
        self._slots.lend((direction, queue), user)

    def take_back(self, user: object, direction: str | None = None, queue: int = 0) -> None:
        """Use a queue again that was lent to `user`, or every one of them; `user` is out of its function."""
        self._slots.take_back(user, None if direction is None else (direction, queue))

    def set_link(self, up: bool) -> None:
        """Take the link up or down administratively; ConfigError while a queue is lent."""
        self._slots.require_home()
        super().set_link(up)

    # Packets, from the interpreter.

    def rx(self, queue: int, burst: Burst) -> int:
        """Receive into an empty `burst`, at most its capacity; return how many packets.

        Raises ConfigError when the port is not started, or the burst still holds packets.
        """
        self._require_started("receive", "rx", queue)
        return self._ports.receive(self.id, queue, burst)

    def tx(self, queue: int, burst: Burst) -> int:
        """Send the packets of `burst`; return how many were taken. They leave the burst, the others stay in it."""
        self._require_started("send", "tx", queue)
        return self._ports.send(self.id, queue, burst)

    # Within.

    def removed(self) -> None:
        """Mark the port as taken out of the table. For `Ports`."""
        self.state = State.REMOVED

    def _given(self, direction: str, queue: int) -> BurstEntry | None:
        return self.device.rx_entry(queue) if direction == "rx" else self.device.tx_entry(queue)

    def _require(self, action: str, *allowed: State) -> None:
        if self.state not in allowed:
            way_out = "it already is" if _DONE_BY.get(action) is self.state else _WAY_OUT[self.state]
            raise ConfigError(f"{self._where} is {self.state.value}: cannot {action}; {way_out}")

    def _require_alive(self, action: str) -> None:
        self._require(action, *_ALIVE)

    def _require_started(self, action: str, direction: str, queue: int) -> None:
        self._require(action, State.STARTED)
        self._check_queue(direction, queue)

    def _check_queue(self, direction: str, queue: int) -> str:
        count, kind = self._counts[direction], direction.capitalize()
        if not 0 <= queue < count:
            has = f"it has 0 to {count - 1}" if count else "it has none"
            raise ConfigError(f"{self._where}: there is no {kind} queue {queue}; {has}")
        return f"{self._where} {kind} queue {queue}"

    def _queue_count(self, direction: str, queue: int, count: Callable[[int], QueueCount | None]) -> QueueCount | None:
        self._check_queue(direction, queue)
        return count(queue) if self.state is State.STARTED else None

    def _check_setup(self, direction: str, queue: int, config: QueueConfig | None) -> tuple[QueueConfig, str]:
        self._require(f"set up a {direction.capitalize()} queue", *_READY)
        return config or QueueConfig(), self._check_queue(direction, queue)

    def _switch_queue(self, direction: str, queue: int, on: bool) -> None:
        self._require_started(f"{'start' if on else 'stop'} a queue", direction, queue)
        if on:
            self._slots.open([(direction, queue)])
        else:
            self._slots.close([(direction, queue)])

    def _add(self, direction: str, queue: int, callback: BurstCallback, user: int) -> Added:
        self._require("add a callback", State.CONFIGURED, State.STARTED, State.STOPPED)
        self._check_queue(direction, queue)
        added = Added(direction, queue, callback, user)
        self._slots.add(added)
        return added

    def _release(self, direction: str, queue: int) -> None:
        if self._set_up.pop((direction, queue), None) is not None:
            (self.device.release_rx_queue if direction == "rx" else self.device.release_tx_queue)(queue)

    def _release_queues(self) -> None:
        for direction, queue in list(self._set_up):
            self._release(direction, queue)
