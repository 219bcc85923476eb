# SPDX-License-Identifier: BSD-3-Clause
"""The queues of a port as the control plane has them: a record in memory each, and the file behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.ethdev.counters import Counters
from pollmode.mbuf import HEADROOM, REARM_ONE_OWNER, REARM_PORT

from .layout import RX_COUNTERS, RXQ, TX_COUNTERS, TXQ

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool
    from pollmode.net.pcap import Capture

    from .writer import CaptureFile

__all__ = ["RxQueue", "TxQueue"]


class Queue:
    """One queue: its record and its counters."""

    def __init__(self, memory: Memory, name: str, record: np.dtype[Any], fields: tuple[str, ...]) -> None:
        self._memory = memory
        self._zone = memory.reserve(name, record.itemsize)
        self.address = self._zone.address
        self.record = self._zone.array(record)
        self.counters = Counters(self.record, fields)

    def free(self) -> None:
        """Give the record back."""
        self._memory.free(self._zone)


class RxQueue(Queue):
    """A receive queue with the packets of a capture, or without any."""

    def __init__(self, memory: Memory, name: str, capture: Capture | None, pool: Mempool, port: int) -> None:
        super().__init__(memory, name, RXQ, RX_COUNTERS)
        self.capture = capture
        q = self.record
        rearm = REARM_PORT.put(REARM_ONE_OWNER | HEADROOM, port)
        q["pool"], q["rearm"] = pool.address, np.int64(np.uint64(rearm))
        q["room"] = pool.data_room - HEADROOM
        if capture is not None:
            q["data"], q["packets"] = capture.data.ctypes.data, capture.packets.ctypes.data
            q["count"] = len(capture)

    def rewind(self) -> None:
        """Begin the file again."""
        self.record["next"] = 0


class TxQueue(Queue):
    """A transmit queue into a file, or to nowhere."""

    def __init__(self, memory: Memory, name: str, file: CaptureFile | None) -> None:
        super().__init__(memory, name, TXQ, TX_COUNTERS)
        self.file = file
        self._lost_before = (0, 0)
        if file is not None:
            self.record["buffer"], self.record["size"] = file.memory.ctypes.data, len(file.memory)
            self.record["failed"] = int(file.failed)
            self._lost_before = (file.lost, file.lost_bytes)

    def counted(self) -> dict[str, int]:
        """Return the counters: what the file did not take in the end is dropped, not sent."""
        found = self.counters.read()
        if self.file is not None:
            lost, lost_bytes = self.file.lost - self._lost_before[0], self.file.lost_bytes - self._lost_before[1]
            found["sent"] -= lost
            found["bytes"] -= lost_bytes
            found["dropped"] += lost
        return found

    def reset_counters(self) -> None:
        """Count from zero."""
        self.counters.reset()
        if self.file is not None:
            self._lost_before = (self.file.lost, self.file.lost_bytes)
