# SPDX-License-Identifier: BSD-3-Clause
"""The primary's ports as a secondary process has them.

They look like any port. What they are and count is asked of the primary; what would change them is refused, with the
process to do it in. A queue becomes this process's own with `start_rx_queue` or `start_tx_queue` and goes back with
`stop_rx_queue` or `stop_tx_queue`: meanwhile this process's lcores poll it through their own dispatch table, with
functions compiled here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pollmode.bus_vdev import Registry
from pollmode.eal import devargs
from pollmode.eal.errors import ConfigError, HostError, InternalError
from pollmode.mbuf import mempool

from ..device import Device
from ..port import Port, State
from ..port_filters import RssHash
from ..ports import Ports
from ..types import BurstCallback, BurstEntry, DeviceInfo, Link, QueueCount, QueueInfo, Stats
from .plain import DIRECTIONS, config_from, count_from, info_from, link_from, queue_config_from, stats_from

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.eal.multiprocess import Primary
    from pollmode.mbuf import Mempool

    from ..dispatch import Dispatch

__all__ = ["PrimaryDevice", "SecondaryPort", "SecondaryPorts"]

_ATTEMPTS = 3
"""How often a queue is borrowed that is another one each time."""


def _never(device: PrimaryDevice, *_: object) -> None:
    raise InternalError(f"{device.name} is the primary's")


class PrimaryDevice(Device):
    """A device of the primary process: what it says is asked for; what it should do the port refuses before."""

    configure: Any = _never
    setup_rx_queue: Any = _never
    setup_tx_queue: Any = _never
    start: Any = _never
    stop: Any = _never
    close: Any = _never

    def __init__(self, told: dict[str, Any], primary: Primary) -> None:
        text = told["devargs"]
        arguments = None if text is None else devargs.parse(text)
        super().__init__(told["name"], told["driver"], bytes.fromhex(told["macs"][0]), arguments)
        self.entries: dict[tuple[str, int], BurstEntry] = {}
        self._primary = primary
        self._number = int(told["id"])

    def info(self) -> DeviceInfo:
        """Ask for what the device can do."""
        return info_from(self._ask("info"))

    def link(self) -> Link:
        """Ask for the state of the link."""
        return link_from(self._ask("link"))

    def stats(self) -> Stats:
        """Ask for the statistics, which count what every process moved."""
        return stats_from(self._ask("stats"))

    def xstats(self) -> dict[str, int]:
        """Ask for the driver's own extended statistics."""
        told: dict[str, int] = self._ask("xstats")
        return told

    def reset_stats(self) -> None:
        """Have the primary count from zero."""
        self._ask("reset_stats")

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Ask how full a ring is."""
        return count_from(self._ask("rx_queue_count", queue=queue))

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Ask how full a ring is."""
        return count_from(self._ask("tx_queue_count", queue=queue))

    def rss_hash(self) -> RssHash:
        """Ask how received packets are hashed."""
        told = self._ask("rss_hash")
        return RssHash(int(told["types"]), bytes.fromhex(told["key"]))

    def reta(self) -> list[int]:
        """Ask for the redirection table."""
        return [int(queue) for queue in self._ask("reta")]

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the function of a queue that is this process's."""
        return self.entries.get(("rx", queue))

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the function of a queue that is this process's."""
        return self.entries.get(("tx", queue))

    def borrow(self, direction: str, queue: int) -> None:
        """Make a queue this process's, with a function that is compiled here.

        It is compiled before the queue is ours, as the primary's packets wait for us then. What it is made of is
        certain only afterwards: where the primary set up the queue otherwise meanwhile, all is done again.
        """
        for _ in range(_ATTEMPTS):
            told = self.ask_queue("recipe", direction, queue)
            callback = self._callback(told)
            try:
                lent = self.ask_queue("lend", direction, queue)
                if all(lent[key] == told[key] for key in ("factory", "arguments")):
                    self.entries[direction, queue] = BurstEntry(callback, int(lent["queue"]))
                    return
            except BaseException:
                self.ask_queue("give_back", direction, queue)
                raise
            self.ask_queue("give_back", direction, queue)
        why = f"port {self._number} ({self.name}): the primary sets up {direction} queue {queue} anew all the time"
        raise HostError(why, mend="use it when the port is ready")

    def _callback(self, told: dict[str, Any]) -> BurstCallback:
        """Make the function of a queue as the primary's driver would."""
        driver = Registry().find(f"{self.driver_name}0")
        factory = driver.callbacks.get(str(told["factory"]))
        if factory is None:
            raise InternalError(f"{self.name}: driver {driver.name} makes no function {told['factory']!r}")
        callback: BurstCallback = factory(*told["arguments"])
        return callback

    def ask_queue(self, what: str, direction: str, queue: int) -> Any:
        """Ask for something about a queue."""
        return self._ask(what, direction=direction, queue=queue)

    def _ask(self, what: str, **arguments: Any) -> Any:
        return self._primary.ask(what, port=self._number, **arguments)


def _refused(action: str) -> Any:
    def refuse(port: SecondaryPort, *_: object, **__: object) -> None:
        """Refuse: the port is the primary's."""
        raise ConfigError(port.refusal(action))

    return refuse


