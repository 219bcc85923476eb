# SPDX-License-Identifier: BSD-3-Clause
"""The queue record as the control plane handles it, and which ring it works on.

Two sides use a record: one lcore, in the callbacks, and the control plane, here. Nothing in the record keeps them
apart. Whoever calls a method that changes what callbacks read sees to it that no lcore is inside one: ethdev does while
a port is stopped or reset, and `Port.refresh` does for a ring that comes or goes (`device.VhostDevice`).

The record is private memory, not EAL memory: a virtio-user port in this process shares all EAL memory with its back
end, and nothing a peer can write may be believed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from pollmode.eal.errors import DeviceFault
from pollmode.eal.jit import Callback
from pollmode.eal.memzone import array_at
from pollmode.ethdev import QueueCount
from pollmode.mbuf import Mempool
from pollmode.mbuf.layout import HEADROOM, REARM_ONE_OWNER, REARM_PORT
from pollmode.vhost.mapping import MappedFile
from pollmode.vhost.pacing import begin_pacing
from pollmode.vhost.virtqueue import (
    AVAIL_IDX,
    HDR_SIZE,
    INDEX_MASK,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_EVENT_IDX,
    has,
    header_size,
)
from pollmode.vhost.vring import Vring

from .control import adopt_ring, heal_ring
from .layout import (
    CACHE_LINE,
    FAULT_NONE,
    FAULT_PERMISSION,
    FAULT_TEXTS,
    MAX_SEGMENTS,
    QUEUE,
    QUEUE_SIZE,
    SIZE_BINS,
    VARIANT_LEGACY,
    VARIANT_MERGEABLE,
    VARIANT_MODERN,
    VARIANT_NONE,
    VECTOR,
    VECTOR_SPARE,
    WAITING,
)
from .rx import make_rx
from .tx import make_tx

_U2 = np.dtype("<u2")
COUNTERS = ("packets", "bytes", "missed", "nombuf", "calls", "faults", "misses", "multicast", "broadcast", "given_up")
DROPS = ("short", "long", "unfit")
"""Counters of packets dropped for what they are; "errors" is their sum."""


@dataclass(frozen=True)
class Direction:
    """Which way a queue carries packets, seen from the port."""

    name: str
    ring_offset: int  # of the ring within its pair (virtio 1.2, 5.1.2): what we receive, the front end transmits


RX = Direction("rx", 1)
TX = Direction("tx", 0)


def variant_for(direction: Direction, features: int) -> int:
    """Return the VARIANT_* of a ring under the negotiated features."""
    if header_size(features) == HDR_SIZE:
        return VARIANT_LEGACY
    if direction is TX and has(features, VIRTIO_NET_F_MRG_RXBUF):
        return VARIANT_MERGEABLE
    return VARIANT_MODERN


@cache
def callback_for(direction: Direction, variant: int, logged: int = 0) -> Callback:
    """Return the callback of a direction and VARIANT_*, compiled on first use; `logged` (1) marks written pages."""
    return make_rx(variant, logged) if direction is RX else make_tx(variant, logged)


class Queue:
    """One receive or transmit queue. `address` is what its callbacks get."""

    def __init__(self, direction: Direction, number: int) -> None:
        self.direction = direction
        self.number = number
        self.ring = 2 * number + direction.ring_offset
        self.variant = VARIANT_NONE  # of the ring it is bound to
        self._logged = 0
        self._bytes = np.zeros(QUEUE_SIZE + CACHE_LINE, np.uint8)
        start = -self._bytes.ctypes.data % CACHE_LINE
        self._record = self._bytes[start : start + QUEUE_SIZE].view(QUEUE)
        self.address: int = self._record.ctypes.data
        self._segments = np.zeros(MAX_SEGMENTS, np.int64)
        self._vector = np.zeros(0, VECTOR)
        self._record["segments"] = self._segments.ctypes.data
        self._record["call_fd"] = -1
        self._base = self._counts()

    # --- set-up -------------------------------------------------------------------------------------------------

    def use_pool(self, pool: Mempool, port: int, segments_max: int) -> None:
        """Receive into mbufs of `pool`, marked as received on `port`, at most `segments_max` of them a packet."""
        self._record["segments_max"] = min(segments_max, MAX_SEGMENTS)
        self._record["pool"] = pool.address
        self._record["room"] = pool.data_room - HEADROOM
        self._record["rearm"] = HEADROOM | REARM_ONE_OWNER | REARM_PORT.put(0, port)

    # --- the ring -----------------------------------------------------------------------------------------------

    def compile(self, features: int, logged: bool) -> None:
        """Compile what `bind` needs, with a log if `logged`."""
        callback_for(self.direction, variant_for(self.direction, features), int(logged))

    def bind(self, vring: Vring, features: int, log: MappedFile | None = None, miss_fd: int = -1) -> None:
        """Work on `vring`. There is a callback from now on.

        It marks written pages in `log` if there is one. Behind an IOMMU `miss_fd` is the eventfd it writes when an
        address has no translation yet; see `missing`.
        """
        self.compile(features, log is not None)
        record = self._record
        record["log"], record["log_size"] = (log.address, log.size) if log else (0, 0)
        record["log_used"], record["memory"] = vring.log_address, vring.memory
        self._vector = np.zeros(vring.num + VECTOR_SPARE, VECTOR)
        record["vector"], record["vector_size"] = self._vector.ctypes.data, len(self._vector)
        record["desc"], record["avail"], record["used"] = vring.desc, vring.avail, vring.used
        record["num"], record["regions"], record["call_fd"] = vring.num, vring.regions, vring.call_fd
        record["miss_fd"], record["miss_access"] = miss_fd, 0
        record["event_idx"] = has(features, VIRTIO_RING_F_EVENT_IDX)
        begin_pacing(record["pacing"])
        record["halt"] = FAULT_NONE
        adopt_ring(self.address)
        self._logged = int(log is not None)
        self.variant = variant_for(self.direction, features)

    def use_call(self, fd: int) -> None:
        """Call the front end by this eventfd from now on, -1 for none. No lcore may be inside the callback."""
        self._record["call_fd"] = fd

    def unbind(self) -> None:
        """Have no callback any more. The ring is left when no lcore is inside the one there was."""
        self.variant = VARIANT_NONE

    @property
    def base(self) -> int:
        """The index of the next available entry."""
        return int(self._record["next"][0])

    def callback(self) -> Callback | None:
        """Return the callback that runs on the ring the queue is bound to, None without one."""
        variant = self.variant
        return callback_for(self.direction, variant, self._logged) if variant != VARIANT_NONE else None

    @property
    def bound(self) -> bool:
        """Whether there is a ring."""
        return self.variant != VARIANT_NONE

    @property
    def broken(self) -> bool:
        """Whether the front end broke the ring."""
        return self.bound and int(self._record["halt"][0]) not in (FAULT_NONE, WAITING)

    def heal(self) -> None:
        """Go on with a broken ring behind the entry that broke it, which is given back empty."""
        if self.broken:
            heal_ring(self.address)

    def fault(self) -> DeviceFault | None:
        """Return what broke the ring, None for a sound one."""
        record = self._record[0]
        code, index, word = int(record["halt"]), int(record["halt_index"]), int(record["halt_word"])
        if not self.bound or code in (FAULT_NONE, WAITING):
            return None
        where = f"{self.direction.name} queue {self.number} (ring {self.ring})"
        text = f"the front end broke {where}: {FAULT_TEXTS[code]}; at {index}, word {word:#x}"
        return DeviceFault(text, queue=self.ring, index=index, word=word)

    # --- behind an IOMMU ----------------------------------------------------------------------------------------

    def missing(self) -> tuple[int, int] | None:
        """Return the address whose translation the queue waits for, and what it is wanted for (ACCESS_*)."""
        record = self._record[0]
        if not self.bound or int(record["halt"]) != WAITING:
            return None
        return int(record["halt_word"]), int(record["miss_access"])

    def take_denied(self) -> tuple[int, int] | None:
        """Return, once, the address that broke the queue because its translation does not allow what was wanted."""
        record = self._record[0]
        access = int(record["miss_access"])
        if not self.bound or int(record["halt"]) != FAULT_PERMISSION or access == 0:
            return None
        record["miss_access"] = 0
        return int(record["halt_word"]), access

    def resume(self) -> None:
        """Go on where a translation was missing."""
        self._record["halt"] = FAULT_NONE

    def count(self) -> QueueCount | None:
        """Return how many entries hold packets, None without a ring. The caller keeps the ring from going.

        Receiving, those that the front end made available; transmitting, those that it did not.
        """
        if not self.bound:
            return None
        record = self._record[0]
        following, size = int(record["next"]), int(record["num"])  # the index that is behind first
        offered = int(array_at(int(record["avail"]) + AVAIL_IDX, _U2)[0])
        available = min((offered - following) & INDEX_MASK, size)
        return QueueCount(available if self.direction is RX else size - available, size)

    # --- statistics ---------------------------------------------------------------------------------------------

    def _counts(self) -> dict[str, int]:
        counts = {name: int(self._record[name][0]) for name in COUNTERS + DROPS}
        counts["errors"] = sum(counts[name] for name in DROPS)
        sizes = self._record["sizes"][0]
        counts.update((name, int(count)) for (name, _), count in zip(SIZE_BINS, sizes, strict=True))
        return counts

    def counts(self) -> dict[str, int]:
        """Return the counters since the last `reset_counts`: COUNTERS, DROPS, their sum, size bins. Stops nothing."""
        return {name: count - self._base[name] for name, count in self._counts().items()}

    def reset_counts(self) -> None:
        """Count from here on. The data path's own counters only grow: it is their only writer."""
        self._base = self._counts()
