# SPDX-License-Identifier: BSD-3-Clause
"""Rates of two programs on two CPUs, window by window, each labelled by how far apart the CPUs were around it.

The host moves a virtual machine's CPUs at any moment, often within a second. So a window is short; before and after it
both programs stand still while the way between the CPUs is probed, and a window between unlike probes is not counted.
The counters are read through the telemetry socket, which DPDK's programs and ours answer alike.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.side_by_side.placement import label, round_trip
from benchmarks.side_by_side.programs import RUNTIME, Testpmd

SETTLE, LENGTH = 0.03, 0.15  # seconds: until the programs run again as before; of a window
REPLY = 16384


class Counters:
    """The statistics of port 0 of a running program with the file prefix `name`."""

    def __init__(self, name: str) -> None:
        path = max((RUNTIME / name).glob("dpdk_telemetry.v2*"), key=lambda path: path.stat().st_mtime)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._socket.recv(REPLY)

    def read(self, field: str) -> tuple[int, int]:
        """Return a count and the moment it was read, in nanoseconds."""
        self._socket.send(b"/ethdev/stats,0")
        reply = json.loads(self._socket.recv(REPLY))
        return int(reply["/ethdev/stats"][field]), time.monotonic_ns()

    def close(self) -> None:
        """Leave the program alone."""
        self._socket.close()


@contextlib.contextmanager
def standing(programs: Sequence[Testpmd]) -> Iterator[None]:
    """Let nothing of the programs run for the length of the block."""
    for program in programs:
        program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for program in programs:
            program.process.send_signal(signal.SIGCONT)


def rates_by_placement(
    name: str, field: str, programs: Sequence[Testpmd], cpus: tuple[int, int], seconds: float
) -> dict[str, list[float]]:
    """Return the rates in Mpps at which `field` of the program `name` grew, by placement, measured for `seconds`."""
    found: dict[str, list[float]] = defaultdict(list)
    counters = Counters(name)
    try:
        with standing(programs):
            before = round_trip(cpus)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(SETTLE)
            count, begun = counters.read(field)
            time.sleep(LENGTH)
            grown, ended = counters.read(field)
            with standing(programs):
                after = round_trip(cpus)
            found[label(before, after)].append((grown - count) / (ended - begun) * 1e3)
            before = after
    finally:
        counters.close()
    return found
