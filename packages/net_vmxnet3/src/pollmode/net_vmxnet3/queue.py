# SPDX-License-Identifier: BSD-3-Clause
"""A queue as the control plane holds it: rings in shared memory, records and shadows in private memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.eal.errors import DeviceFault
from pollmode.ethdev import QueueCount
from pollmode.mbuf.layout import CACHE_LINE, HEADROOM, MBUF_SIZE, REARM_ONE_OWNER, REARM_PORT

from .layout import (
    BTYPE_BODY,
    BTYPE_HEAD,
    DESC_SIZE,
    MAX_RX_BUFFER,
    QUEUE_ERRORS,
    RCD_EOP,
    RCD_RQID,
    RCD_SOP,
    RING_ALIGN,
    RING_STEP,
    RXD_BTYPE,
    RXD_LEN,
)
from .records import (
    COUNTERS,
    FAULT_STOPPED,
    FAULT_TEXTS,
    FREE_THRESHOLD,
    MAX_BURST,
    QUEUE,
    RING,
    RX_DROPS,
    TX_DROPS,
)
from .refill import drop_head, post_all
from .ring import break_queue, give_back

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

__all__ = ["Queue", "RxQueue", "RxSettings", "TxQueue"]


class _Private:
    """Cache-line aligned memory of this process alone."""

    def __init__(self, size: int) -> None:
        self._raw = np.zeros(size + CACHE_LINE, np.uint8)
        start = -self._raw.ctypes.data % CACHE_LINE
        self.bytes = self._raw[start : start + size]
        self.address: int = self.bytes.ctypes.data

    def record(self, dtype: np.dtype[Any]) -> np.void:
        record: np.void = self.bytes.view(dtype)[0]
        return record


@dataclass(frozen=True)
class RxSettings:
    """What a receive queue is told when it begins: port, its number among how many, what completions may say.

    `table` is the address of `parsed.parsed_table`, `control` that of the queue's descriptor in shared memory,
    `doorbells` the addresses of both rings' doorbell records.
    """

    port: int
    queues: int
    table: int
    lro: bool
    mtu: int
    control: int
    doorbells: tuple[int, int]


class CommandRing:
    """One command ring: descriptors at `address`, `iova` for the device, and what the driver believes of them."""

    def __init__(self, address: int, iova: int, size: int) -> None:
        self.address, self.iova, self.size = address, iova, size
        self._record = _Private(RING.itemsize)
        self._shadow = _Private(8 * size)
        self.record_address: int = self._record.address

    @property
    def record(self) -> np.void:
        """The RING record, writable."""
        return self._record.record(RING)

    def begin(self, word: int, doorbell: int) -> None:
        """Make the record as new; the descriptors were zeroed."""
        self._record.bytes[:] = 0
        self._shadow.bytes[:] = 0
        r = self.record
        r["desc"], r["shadow"], r["size"] = self.address, self._shadow.address, self.size
        r["gen"], r["word"], r["doorbell"] = 1, word, doorbell

    def outstanding(self) -> int:
        """Return how many descriptors the device holds."""
        return int(self.record["used"])


class Queue(ABC):
    """One queue: its rings in one zone of memory, its QUEUE record at `address`.

    Raises HostError when memory is short; then nothing is kept. `close` gives everything back; buffers are given back
    before by `end`.
    """

    kind = ""
    drops: dict[str, str]

    def __init__(
        self, memory: Memory, name: str, index: int, sizes: tuple[int, ...], data_size: int, threshold: int
    ) -> None:
        self.index, self.entries, self.data_size = index, sizes[0], data_size
        self.comp_size = sum(sizes)
        self.threshold = threshold or max(1, min(sizes[0] // 4, FREE_THRESHOLD))
        parts = [DESC_SIZE * size for size in (*sizes, self.comp_size)] + [data_size * sizes[0]]
        starts, end = [], 0
        for part in parts:
            starts.append(end)
            end = -(-(end + part) // RING_ALIGN) * RING_ALIGN
        self._memory = memory
        self._zone = memory.reserve(name, end, RING_ALIGN)
        self._closed = False
        self.rings = [
            CommandRing(self._zone.address + start, memory.iova(self._zone.address + start), size)
            for start, size in zip(starts, sizes, strict=False)
        ]
        self._comp, self._data = (self._zone.address + start for start in starts[len(sizes) :])
        self.comp_iova = memory.iova(self._comp)
        self.data_iova = memory.iova(self._data) if data_size else 0
        self._record = _Private(QUEUE.itemsize)
        self._scratch = _Private(8 * max(*sizes, MAX_BURST))
        self.address: int = self._record.address
        self._base = self.record.copy()  # the counters where they were cleared last

    @property
    def record(self) -> np.void:
        """The QUEUE record, writable."""
        return self._record.record(QUEUE)

    @property
    def comp(self) -> int:
        """Address of the completion ring."""
        return self._comp

    def outstanding(self) -> int:
        """Return how many descriptors the device holds."""
        return sum(ring.outstanding() for ring in self.rings)

    def _begin(self, control: int, words: tuple[int, ...], doorbells: tuple[int, ...]) -> np.void:
        """Make rings and record as new; what has been counted stays. Nothing may be out, nobody may use the queue."""
        self._zone.array(np.dtype("u1"), self._zone.size)[:] = 0
        for ring, word, doorbell in zip(self.rings, words, doorbells, strict=True):
            ring.begin(word, doorbell)
        q = self.record
        counted = {name: int(q[name]) for name in COUNTERS}
        self._record.bytes[:] = 0
        for name, count in counted.items():
            q[name] = count
        q["ring0"] = self.rings[0].record_address
        q["ring1"] = self.rings[-1].record_address
        q["comp"], q["comp_size"], q["comp_gen"], q["control"] = self._comp, self.comp_size, 1, control
        q["scratch"], q["threshold"], q["body_rqid"] = self._scratch.address, self.threshold, -1
        q["data"], q["data_iova"], q["data_size"] = self._data, self.data_iova, self.data_size
        q["iova_offset"] = self._memory.iova(self._zone.address) - self._zone.address
        q["scattered_iova"] = self._memory.iova_mode == "pa"
        return q

    def count(self) -> QueueCount:
        """Return how many packets are in the ring that the other end has not taken; an lcore may be at work on it."""
        entries = self._zone.array("<i8", 2 * self.comp_size, self._comp - self._zone.address)[1::2]
        q = self.record
        start, gen = int(q["comp_next"]), int(q["comp_gen"])
        ahead = np.concatenate([entries[start:] < 0, (entries[:start] < 0) ^ True]) == bool(gen)
        done = int(np.argmin(ahead)) if not ahead.all() else len(ahead)
        return self._waiting(done)

    @abstractmethod
    def _waiting(self, completed: int) -> QueueCount:
        """Return the count by the completions that were not looked at."""

    def fault(self) -> DeviceFault | None:
        """Return what broke the queue, or None while it is sound."""
        q = self.record
        code = int(q["broken"])
        if code == 0:
            return None
        index, word = int(q["broken_index"]), int(q["broken_word"])
        why = FAULT_TEXTS[code]
        if code == FAULT_STOPPED:
            why += f": {QUEUE_ERRORS.get(word, 'an unknown reason')}"
        text = f"{self.kind} queue {self.index} is broken: {why} (index {index}, word {word & 0xFFFFFFFF:#x})"
        return DeviceFault(text, queue=self.index, index=index, word=word)

    def stopped_by_device(self, error: int) -> None:
        """Break the queue because the device says that it stopped it."""
        break_queue(self.address, FAULT_STOPPED, error)

    def counters(self) -> dict[str, int]:
        """Return the counters by the names of QUEUE. While an lcore works they may be a burst apart from each other."""
        q, base = self.record, self._base
        return {name: int(q[name] - base[name]) for name in COUNTERS}

    def drop_counters(self) -> dict[str, int]:
        """Return the packets dropped by reason, by their names in the extended statistics."""
        counters = self.counters()
        return {name: counters[field] for field, name in self.drops.items()}

    def clear_counters(self) -> None:
        """Count from here on. Nothing is written: a zero could be lost to an addition of the lcore's in flight."""
        self._base = self.record.copy()

    @abstractmethod
    def end(self, lcore: int) -> int:
        """Give back every mbuf that the device holds; returns how many packets. The device must be silent.

        `lcore` is the caller's record.
        """

    def close(self) -> None:
        """Give the memory back. Closing twice is harmless (CVE-2023-4459)."""
        if not self._closed:
            self._closed = True
            self._memory.free(self._zone)


