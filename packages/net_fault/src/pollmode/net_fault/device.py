# SPDX-License-Identifier: BSD-3-Clause
"""A device around a port's device whose queues have faults."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.eal.clock import cycles_per_second
from pollmode.ethdev import BurstEntry, Decorator, Device
from pollmode.ethdev.counters import Counters

from .faults import discard
from .layout import COUNTERS, LINK, QUEUE, QUEUE_SIZE
from .options import KINDS, FaultOptions, Rates
from .rx import make_rx
from .tx import make_tx

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.eal.memory import Memory

__all__ = ["FaultDevice"]

ALL = 0xFFFFFFFF
"""Numbers of the generator: how many of them mean a fault is its chance."""
MILLION = 1_000_000
XSTATS = {"nombuf": "mbuf_allocation_errors", "full": "full_errors"}
"""Counters of what could not be done; the others count packets."""


class Queue:
    """One direction of one queue: its record, and the links that entries of the dispatch point at."""

    def __init__(self, memory: Memory, name: str, rates: Rates, options: FaultOptions) -> None:
        self._memory = memory
        self._zone = memory.reserve(name, QUEUE_SIZE)
        self._record = self._zone.array(QUEUE)
        self._links: dict[tuple[int, int], np.ndarray[Any, np.dtype[Any]]] = {}
        for kind in KINDS:
            self._record[kind] = round(getattr(rates, kind) * ALL)
        self._record["delay_cycles"] = cycles_per_second() * options.delay // MILLION
        self._record["gap"] = options.gap
        self._record["random"] = zlib.crc32(f"{options.seed} {name}".encode()) or 1
        self.counters = Counters(self._record, COUNTERS)

    def link(self, inner: BurstEntry) -> int:
        """Return the address of the link to an entry; the same for the same entry, and good while the queue is."""
        key = inner.callback.address, inner.queue_address
        if key not in self._links:
            made = self._links[key] = np.zeros(1, LINK)
            made["inner_function"], made["inner_queue"] = key
            made["queue"] = self._zone.address
        return int(self._links[key].ctypes.data)

    def held(self) -> int:
        """Return how many packets are held back now, or wait in the outbox."""
        record = self._record[0]
        return int(record["held"]) + int(record["end"]) - int(record["first"])

    def discard(self, lcore: int) -> None:
        """Free what is held back; no lcore is inside the queue."""
        discard(lcore, self._zone.address)

    def free(self, lcore: int) -> None:
        """Free what is held back, and give the memory back."""
        self.discard(lcore)
        self._memory.free(self._zone)


class FaultDevice(Decorator):
    """Drops, duplicates, reorders, corrupts and delays the packets of the device it is around."""

    def __init__(self, name: str, inner: Device, environment: Environment, options: FaultOptions) -> None:
        super().__init__(inner)
        self.options = options
        self.fault_name = name
        self._memory = environment.memory
        self._lcore = environment.lcores.control.address
        self._queues: dict[tuple[str, int], Queue] = {}
        make_rx(), make_tx()  # compile them before a running port waits for them

    def _queue(self, direction: str, number: int) -> Queue:
        found = self._queues.get((direction, number))
        if found is None:
            rates = self.options.rx if direction == "rx" else self.options.tx
            name = f"{self.fault_name}_{direction}q{number}"
            found = self._queues[direction, number] = Queue(self._memory, name, rates, self.options)
        return found

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the device's receive function with faults around it, None while it has none."""
        inner = super().rx_entry(queue)
        return BurstEntry(make_rx(), self._queue("rx", queue).link(inner)) if inner else None

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the device's transmit function with faults around it, None while it has none."""
        inner = super().tx_entry(queue)
        return BurstEntry(make_tx(), self._queue("tx", queue).link(inner)) if inner else None

    def stop(self) -> None:
        """Stop the device, and free what is held back."""
        try:
            super().stop()
        finally:
            for queue in self._queues.values():
                queue.discard(self._lcore)

    def release_rx_queue(self, queue: int) -> None:
        """Free what the queue holds, and its record."""
        self._free("rx", queue)
        super().release_rx_queue(queue)

    def release_tx_queue(self, queue: int) -> None:
        """Free what the queue holds, and its record."""
        self._free("tx", queue)
        super().release_tx_queue(queue)

    def taken_off(self) -> None:
        """Free everything."""
        for direction, number in list(self._queues):
            self._free(direction, number)

    def _free(self, direction: str, number: int) -> None:
        queue = self._queues.pop((direction, number), None)
        if queue is not None:
            queue.free(self._lcore)

    def xstats(self) -> dict[str, int]:
        """Return the device's extended statistics and those of the faults.

        For each queue entered + duplicated = left + dropped + discarded + held, always.
        """
        named = super().xstats()
        for (direction, number), queue in sorted(self._queues.copy().items()):
            prefix = f"{direction}_q{number}_fault_"
            counted = queue.counters.read()
            named |= {prefix + XSTATS.get(name, f"{name}_packets"): count for name, count in counted.items()}
            named[f"{prefix}held_packets"] = queue.held()
        return named

    def reset_stats(self) -> None:
        """Set all statistics to zero."""
        super().reset_stats()
        for queue in self._queues.copy().values():
            queue.counters.reset()
