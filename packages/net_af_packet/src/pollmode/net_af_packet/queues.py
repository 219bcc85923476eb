# SPDX-License-Identifier: BSD-3-Clause
"""The queues of a port as the control plane has them: a record in memory each, tied to a ring while started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pollmode.eal.errors import DeviceFault
from pollmode.ethdev.counters import Counters
from pollmode.mbuf import HEADROOM, REARM_ONE_OWNER, REARM_PORT

from .layout import (
    FAULT_TEXTS,
    RX_COUNTERS,
    RXQ,
    TX_COUNTERS,
    TX_DATA,
    TXQ,
)
from .tx import count_unsent

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

__all__ = ["RxQueue", "TxQueue"]


class Queue:
    """One queue: its record, the table of its ring's frames, its counters."""

    kind: str

    def __init__(self, memory: Memory, name: str, number: int, record: np.dtype[Any], fields: tuple[str, ...]) -> None:
        self._memory = memory
        self._zone = memory.reserve(name, record.itemsize)
        self._frames = np.empty(0, np.int64)
        self.number = number
        self.address = self._zone.address
        self.record = self._zone.array(record)
        self.counters = Counters(self.record, fields)

    def tie(self, frames: npt.NDArray[np.int64]) -> None:
        """Begin at the first of these frames, whole again if it was broken."""
        self._frames = frames
        q = self.record
        q["frames"], q["count"], q["next"], q["broken"] = frames.ctypes.data, len(frames), 0, 0

    def fault(self) -> DeviceFault | None:
        """Return what broke the queue, None while it is sound."""
        code, index, word = (int(self.record[field][0]) for field in ("broken", "broken_index", "broken_word"))
        if code == 0:
            return None
        text = f"{self.kind} queue {self.number} is broken: {FAULT_TEXTS[code]} (frame {index}, word {word:#x})"
        return DeviceFault(text, queue=self.number, index=index, word=word)

    def reset_counters(self) -> None:
        """Count from zero."""
        self.counters.reset()

    def free(self) -> None:
        """Give the record back."""
        self._memory.free(self._zone)


class RxQueue(Queue):
    """A receive queue, whose mbufs come from `pool`."""

    kind = "Rx"

    def __init__(self, memory: Memory, name: str, number: int, pool: Mempool, port: int, frame_size: int) -> None:
        super().__init__(memory, name, number, RXQ, RX_COUNTERS)
        rearm = REARM_PORT.put(REARM_ONE_OWNER | HEADROOM, port)
        q = self.record
        q["pool"], q["frame_size"] = pool.address, frame_size
        q["rearm"], q["room"] = np.int64(np.uint64(rearm)), pool.data_room - HEADROOM
        self.missed = self._missed_before = 0

    def missed_since_reset(self) -> int:
        """Return how many packets found the ring full."""
        return self.missed - self._missed_before

    def reset_counters(self) -> None:
        """Count from zero."""
        super().reset_counters()
        self._missed_before = self.missed


class TxQueue(Queue):
    """A transmit queue. `longest` is the longest untagged frame the interface sends, in bytes."""

    kind = "Tx"

    def __init__(self, memory: Memory, name: str, number: int, frame_size: int) -> None:
        super().__init__(memory, name, number, TXQ, TX_COUNTERS)
        self.record["room"] = frame_size - TX_DATA

    def set_longest(self, longest: int) -> None:
        """Drop longer frames than this from now on."""
        self.record["longest"] = longest

    def give_up_unsent(self) -> None:
        """Count what the kernel has not sent as dropped. The port has stopped and the ring is about to go."""
        count_unsent(self.address)
