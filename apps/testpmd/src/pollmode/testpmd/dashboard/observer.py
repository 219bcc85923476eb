# SPDX-License-Identifier: BSD-3-Clause
"""What the dashboard shows of a session, read at one moment: plain values, so that drawing asks nothing of a port.

The counters are those of every other view: `live.sample`, `Port.xstats` and the session's summary of forwarding. What
is kept between two looks is what rates are made of.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Port, QueueCount, State
from pollmode.testpmd.dashboard.history import History
from pollmode.testpmd.dashboard.losses import losses
from pollmode.testpmd.live import sample
from pollmode.testpmd.plan import Plan, Stream
from pollmode.testpmd.report import PortSample, StreamSummary
from pollmode.testpmd.session import Session

__all__ = ["CoreSeen", "Counted", "Observer", "PortSeen", "QueueSeen", "Seen", "StreamSeen"]


@dataclass(frozen=True)
class Counted:
    """A counter and its growth a second."""

    name: str
    count: int
    rate: float


@dataclass(frozen=True)
class QueueSeen:
    """One queue: "rx" or "tx", its number, whether it moves packets, its counters, how full its ring is."""

    way: str
    number: int
    running: bool
    packets: Counted
    errors: int
    ring: QueueCount | None


@dataclass(frozen=True)
class PortSeen:
    """One port; `state` is up, down, stopped, broken or new.

    `counted` are all extended statistics that are not zero, `lost` those of lost packets.
    """

    id: int
    name: str
    driver: str
    state: str
    speed: str
    totals: PortSample
    history: History
    queues: tuple[QueueSeen, ...]
    counted: tuple[Counted, ...]
    lost: tuple[Counted, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class StreamSeen:
    """One stream: packets a second received, sent, and dropped for want of room in the transmit queue."""

    stream: Stream
    received: float
    sent: float
    dropped: Counted


@dataclass(frozen=True)
class CoreSeen:
    """One lcore that forwards; `busy` is the share of its time spent on packets, None where it is not recorded."""

    lcore: int
    streams: tuple[StreamSeen, ...]
    busy: float | None


@dataclass(frozen=True)
class Seen:
    """A session at one moment."""

    mode: str
    running: bool
    ports: tuple[PortSeen, ...]
    cores: tuple[CoreSeen, ...]


class Observer:
    """Looks at a session again and again; `look` is cheap and stops nobody."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ports: dict[Port, _PortMemory] = {}
        self._streams: dict[Stream, StreamSummary] = {}
        self._looked = 0.0
        self._plan: Plan | None = None

    def look(self) -> Seen:
        """Return how the session is now. A port that goes away meanwhile is left out."""
        session, seen = self._session, []
        available = session.ports.available()
        self._ports = {port: self._ports.get(port) or _PortMemory() for port in available}
        for port, memory in self._ports.items():
            try:
                seen.append(_port_seen(port, memory))
            except PollmodeError:  # closed between the two lines
                continue
        return Seen(session.options.forward_mode, session.running, tuple(seen), self._cores())

    def _cores(self) -> tuple[CoreSeen, ...]:
        plan = self._session.forwarding_plan
        if plan is None:
            return ()
        summary, now = self._session.forward_summary(), time.monotonic()
        seconds = now - self._looked if plan is self._plan else 0.0
        before, self._streams = self._streams, {each.stream: each for each in summary.streams}
        self._looked, self._plan = now, plan
        cores = []
        for core in plan.cores:
            pairs = [(self._streams[stream], before.get(stream)) for stream in core.streams]
            cycles = sum(_grown(now_, then, "busy_cycles") for now_, then in pairs)
            timed = summary.core_cycles and summary.clock_hz and seconds > 0
            busy = min(1.0, cycles / (summary.clock_hz * seconds)) if timed else None
            cores.append(CoreSeen(core.lcore, tuple(_stream_seen(*pair, seconds) for pair in pairs), busy))
        return tuple(cores)


class _PortMemory:
    """What was read of a port the last time."""

    def __init__(self) -> None:
        self.history = History()
        self.when = 0.0
        self.xstats: Mapping[str, int] = {}


def _port_seen(port: Port, memory: _PortMemory) -> PortSeen:
    totals, xstats = sample(port), port.xstats()
    memory.history.add(totals)
    seconds, before = totals.when - memory.when if memory.when else 0.0, memory.xstats
    memory.when, memory.xstats = totals.when, xstats

    def counted(name: str) -> Counted:
        value = xstats.get(name, 0)
        return Counted(name, value, _rate(value - before.get(name, 0), seconds))

    link, faults = port.link(), port.faults
    return PortSeen(
        id=port.id,
        name=port.name,
        driver=port.device.driver_name,
        state=_state(port, link.up, bool(faults)),
        speed=link.speed_text if link.up else "",
        totals=totals,
        history=memory.history,
        queues=tuple(
            QueueSeen(
                way,
                number,
                port.queue_running(way, number),
                counted(f"{way}_q{number}_packets"),
                xstats.get(f"{way}_q{number}_errors", 0),
                port.rx_queue_count(number) if way == "rx" else port.tx_queue_count(number),
            )
            for way, count in (("rx", port.rx_queues), ("tx", port.tx_queues))
            for number in range(count)
        ),
        counted=tuple(counted(name) for name, value in xstats.items() if value),
        lost=tuple(counted(name) for name, value in losses(xstats).items() if value),
        faults=tuple(str(fault) for fault in faults),
    )


def _state(port: Port, up: bool, broken: bool) -> str:
    if port.state is not State.STARTED:
        return "stopped" if port.state is State.STOPPED else "new"
    if broken:
        return "broken"
    return "up" if up else "down"


def _stream_seen(now: StreamSummary, before: StreamSummary | None, seconds: float) -> StreamSeen:
    rates = {field: _rate(_grown(now, before, field), seconds) for field in ("rx_packets", "tx_packets", "dropped")}
    dropped = Counted("no room in the transmit queue", now.dropped, rates["dropped"])
    return StreamSeen(now.stream, rates["rx_packets"], rates["tx_packets"], dropped)


def _grown(now: StreamSummary, before: StreamSummary | None, field: str) -> int:
    return int(getattr(now, field)) - int(getattr(before, field)) if before else 0


def _rate(grown: int, seconds: float) -> float:
    """Return the growth a second; 0 after a counter was cleared."""
    return max(0.0, grown / seconds) if seconds > 0 else 0.0
