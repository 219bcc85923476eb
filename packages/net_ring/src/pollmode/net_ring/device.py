# SPDX-License-Identifier: BSD-3-Clause
"""The device of net_ring: queues that are the ends of rings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.ethdev import (
    BurstEntry,
    Device,
    DeviceInfo,
    Link,
    PortConfig,
    QueueConfig,
    QueueCount,
    Recipe,
    Stats,
    TxOffload,
)
from pollmode.ethdev.counters import Counters

from .layout import MAX_RINGS, QUEUE
from .rings import RingSet
from .rx import make_rx
from .tx import make_tx

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

__all__ = ["RingDevice"]


class Queue:
    """One queue: the record in memory that names its ring and counts."""

    def __init__(self, memory: Memory, name: str, ring: int) -> None:
        self._memory = memory
        self.zone = memory.reserve(name, QUEUE.itemsize)
        record = self.zone.array(QUEUE)
        record["ring"] = ring
        self.counters = Counters(record, ("packets",))

    def packets(self) -> int:
        """Packets since the last reset."""
        return self.counters.read()["packets"]

    def free(self) -> None:
        """Give the memory back."""
        self._memory.free(self.zone)


class RingDevice(Device):
    """A port whose transmit queues lead back to its receive queues through rings (DPDK's net_ring).

    `lcore` is the address of the record with which packets left in the rings are freed at the end.
    """

    promiscuous = True
    allmulticast = True

    def __init__(self, name: str, memory: Memory, rings: RingSet, lcore: int) -> None:
        super().__init__(name, "net_ring", bytes(6))
        self._memory = memory
        self._rings = rings
        self._lcore = lcore
        self._started = False
        self._up = True
        self._rx: dict[int, Queue] = {}
        self._tx: dict[int, Queue] = {}

    def info(self) -> DeviceInfo:
        """Return the limits; segments and sizes are nobody's business here."""
        return DeviceInfo(
            max_rx_queues=MAX_RINGS,
            max_tx_queues=MAX_RINGS,
            tx_offload_capa=TxOffload.MULTI_SEGS,
            speed_capa=(10000,),
            private_info={"rings": self._rings.name, "devices on the rings": str(self._rings.users)},
        )

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take anything that ethdev let through."""

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Tie the queue to its ring; mbufs come from the sender's pool, not from this one."""
        self._rx[queue] = Queue(self._memory, f"{self.name}_rxq{queue}", self._rings.rings[queue].address)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Tie the queue to its ring, whose size stays what it is."""
        self._tx[queue] = Queue(self._memory, f"{self.name}_txq{queue}", self._rings.rings[queue].address)

    def release_rx_queue(self, queue: int) -> None:
        """Free the record; packets stay in the ring."""
        self._rx.pop(queue).free()

    def release_tx_queue(self, queue: int) -> None:
        """Free the record; packets stay in the ring."""
        self._tx.pop(queue).free()

    def start(self) -> None:
        """Take the link up, unless it was set down."""
        self._started = True

    def stop(self) -> None:
        """Take the link down; packets stay in the rings."""
        self._started = False

    def close(self) -> None:
        """Let go of the rings; the last device frees the packets in them."""
        self._rings.let_go(self._lcore)

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the receive function, none while the link is set down."""
        return BurstEntry(make_rx(), self._rx[queue].zone.address) if self._up else None

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the transmit function, none while the link is set down."""
        return BurstEntry(make_tx(), self._tx[queue].zone.address) if self._up else None

    def recipe(self, direction: str, queue: int) -> Recipe | None:
        """Return how a queue is used by another process: not on rings that several use, nor while the link is down.

        A process that is killed between claiming slots of such a ring and filling them would hold up the others.
        """
        if self._rings.shared or not self._up:
            return None
        return Recipe(direction, (), (self._rx if direction == "rx" else self._tx)[queue].zone.address)

    def link(self) -> Link:
        """Return a link of 10 Gbps that is up while the port is started."""
        return Link(up=self._started and self._up, speed=10000)

    def stats(self) -> Stats:
        """Return what the queues counted. Bytes are not: nobody looks at the packets."""
        rx, tx = _read(self._rx), _read(self._tx)
        return Stats(ipackets=sum(rx), opackets=sum(tx), q_ipackets=rx, q_opackets=tx)

    def rx_queue_count(self, queue: int) -> QueueCount:
        """Return how many packets are in the ring."""
        ring = self._rings.rings[queue]
        return QueueCount(len(ring), ring.capacity)

    def tx_queue_count(self, queue: int) -> QueueCount:
        """Return the same: a ring has two ends."""
        return self.rx_queue_count(queue)

    def reset_stats(self) -> None:
        """Count from zero."""
        for queue in (*self._rx.values(), *self._tx.values()):
            queue.counters.reset()

    def set_promiscuous(self, enabled: bool) -> None:
        """Take either mode: nothing is filtered."""

    def set_allmulticast(self, enabled: bool) -> None:
        """Take either mode: nothing is filtered."""

    def set_mtu(self, mtu: int) -> None:
        """Take any MTU: nothing is cut."""

    def set_mac(self, mac: bytes) -> None:
        """Take any address: nothing is filtered."""

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Take any addresses: nothing is filtered."""

    def set_link(self, up: bool) -> None:
        """Take the link up or down: down, no packet passes."""
        self._up = up
        self.port.refresh()


def _read(queues: dict[int, Queue]) -> tuple[int, ...]:
    """Return what each queue up to the highest counted; one that was not set up counted nothing."""
    highest = max(queues, default=-1)
    return tuple(queues[number].packets() if number in queues else 0 for number in range(highest + 1))
