# SPDX-License-Identifier: BSD-3-Clause
"""A capture: callbacks on the chosen queues, and the thread that writes what they kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import numpy as np

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError, InternalError, UnsupportedError
from pollmode.net.pcap import MAX_PACKET
from pollmode.net.pcapng import (
    INBOUND,
    OUTBOUND,
    BlockFile,
    direction_option,
    interface_description,
    interface_statistics,
    queue_option,
    section_header,
)

from .layout import BUFFER_SIZE, GATHER_SIZE, TAP_QUEUE
from .ring import gather, make_tap, now

if TYPE_CHECKING:
    from pollmode.ethdev.entries import Added
    from pollmode.ethdev.port import Port

    from .sinks import Sink

__all__ = ["Selection", "Tap", "start"]

log = logs.get("lib.ethdev.capture")

_IDLE: Final = 0.005  # seconds between two looks at empty memory
_GRACE: Final = 1_000_000  # nanoseconds from a burst's stamp to its end, at most: only then it is known to be oldest
_FOR_EVER: Final = (1 << 63) - 1
_DIRECTIONS: Final = {"rx": INBOUND, "tx": OUTBOUND}
_in_use_for_ever: list[object] = []
"""Memory of queues that an lcore never left."""


@dataclass(frozen=True)
class Selection:
    """What is captured: ports, their queues (None: all), "rx" and "tx", and the bytes of each packet.

    Raises ConfigError for what there is not, UnsupportedError for a filter of packets.
    """

    ports: tuple[Port, ...]
    queues: tuple[int, ...] | None = None
    directions: tuple[str, ...] = ("rx", "tx")
    snaplen: int = MAX_PACKET
    filter: str = ""

    def __post_init__(self) -> None:
        if not self.ports:
            raise ConfigError("a capture wants a port")
        if len(set(self.ports)) < len(self.ports):
            raise ConfigError("a port is named twice in a capture")
        if not self.directions or not _DIRECTIONS.keys() >= set(self.directions):
            raise ConfigError(f"directions are rx and tx, not {', '.join(self.directions) or 'none'}")
        if not 1 <= self.snaplen <= MAX_PACKET:
            raise ConfigError(f"snaplen is 1 to {MAX_PACKET} bytes, not {self.snaplen}")
        if self.filter:
            way_out = "capture all, then: tcpdump -r FILE -w CHOSEN 'FILTER'"
            raise UnsupportedError(f"packets are not filtered by {self.filter!r} while they are captured; {way_out}")

    def places(self) -> list[tuple[Port, str, int]]:
        """Return port, direction and queue of everything chosen. Raises ConfigError for a port that has none of it."""
        found = []
        for port in self.ports:
            counts = {"rx": port.rx_queues, "tx": port.tx_queues}
            queues = self.queues if self.queues is not None else range(max(counts.values()))
            here = [(port, way, q) for way in self.directions for q in queues if 0 <= q < counts[way]]
            if not here:
                has = f"{counts['rx']} Rx and {counts['tx']} Tx queues"
                raise ConfigError(
                    f"port {port.id} ({port.name}) has {has}: none of those to capture; configure it first"
                )
            found += here
        return found


class Tap:
    """Captures `selection` into `sink`: `attach`, then `run` in a thread, which closes the sink at the end.

    `ending` set, `hung_up()` or a sink that takes no more ends it. `error` says why a sink failed.
    """

    def __init__(
        self, selection: Selection, sink: Sink, ending: threading.Event, hung_up: Callable[[], bool] = bool
    ) -> None:
        self.error: OSError | None = None
        self._selection, self._sink, self._ending, self._hung_up = selection, sink, ending, hung_up
        self._added: list[tuple[Port, Added]] = []
        places = selection.places()
        self._records = np.zeros(len(places), TAP_QUEUE)
        self._buffers = [np.zeros(BUFFER_SIZE, np.uint8) for _ in places]
        base, step = self._records.ctypes.data, TAP_QUEUE.itemsize
        self._addresses = np.array([base + step * i for i in range(len(places))], np.int64)
        self._out = np.zeros(GATHER_SIZE, np.uint8)
        self._places = places
        for q, buffer, (port, direction, queue) in zip(self._records, self._buffers, places, strict=True):
            q["buffer"], q["size"], q["snaplen"] = buffer.ctypes.data, BUFFER_SIZE, selection.snaplen
            q["interface"], q["queue"] = selection.ports.index(port), queue_option(queue)
            q["direction"] = direction_option(_DIRECTIONS[direction])

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return of each port by name how many packets passed, and how many of them were not kept."""
        found = {port.name: (0, 0) for port in self._selection.ports}
        for q, (port, _, _) in zip(self._records, self._places, strict=True):
            seen, missed = found[port.name]
            found[port.name] = seen + int(q["seen"]), missed + int(q["missed"])
        return found

    def attach(self) -> None:
        """Write the head of the file and put the callbacks in. Raises ConfigError or OSError, and nothing is left."""
        gather(self._addresses.ctypes.data, 0, 0, 0, 0)  # compiled now, not while packets wait
        self._started = now()
        try:
            self._sink.put(section_header(f"Pollmode {version('pollmode-ethdev')}") + self._descriptions())
            for i, (port, direction, queue) in enumerate(self._places):
                add = port.add_rx_callback if direction == "rx" else port.add_tx_callback
                self._added.append((port, add(queue, make_tap(), int(self._addresses[i]))))
            self._records["armed"] = 1  # all begin together: none has filled its memory before the last is there
        except BaseException:
            self._detach()
            self._sink.close()
            raise

    def run(self) -> None:
        """Write what is captured until the end, then take the callbacks out, write the rest and the counts."""
        try:
            while not self._ending.is_set() and not self._hung_up():
                if not self._write(now() - _GRACE):
                    self._ending.wait(_IDLE)
            self._detach()
            while self._write(_FOR_EVER):
                pass
            self._sink.put(self._statistics())
        except OSError as error:
            self.error = error
            log.warning(f"a capture ends: {error.strerror or error}")
        finally:
            self._detach()
            self._sink.close()

    def _write(self, until: int) -> int:
        filled = gather(self._addresses.ctypes.data, len(self._addresses), self._out.ctypes.data, GATHER_SIZE, until)
        if filled:
            self._sink.put(self._out.data[:filled])
        return filled

    def _detach(self) -> None:
        while self._added:
            port, added = self._added.pop()
            try:
                port.remove_callback(added)
            except InternalError as error:
                _in_use_for_ever.append((self._records, self._buffers))
                log.error(f"a capture ends: {error}")

    def _descriptions(self) -> bytes:
        snaplen = self._selection.snaplen
        return b"".join(interface_description(p.name, f"port {p.id}", snaplen) for p in self._selection.ports)

    def _statistics(self) -> bytes:
        counts = self.counts().values()
        times = self._started, now()
        return b"".join(interface_statistics(i, *times, *count) for i, count in enumerate(counts))


