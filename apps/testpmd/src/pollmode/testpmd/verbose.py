# SPDX-License-Identifier: BSD-3-Clause
"""Printing packets as they pass (set verbose): callbacks on the queues note them, a thread prints what was noted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from pollmode.eal.memory import Memory, Memzone
from pollmode.ethdev import Added, Port, State
from pollmode.mbuf import mempool
from pollmode.testpmd.packet_text import SeenPacket, burst_head, packet_lines
from pollmode.testpmd.seen import RING_SIZE, SEEN, SEEN_RING, SLOTS, forget, headers_of, noted, noting
from pollmode.testpmd.tell import explain

__all__ = ["Verbose"]

PERIOD = 0.05  # seconds between two looks at what was noted
LEVEL_BOTH = 2
"""From this level on sent packets are printed; received ones at 1 and above this."""


@dataclass
class Tap:
    """The callback on one queue and its ring."""

    port: Port
    way: str
    queue: int
    zone: Memzone
    added: Added
    read: int = 0
    lost: int = 0


class Verbose:
    """What is printed of the packets of all ports. `level` 0 nothing, 1 received, 2 sent, above 2 both."""

    def __init__(self, memory: Memory) -> None:
        self.level = 0
        self._memory = memory
        self._taps: list[Tap] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self, level: int, ports: list[Port]) -> None:
        """Change the level, for these ports at once and for those to come."""
        self.level = level
        for port in ports:
            self.follow(port)
        if level == 0:
            self._end_thread()

    def follow(self, port: Port) -> None:
        """Note the packets of a port's queues, as many as it has now."""
        self.leave(port)
        if port.state in (State.ATTACHED, State.CLOSED, State.REMOVED):
            return
        if self.level == 1 or self.level > LEVEL_BOTH:
            self._tap(port, "rx", port.rx_queues)
        if self.level >= LEVEL_BOTH:
            self._tap(port, "tx", port.tx_queues)
        if self._taps and self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._print_all, name="verbose", daemon=True)
            self._thread.start()

    def leave(self, port: Port) -> None:
        """Print what was noted of a port, and note no more."""
        with self._lock:
            for tap in [tap for tap in self._taps if tap.port is port]:
                port.remove_callback(tap.added)
                self._print(tap)
                self._taps.remove(tap)
                self._memory.free(tap.zone)

    def close(self) -> None:
        """End; the ports are left or closed."""
        self._end_thread()
        for tap in list(self._taps):
            self.leave(tap.port)

    def _tap(self, port: Port, way: str, queues: int) -> None:
        add = port.add_rx_callback if way == "rx" else port.add_tx_callback
        for queue in range(queues):
            zone = self._memory.reserve(f"testpmd_seen_{port.id}_{way}{queue}", RING_SIZE)
            tap = Tap(port, way, queue, zone, add(queue, noting(), zone.address))
            with self._lock:
                self._taps.append(tap)

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _print_all(self) -> None:
        while not self._ended.wait(PERIOD):
            with self._lock:
                for tap in self._taps:
                    self._print(tap)

    def _print(self, tap: Tap) -> None:
        head = noted(tap.zone.address)
        records = tap.zone.array(SEEN, SLOTS, SEEN_RING.itemsize)
        lines = []
        for place in range(tap.read, head):
            record = records[place % SLOTS]
            if record["burst"]:
                lines.append(burst_head(tap.port.id, tap.queue, tap.way, int(record["burst"])))
            lines.append(packet_lines(_packet(record), tap.way, tap.queue))
        tap.read = forget(tap.zone.address, head)
        if lines:
            print("\n".join(lines), flush=True)
        lost = int(tap.zone.array(SEEN_RING)["lost"][0])
        if lost > tap.lost:
            explain(f"port {tap.port.id}/queue {tap.queue}: {lost - tap.lost} more packets, too many to show")
            tap.lost = lost


def _packet(record: np.void) -> SeenPacket:
    kept = int(record["kept"])
    frame: Any = record["frame"]
    pool = mempool.find(int(record["mbuf"]))
    return SeenPacket(
        bytes(frame[:kept]),
        pool.name if pool is not None else "unknown",
        int(record["pkt_len"]),
        int(record["nb_segs"]),
        int(record["ol_flags"]),
        int(record["packet_type"]),
        headers_of(int(frame.ctypes.data), kept),
        int(record["vlan_tci"]),
        int(record["vlan_tci_outer"]),
        int(record["hash_rss"]),
    )
