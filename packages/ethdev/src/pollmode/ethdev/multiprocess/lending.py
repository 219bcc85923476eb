# SPDX-License-Identifier: BSD-3-Clause
"""The ports of this process for its secondaries: what they are told, and queues that are theirs for a while.

A queue that is lent does nothing in this process until it comes back, so that it has one user. While one is lent the
port can't be stopped or reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.jit import INTERPRETED
from pollmode.mbuf.lending import Lending as PoolLending

from .plain import DIRECTIONS, describe, info_of

if TYPE_CHECKING:
    from pollmode.eal.multiprocess import Member, Secondaries

    from ..port import Port
    from ..port_filters import RssHash
    from ..ports import Ports
    from ..types import QueueCount

__all__ = ["Lending"]


class Lending:
    """Answers secondaries about `ports`."""

    def __init__(self, ports: Ports, secondaries: Secondaries) -> None:
        self._ports = ports
        self._pools = PoolLending(ports.environment.memory, ports.environment.interrupts)
        secondaries.on_gone(lambda member: self._pools.take_back(member.ids))
        secondaries.serve("ports", lambda _, asked: [describe(port) for port in ports])
        for name, tell in _TELLS.items():
            secondaries.serve(name, self._about(tell))
        for name, service in (("recipe", self._recipe), ("lend", self._lend), ("give_back", self._give_back)):
            secondaries.serve(name, service)
        secondaries.on_gone(self._take_all_back)

    def _about(self, tell: Callable[[Port, dict[str, Any]], Any]) -> Callable[[Member, dict[str, Any]], Any]:
        return lambda _, asked: tell(self._port(asked), asked)

    def _port(self, asked: dict[str, Any]) -> Port:
        return self._ports[int(asked["port"])]

    def _queue(self, asked: dict[str, Any]) -> tuple[Port, str, int]:
        port, direction, queue = self._port(asked), asked["direction"], int(asked["queue"])
        if direction not in DIRECTIONS:
            raise ConfigError(f"a queue's direction is rx or tx, not {direction!r}")
        port.queue_info(direction, queue)
        return port, direction, queue

    def _recipe(self, _: Member, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what the function of a queue is made of, in whatever process."""
        port, direction, queue = self._queue(asked)
        if INTERPRETED:
            raise UnsupportedError(
                f"port {port.id} ({port.name}): where code is not compiled (NUMBA_DISABLE_JIT) words of two processes "
                "are not changed atomically; a queue can't be used by another process"
            )
        recipe = port.device.recipe(direction, queue)
        if recipe is None:
            raise UnsupportedError(
                f"port {port.id} ({port.name}): driver {port.device.driver_name} can't have a queue used by another "
                "process, or not as this port is set up; its statistics can be read there"
            )
        return {"factory": recipe.factory, "arguments": list(recipe.arguments), "queue": recipe.queue_address}

    def _lend(self, member: Member, asked: dict[str, Any]) -> dict[str, Any]:
        port, direction, queue = self._queue(asked)
        self._recipe(member, asked)  # what can't be lent is refused before anything changes
        self._pools.lend(member.lcores, member.control)
        port.lend(direction, queue, member)
        try:
            return self._recipe(member, asked)  # while the queue is lent it stays what it is
        except BaseException:
            port.take_back(member, direction, queue)
            raise

    def _give_back(self, member: Member, asked: dict[str, Any]) -> None:
        port, direction, queue = self._queue(asked)
        port.take_back(member, direction, queue)

    def _take_all_back(self, member: Member) -> None:
        for port in self._ports:
            port.take_back(member)


_TELLS: dict[str, Callable[[Port, dict[str, Any]], Any]] = {
    "info": lambda port, _: info_of(port.info()),
    "link": lambda port, _: asdict(port.link()),
    "stats": lambda port, _: asdict(port.stats()),
    "xstats": lambda port, _: {name: int(value) for name, value in port.device.xstats().items()},
    "reset_stats": lambda port, _: port.reset_stats(),
    "rss_hash": lambda port, _: _hash(port.rss_hash()),
    "reta": lambda port, _: [int(queue) for queue in port.reta()],
    "rx_queue_count": lambda port, asked: _count(port.rx_queue_count(int(asked["queue"]))),
    "tx_queue_count": lambda port, asked: _count(port.tx_queue_count(int(asked["queue"]))),
}


def _hash(how: RssHash) -> dict[str, Any]:
    return {"types": int(how.types), "key": how.key.hex()}


def _count(count: QueueCount | None) -> list[int] | None:
    return None if count is None else [int(word) for word in count]
