# SPDX-License-Identifier: BSD-3-Clause
"""From the socket to the file: whole blocks only, until a limit, a signal or the process's end."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pollmode.dumpcap.limits import Limits
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.stopper import Stopper
from pollmode.eal.telemetry_client import TelemetryClient
from pollmode.ethdev.capture.remote import COMMAND
from pollmode.net.pcap import file_header
from pollmode.net.pcapng import (
    ENHANCED,
    INTERFACE,
    MAX_BLOCK,
    STATISTICS,
    BlockFile,
    block_at,
    interface_name,
    packet_run,
    statistics_counts,
    to_pcap,
)

__all__ = ["Recording", "ask"]

_ROOM = 4 * MAX_BLOCK
_LOOK = 0.1  # seconds between two looks at the clock and at signals
_LAST_PATIENCE = 60.0  # seconds for the process to send the rest, which may still compile


def ask(client: TelemetryClient, wanted: dict[str, object]) -> tuple[socket.socket, list[str]]:
    """Have the process capture what is `wanted`; returns the stream of it and the names of the ports.

    Raises HostError when the process cannot capture, ConfigError with its reason when it does not want to.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        answer = client.ask(COMMAND, json.dumps(wanted), theirs.fileno())
    if isinstance(answer, dict) and isinstance(answer.get("ports"), list):
        return ours, [str(name) for name in answer["ports"]]
    ours.close()
    if isinstance(answer, dict) and "error" in answer:
        raise ConfigError(str(answer["error"]))
    mend = "use dpdk-dumpcap for a process of DPDK's"
    raise HostError(f"the process (pid {client.info.get('pid')}) does not capture for others", mend=mend)


@dataclass
class Recording:
    """A capture that is written to `file`; `run` returns at its end.

    `packets` are in the file; `counts` are, of each interface by name, the packets that passed and those not kept.
    `complete` says whether the process told them: it did not when it was killed. `error` says why the file failed.
    """

    stream: socket.socket
    file: BlockFile
    limits: Limits
    as_pcap: bool = False
    progress: Callable[[int], None] = lambda packets: None
    packets: int = 0
    names: list[str] = field(default_factory=list)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    error: OSError | None = None

    def __post_init__(self) -> None:
        self._buffer = np.zeros(_ROOM, np.uint8)
        self._out = np.zeros(_ROOM if self.as_pcap else 1, np.uint8)
        self._count = np.zeros(1, np.int64)
        self._filled = 0
        self._closing = self._reached = False

    @property
    def complete(self) -> bool:
        """Tell whether the counts of all interfaces came."""
        return bool(self.names) and len(self.counts) == len(self.names)

    def run(self, stopper: Stopper) -> None:
        """Write until the end. Raises HostError when the process sends what is no capture, or nothing any more."""
        deadline: float | None = None
        last = 0.0
        if self.as_pcap:
            self._put(file_header())
        while self._receive():
            if deadline is None and self.names and self.limits.seconds is not None:  # the process may compile first
                deadline = time.monotonic() + self.limits.seconds
            if not self._closing and (stopper.requested or self._full() or _past(deadline)):
                self._closing, last = True, time.monotonic() + _LAST_PATIENCE
                self.stream.shutdown(socket.SHUT_WR)  # the process sends the rest and the counts
            if self._closing and time.monotonic() > last:
                raise HostError("the process does not end the capture", mend="look at its log")
            self.progress(self.packets)

    def _full(self) -> bool:
        return self._reached or self.error is not None or self.packets >= self.limits.packets

    def _receive(self) -> bool:
        """Take what came, at most for a moment; returns whether more may come."""
        poll = select.poll()
        poll.register(self.stream, select.POLLIN)
        if not poll.poll(_LOOK * 1000):
            return True
        try:
            count = self.stream.recv_into(self._buffer.data[self._filled :])
        except ConnectionResetError:
            return False
        self._filled += count
        used = self._take(self._buffer.data[: self._filled])
        self._buffer[: self._filled - used] = self._buffer[used : self._filled].copy()
        self._filled -= used
        return count > 0

    def _take(self, data: memoryview) -> int:
        """Write the whole blocks at the start of `data`; returns their bytes."""
        at = 0
        try:
            while (found := block_at(data, at)) is not None:
                kind, length = found
                at += (
                    self._take_packets(data, at) if kind == ENHANCED else self._take_block(kind, data[at : at + length])
                )
        except ConfigError as error:
            raise HostError(f"what the process sends is no capture: {error}") from None
        return at

    def _take_packets(self, data: memoryview, at: int) -> int:
        """Write a run of packets up to the limits; packets behind them are left out. Returns its bytes."""
        start, room = self._buffer.ctypes.data + at, len(data) - at
        run = packet_run(start, room, room, self._count.ctypes.data)
        if run == 0:
            raise ConfigError("a packet is longer than its block")
        if not self._full():
            fits, most = min(run, self.limits.bytes - self.file.size), self.limits.packets - self.packets
            kept = packet_run(start, fits, most, self._count.ctypes.data)
            count = int(self._count[0])
            self._reached = kept < run
            if self.as_pcap:
                written = self._put(self._out.data[: to_pcap(start, kept, self._out.ctypes.data)])
            else:
                written = self._put(data[at : at + kept])
            self.packets += count if written else 0
        return run

    def _take_block(self, kind: int, block: memoryview) -> int:
        if kind == INTERFACE:
            self.names.append(interface_name(block) or f"interface {len(self.names)}")
        elif kind == STATISTICS:
            interface, received, dropped = statistics_counts(block)
            if interface >= len(self.names):
                raise ConfigError(f"counts of interface {interface}, of which there is no description")
            self.counts[self.names[interface]] = received, dropped
        if not self.as_pcap:
            self._put(block)
        return len(block)

    def _put(self, data: bytes | memoryview) -> bool:
        """Write; from the first failure on nothing is written. Returns whether it was."""
        if self.error is None:
            try:
                self.file.put(data)
            except OSError as error:
                self.error = error
        return self.error is None


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