class RxQueue(Queue):
    """A receive queue, filled from `pool`: ring 0 of head buffers, ring 1 of body buffers when `body`."""

    kind = "Rx"
    drops = RX_DROPS

    def __init__(
        self,
        memory: Memory,
        name: str,
        index: int,
        entries: int,
        pool: Mempool,
        *,
        body: bool = True,
        data_size: int = 0,
        threshold: int = 0,
    ) -> None:
        super().__init__(memory, name, index, (entries, entries if body else RING_STEP), data_size, threshold)
        self.pool, self.body = pool, body
        self.room = min(pool.data_room - HEADROOM, MAX_RX_BUFFER)

    def begin(self, lcore: int, settings: RxSettings) -> int:
        """Start afresh: every descriptor but one gets a buffer, as far as the pool has them.

        `lcore` is the caller's record. Returns how many buffers of ring 0 were posted.
        """
        length = RXD_LEN.put(0, self.room)
        words = (length | BTYPE_HEAD << RXD_BTYPE.shift, length | BTYPE_BODY << RXD_BTYPE.shift)
        q = self._begin(settings.control, words, settings.doorbells)
        q["pool"] = self.pool.address
        q["data_offset"] = MBUF_SIZE + self.pool.private_size + HEADROOM
        q["iova_offset"] += q["data_offset"]
        q["room"] = self.room
        q["rearm"] = HEADROOM | REARM_ONE_OWNER | REARM_PORT.put(0, settings.port)
        q["table"] = settings.table
        whole = RCD_SOP.mask | RCD_EOP.mask
        q["expected"] = whole | RCD_RQID.put(0, self.index)
        q["expected_data"] = whole | RCD_RQID.put(0, self.index + 2 * settings.queues)
        q["lro"], q["mtu"] = settings.lro, settings.mtu
        posted = post_all(lcore, self.address, self.rings[0].record_address)
        if self.body:
            q["body_rqid"] = self.index + settings.queues
            post_all(lcore, self.address, self.rings[1].record_address)
        return posted

    def _waiting(self, completed: int) -> QueueCount:
        return QueueCount(min(completed, self.entries), self.entries)

    def end(self, lcore: int) -> int:
        """Put every posted buffer back into the pool, and the packet that had only begun; see `Queue.end`."""
        if int(self.record["comp"]) == 0:
            return 0  # it never began
        count = drop_head(lcore, self.address)
        return count + sum(give_back(lcore, ring.record_address, ring.outstanding()) for ring in self.rings)


class TxQueue(Queue):
    """A transmit queue."""

    kind = "Tx"
    drops = TX_DROPS

    def __init__(
        self, memory: Memory, name: str, index: int, entries: int, *, data_size: int = 0, threshold: int = 0
    ) -> None:
        super().__init__(memory, name, index, (entries,), data_size, threshold)

    def begin(self, control: int, doorbell: int) -> None:
        """Start afresh; see `RxSettings` for the arguments."""
        self._begin(control, (0,), (doorbell,))

    def _waiting(self, completed: int) -> QueueCount:
        return QueueCount(max(0, self.outstanding() - completed), self.entries)

    def end(self, lcore: int) -> int:
        """Free every packet that was not completed; see `Queue.end`."""
        if int(self.record["comp"]) == 0:
            return 0
        return give_back(lcore, self.rings[0].record_address, self.rings[0].outstanding())
