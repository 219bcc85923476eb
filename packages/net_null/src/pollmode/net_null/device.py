# SPDX-License-Identifier: BSD-3-Clause
"""The device of net_null: queues that are records in memory, nothing behind them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.ethdev import (
    MAX_QUEUES,
    BurstEntry,
    Device,
    DeviceInfo,
    Link,
    PortConfig,
    QueueConfig,
    Recipe,
    RxOffload,
    Stats,
    TxOffload,
)
from pollmode.ethdev.counters import Counters
from pollmode.mbuf import HEADROOM, REARM_ONE_OWNER, REARM_PORT

from .layout import RXQ, TXQ
from .rx import make_rx, make_rx_none
from .tx import make_tx

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone
    from pollmode.mbuf import Mempool

__all__ = ["NullDevice", "NullOptions", "random_mac"]


@dataclass(frozen=True)
class NullOptions:
    """The devargs: bytes of each packet, whether bytes are copied, whether nothing is ever received."""

    size: int
    copy: bool
    no_rx: bool


class Queue:
    """One queue: its record in memory, followed by the packet that a copying queue copies."""

    def __init__(self, memory: Memory, name: str, record: np.dtype[Any], fields: tuple[str, ...], packet: int) -> None:
        self._memory = memory
        self.zone: Memzone = memory.reserve(name, record.itemsize + packet)
        self.record = self.zone.array(record)
        self.record["packet"] = self.zone.address + record.itemsize
        self.counters = Counters(self.record, fields)

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free(self.zone)


class NullDevice(Device):
    """A port that makes packets as fast as they are asked for and swallows what is sent (DPDK's net_null)."""

    promiscuous = True
    allmulticast = True

    def __init__(self, name: str, memory: Memory, options: NullOptions) -> None:
        super().__init__(name, "net_null", random_mac())
        self.options = options
        self._memory = memory
        self._up = False
        self._rx: dict[int, Queue] = {}
        self._tx: dict[int, Queue] = {}

    def info(self) -> DeviceInfo:
        """Return the limits: there are next to none."""
        return DeviceInfo(
            max_rx_queues=MAX_QUEUES,
            max_tx_queues=MAX_QUEUES,
            min_rx_bufsize=0 if self.options.no_rx else self.options.size,
            tx_offload_capa=TxOffload.MULTI_SEGS | TxOffload.MT_LOCKFREE,
            rx_offload_capa=RxOffload(0),
            speed_capa=(10000,),
        )

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take anything that ethdev let through."""

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Write the record with the header that every packet gets."""
        size = self.options.size
        made = Queue(self._memory, f"{self.name}_rxq{queue}", RXQ, ("packets", "bytes", "nombuf"), size)
        header = made.record["header"]
        rearm = HEADROOM | REARM_ONE_OWNER | REARM_PORT.put(0, self.port.id)
        header["rearm"], header["pkt_len"], header["data_len"] = rearm, size, size
        made.record["pool"], made.record["packet_size"] = pool.address, size
        self._rx[queue] = made

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Write the record."""
        size = self.options.size
        made = Queue(self._memory, f"{self.name}_txq{queue}", TXQ, ("packets", "bytes"), size)
        made.record["packet_size"] = size
        self._tx[queue] = made

    def release_rx_queue(self, queue: int) -> None:
        """Free the record."""
        self._rx.pop(queue).free()

    def release_tx_queue(self, queue: int) -> None:
        """Free the record."""
        self._tx.pop(queue).free()

    def start(self) -> None:
        """Take the link up."""
        self._up = True

    def stop(self) -> None:
        """Take the link down; no queue holds an mbuf."""
        self._up = False

    def close(self) -> None:
        """Do nothing: the queues have been released."""

    def rx_entry(self, queue: int) -> BurstEntry:
        """Return the function that the devargs ask for."""
        callback = make_rx_none() if self.options.no_rx else make_rx(self.options.copy)
        return BurstEntry(callback, self._rx[queue].zone.address)

    def tx_entry(self, queue: int) -> BurstEntry:
        """Return the function that the devargs ask for."""
        return BurstEntry(make_tx(self.options.copy), self._tx[queue].zone.address)

    def recipe(self, direction: str, queue: int) -> Recipe | None:
        """Return what the devargs ask for: a queue is nothing but its record."""
        if direction == "tx":
            return Recipe("tx", (self.options.copy,), self._tx[queue].zone.address)
        if self.options.no_rx:
            return Recipe("rx_none", (), self._rx[queue].zone.address)
        return Recipe("rx", (self.options.copy,), self._rx[queue].zone.address)

    def link(self) -> Link:
        """Return a link of 10 Gbps that is up while the port is started."""
        return Link(up=self._up, speed=10000)

    def stats(self) -> Stats:
        """Return what the queues counted."""
        rx, tx = _read(self._rx), _read(self._tx)
        return Stats(
            ipackets=sum(counted["packets"] for counted in rx),
            opackets=sum(counted["packets"] for counted in tx),
            ibytes=sum(counted["bytes"] for counted in rx),
            obytes=sum(counted["bytes"] for counted in tx),
            rx_nombuf=sum(counted["nombuf"] for counted in rx),
            q_ipackets=tuple(counted["packets"] for counted in rx),
            q_opackets=tuple(counted["packets"] for counted in tx),
            q_ibytes=tuple(counted["bytes"] for counted in rx),
            q_obytes=tuple(counted["bytes"] for counted in tx),
            q_errors=tuple(0 for _ in rx),
        )

    def reset_stats(self) -> None:
        """Count from zero."""
        for queue in (*self._rx.values(), *self._tx.values()):
            queue.counters.reset()

    def set_mtu(self, mtu: int) -> None:
        """Take any MTU: nothing is cut."""

    def set_mac(self, mac: bytes) -> None:
        """Take any address: nothing is filtered."""


def _read(queues: dict[int, Queue]) -> list[dict[str, int]]:
    """Return what each queue up to the highest counted; one that was not set up counted nothing."""
    nothing: dict[str, int] = {"packets": 0, "bytes": 0, "nombuf": 0}
    highest = max(queues, default=-1)
    return [queues[number].counters.read() if number in queues else nothing for number in range(highest + 1)]


def random_mac() -> bytes:
    """Return a random locally administered unicast address (rte_eth_random_addr)."""
    first, *rest = os.urandom(6)
    return bytes([first & 0xFC | 0x02, *rest])
