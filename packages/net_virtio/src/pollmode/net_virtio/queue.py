# SPDX-License-Identifier: BSD-3-Clause
"""A virtqueue as the control plane holds it: the ring in shared memory, the record and its shadow in private memory."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pollmode.eal.errors import ConfigError, DeviceFault
from pollmode.ethdev import QueueCount
from pollmode.mbuf.layout import HEADROOM, MBUF_SIZE, REARM_ONE_OWNER, REARM_PORT
from pollmode.vhost.pacing import begin_pacing
from pollmode.vhost.virtqueue import (
    AVAIL_FLAGS,
    INDEX_MASK,
    USED_IDX,
    VRING_AVAIL_F_NO_INTERRUPT,
    avail_size,
    desc_size,
    split_layout,
    used_size,
    valid_size,
)

from .layout import (
    CACHE_LINE,
    DEFAULT_RING,
    FAULT_TEXTS,
    FREE_THRESHOLD,
    MAX_BURST,
    QUEUE_SIZE,
    RX_DROPS,
    SIZE_BINS,
    TX_DROPS,
    TX_SLOT_SIZE,
    VIRTQUEUE,
)
from .refill import give_back_posted, post_all
from .tx import give_back_unsent

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

__all__ = ["Counters", "RxVirtQueue", "TxVirtQueue", "VirtQueue", "default_threshold"]

_U2 = np.dtype("<u2")


def default_threshold(entries: int) -> int:
    """Return DPDK's default for both free thresholds: a quarter of the ring, at most 32."""
    return max(1, min(entries // 4, FREE_THRESHOLD))


@dataclass(frozen=True)
class Counters:
    """What a queue has counted since it was made or cleared."""

    packets: int
    bytes: int
    dropped: dict[str, int]
    nombuf: int
    multicast: int
    broadcast: int
    bins: dict[str, int]

    @property
    def errors(self) -> int:
        """Packets dropped, whatever the reason."""
        return sum(self.dropped.values())


class _Private:
    """Cache-line aligned memory of this process alone."""

    def __init__(self, size: int) -> None:
        self._raw = np.zeros(size + CACHE_LINE, np.uint8)
        start = -self._raw.ctypes.data % CACHE_LINE
        self.bytes = self._raw[start : start + size]
        self.address: int = self.bytes.ctypes.data


class VirtQueue(ABC):
    """One virtqueue, number `index` of its device: ring memory, record (at `address`), kick and call eventfds.

    Raises ConfigError for a size that is no power of two up to 32768, HostError when memory is short. `close` gives
    everything back; buffers are given back before by the caller.
    """

    transmit = False

    def __init__(self, memory: Memory, name: str, index: int, entries: int, threshold: int = 0) -> None:
        if not valid_size(entries):
            raise ConfigError(
                f"{name}: a split ring has a power of two entries up to 32768, not {entries}; {DEFAULT_RING} is usual"
            )
        self.index = index
        self.entries = entries
        self.threshold = threshold or default_threshold(entries)
        self._memory = memory
        avail, used, size = split_layout(entries, CACHE_LINE)
        slots = -(-size // CACHE_LINE) * CACHE_LINE
        self._zone = memory.reserve(name, slots + (TX_SLOT_SIZE * entries if self.transmit else 0))
        self.desc, self.avail, self.used = (self._zone.address + offset for offset in (0, avail, used))
        self._slots = self._zone.address + slots
        self._record = _Private(QUEUE_SIZE)
        self._shadow = _Private(8 * entries)
        self._ids = _Private(2 * entries)
        self._links = _Private(2 * entries)
        self._lengths = _Private(4 * MAX_BURST)
        self._scratch = _Private(8 * max(entries, 2))
        self.address: int = self._record.address
        self._base = self.record.copy()  # the counters where they were cleared last
        self.kick_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def record(self) -> np.void:
        """The VIRTQUEUE record, writable."""
        record: np.void = self._record.bytes.view(VIRTQUEUE)[0]
        return record

    def outstanding(self) -> int:
        """Return how many buffers the device holds."""
        return int(np.count_nonzero(self._shadow.bytes.view(np.int64)))

    def _begin(self) -> np.void:
        """Make ring and record as new; what has been counted stays. Nothing may be out, nobody may use the queue."""
        entries = self.entries
        parts = (self.desc, desc_size(entries)), (self.avail, avail_size(entries)), (self.used, used_size(entries))
        for start, size in parts:
            self._zone.array(np.dtype("u1"), size, start - self._zone.address)[:] = 0
        flags = self._zone.array(_U2, 1, self.avail - self._zone.address + AVAIL_FLAGS)
        flags[0] = VRING_AVAIL_F_NO_INTERRUPT
        q = self.record
        for field in ("broken", "used_idx", "avail_idx", "free_head", "untagged", "pool"):
            q[field] = 0
        q["desc"], q["avail"], q["used"], q["mask"] = self.desc, self.avail, self.used, self.entries - 1
        q["shadow"], q["ids"], q["links"] = self._shadow.address, self._ids.address, self._links.address
        q["lengths"], q["scratch"], q["slots"] = self._lengths.address, self._scratch.address, self._slots
        q["free"], q["threshold"], q["kick_fd"] = self.entries, self.threshold, self.kick_fd
        self._ids.bytes.view(np.uint16)[:] = np.arange(self.entries)
        return q

    def used_index(self) -> int:
        """Return the device's used index, for the interpreter."""
        return int(self._zone.array(_U2, 1, self.used - self._zone.address + USED_IDX)[0])

    def fault(self) -> DeviceFault | None:
        """Return what broke the queue, or None while it is sound."""
        q = self.record
        code = int(q["broken"])
        if code == 0:
            return None
        index, word = int(q["broken_index"]), int(q["broken_word"])
        kind = "Tx" if self.transmit else "Rx"
        text = f"{kind} queue {self.index // 2} is broken: {FAULT_TEXTS[code]} (index {index}, word {word:#x})"
        return DeviceFault(text, queue=self.index, index=index, word=word)

    def counters(self) -> Counters:
        """Return the counters. While an lcore works on the queue they may be a burst apart from each other."""
        q, base = self.record, self._base
        packets = int(q["packets"] - base["packets"])
        at_least = [int(count) for count in q["sizes"] - base["sizes"]]
        ends = [*at_least[1 : len(SIZE_BINS)], 0]
        drops = TX_DROPS if self.transmit else RX_DROPS
        bins = {"undersize_packets": packets - at_least[0]}
        bins |= {name: at_least[i] - ends[i] for i, (name, _) in enumerate(SIZE_BINS)}
        return Counters(
            packets=packets,
            bytes=int(q["bytes"] - base["bytes"]),
            dropped={name: int(q[field] - base[field]) for field, name in drops.items()},
            nombuf=int(q["nombuf"] - base["nombuf"]),
            multicast=int(q["multicast"] - base["multicast"]),
            broadcast=int(q["broadcast"] - base["broadcast"]),
            bins={name: max(0, count) for name, count in bins.items()},
        )

    def clear_counters(self) -> None:
        """Count from here on. Nothing is written: a zero could be lost to an addition of the lcore's in flight."""
        self._base = self.record.copy()

    @abstractmethod
    def count(self) -> QueueCount:
        """Return how many packets are in the ring that the other end has not taken; an lcore may be at work on it."""

    def _between(self, behind: int, ahead: int) -> QueueCount:
        """Return the distance of two indexes, of which the one that is ahead was read last."""
        return QueueCount(min((ahead - behind) & INDEX_MASK, self.entries), self.entries)

    @abstractmethod
    def end(self, lcore: int) -> int:
        """Give back every mbuf that the device holds; returns how many packets. The device must be silent.

        `lcore` is the caller's record.
        """

    def close(self) -> None:
        """Give memory and descriptors back. Closing twice is harmless."""
        if self.kick_fd >= 0:
            for fd in (self.kick_fd, self.call_fd):
                with contextlib.suppress(OSError):
                    os.close(fd)
            self.kick_fd = self.call_fd = -1
            self._memory.free(self._zone)


class RxVirtQueue(VirtQueue):
    """A receive queue, filled from `pool`."""

    def __init__(self, memory: Memory, name: str, index: int, entries: int, pool: Mempool, threshold: int = 0) -> None:
        super().__init__(memory, name, index, entries, threshold)
        self.pool = pool

    def begin(self, lcore: int, header: int, port: int) -> int:
        """Start afresh for a header of `header` bytes: every descriptor gets a buffer, as far as the pool has them.

        `lcore` is the caller's record. Returns how many buffers were posted.
        """
        q = self._begin()
        q["pool"] = self.pool.address
        q["header_offset"] = MBUF_SIZE + self.pool.private_size + HEADROOM - header
        q["room"] = self.pool.data_room - HEADROOM + header
        q["rearm"] = HEADROOM | REARM_ONE_OWNER | REARM_PORT.put(0, port)
        begin_pacing(q["pacing"])
        return post_all(lcore, self.address)

    def count(self) -> QueueCount:
        """Return how many received packets no lcore has fetched."""
        return self._between(int(self.record["used_idx"]), self.used_index())

    def end(self, lcore: int) -> int:
        """Put every posted buffer back into the pool; see `VirtQueue.end`."""
        return give_back_posted(lcore, self.address)


class TxVirtQueue(VirtQueue):
    """A transmit queue."""

    transmit = True

    def begin(self) -> None:
        """Start afresh."""
        self._begin()

    def count(self) -> QueueCount:
        """Return how many packets the device has not sent."""
        return self._between(self.used_index(), int(self.record["avail_idx"]))

    def end(self, lcore: int) -> int:
        """Free every unsent packet; see `VirtQueue.end`."""
        return give_back_unsent(lcore, self.address)