class SecondaryPort(Port):
    """A port of the primary. Its state and settings are those of the last look at the table of ports."""

    device: PrimaryDevice

    configure: Any = _refused("configure it")
    setup_rx_queue: Any = _refused("set up a queue")
    setup_tx_queue: Any = _refused("set up a queue")
    start: Any = _refused("start it")
    stop: Any = _refused("stop it")
    close: Any = _refused("close it")
    reset: Any = _refused("reset it")
    put_around: Any = _refused("put a device around it")
    take_off: Any = _refused("take a device off it")
    add_mac: Any = _refused("add a MAC address")
    remove_mac: Any = _refused("remove a MAC address")

    def __init__(self, told: dict[str, Any], ports: SecondaryPorts, dispatch: Dispatch) -> None:
        super().__init__(int(told["id"]), PrimaryDevice(told, ports.primary), ports, dispatch)
        self._primary = ports.primary
        self._memory = ports.environment.memory
        self._find_pool = ports.pool
        self.look(told)

    def look(self, told: dict[str, Any]) -> None:
        """Take over what the primary tells about the port now."""
        self.state = State(told["state"])
        self.device.mac, *further = [bytes.fromhex(mac) for mac in told["macs"]]
        self._further_macs = tuple(further)
        self.mtu, self.config = int(told["mtu"]), config_from(told["config"])
        self.multicast = tuple(bytes.fromhex(mac) for mac in told["multicast"])
        self.promiscuous, self.allmulticast = bool(told["promiscuous"]), bool(told["allmulticast"])
        self._counts = {direction: len(told[direction]) for direction in DIRECTIONS}
        self._set_up = {
            (direction, queue): self._queue_from(how)
            for direction in DIRECTIONS
            for queue, how in enumerate(told[direction])
            if how is not None
        }

    def refusal(self, action: str) -> str:
        """Return why something can't be done here."""
        told = f"{self._where}: cannot {action} in a secondary process"
        return f"{told}; do it in the primary process {self._primary.pid}"

    def let_go(self) -> None:
        """Have every queue of this process do nothing; returns when no lcore is inside one."""
        self._slots.close_all()

    def _queue_from(self, how: dict[str, Any]) -> QueueInfo:
        pool = how["pool"]
        found = None if pool is None else self._find_pool(pool)
        return QueueInfo(int(how["descriptors"]), queue_config_from(how["config"]), found)

    def _switch_queue(self, direction: str, queue: int, on: bool) -> None:
        self._require_started(f"{'start' if on else 'stop'} a queue", direction, queue)
        if not on:
            if self._slots.is_open(direction, queue):
                self._slots.close([(direction, queue)])
                self.device.ask_queue("give_back", direction, queue)
        elif not self._slots.is_open(direction, queue):
            self.device.borrow(direction, queue)
            try:
                mempool.lookup_all(self._memory)  # any of them may have made the packets of a ring
                self._slots.open([(direction, queue)])
            except BaseException:
                self.device.ask_queue("give_back", direction, queue)
                raise


for _name in dir(Port):
    if _name.startswith("set_"):
        setattr(SecondaryPort, _name, _refused(f"set its {_name.removeprefix('set_').replace('_', ' ')}"))


class SecondaryPorts(Ports):
    """The primary's ports. Every look at the table asks the primary which there are."""

    def __init__(self, environment: Environment) -> None:
        """Take an environment that was started as a secondary's."""
        if environment.primary is None:
            raise InternalError("this process is no secondary one")
        self.primary = environment.primary
        self._pools: dict[str, Mempool] = {}
        mempool.set_control(self.primary.control)
        super().__init__(environment)
        self.primary.on_gone(self._let_go)

    def pool(self, name: str) -> Mempool:
        """Return a pool of the primary's."""
        found = self._pools.get(name)
        if found is None:
            found = self._pools[name] = mempool.lookup(self.environment.memory, name)
        return found

    def __getitem__(self, port: int) -> Port:
        self._look()
        return super().__getitem__(port)

    def __iter__(self) -> Iterator[Port]:
        self._look()
        return super().__iter__()

    def add(self, device: Device) -> Port:
        """Refuse: devices are the primary's."""
        told = f"{device.name}: cannot be attached in a secondary process"
        raise ConfigError(f"{told}; do it in the primary process {self.primary.pid}")

    def remove(self, port: Port) -> None:
        """Refuse: devices are the primary's."""
        raise ConfigError(f"{port.name}: cannot be detached in a secondary process; do it in {self.primary.pid}")

    def watch(self, seconds: float = 0.5) -> None:
        """Do nothing: the primary collects faults."""

    def close(self) -> None:
        """Let go of every queue; the ports stay as they are."""
        self._let_go()

    def _let_go(self) -> None:
        for port in list(self._table.values()):
            if isinstance(port, SecondaryPort):
                port.let_go()

    def _look(self) -> None:
        told = {int(each["id"]): each for each in self.primary.ask("ports")}
        with self._lock:
            for number, known in list(self._table.items()):
                if number not in told or told[number]["name"] != known.name:
                    known.removed()
                    del self._table[number]
            for number, each in told.items():
                port = self._table.get(number)
                if isinstance(port, SecondaryPort):
                    port.look(each)
                else:
                    self._table[number] = SecondaryPort(each, self, self._dispatch)