class FileCapture:
    """A capture into a file that runs until `stop`, or until the file takes no more (`error`)."""

    def __init__(self, path: str, selection: Selection) -> None:
        self._ending = threading.Event()
        self._file = BlockFile(path)
        try:
            self._tap = Tap(selection, self._file, self._ending)
            self._tap.attach()
        except OSError as error:
            told = f"{path} cannot be written: {error.strerror}"
            raise HostError(told, mend="make room, or write elsewhere", errno=error.errno) from error
        except BaseException:
            self._file.close()
            raise
        self._thread = threading.Thread(target=self._tap.run, name="capture", daemon=True)
        self._thread.start()

    @property
    def error(self) -> OSError | None:
        """Why the file takes no more, None while it does."""
        return self._tap.error

    @property
    def running(self) -> bool:
        """Tell whether packets are still captured."""
        return self._thread.is_alive()

    def stop(self) -> dict[str, tuple[int, int]]:
        """End; returns of each port by name how many packets passed, and how many of them were not kept."""
        self._ending.set()
        self._thread.join()
        return self._tap.counts()


def start(path: str, *ports: Port, **wanted: object) -> FileCapture:
    """Capture running ports into a pcapng file until `stop()`; `wanted` are the fields of `Selection`.

    Raises ConfigError for a path, a port or a queue that cannot be captured, HostError for a full disk,
    UnsupportedError for a filter.
    """
    return FileCapture(path, Selection(ports, **wanted))  # type: ignore[arg-type]  # Selection checks them
