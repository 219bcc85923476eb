# SPDX-License-Identifier: BSD-3-Clause
"""Forwarding: streams as records in memory, an engine on each lcore, and what they counted."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from pollmode.eal.clock import cycles_per_second
from pollmode.eal.environment import Environment
from pollmode.eal.memory import Memzone
from pollmode.ethdev import Port, Ports, Stats, TxOffload
from pollmode.mbuf import HEADROOM, Burst, Mempool
from pollmode.net import mac
from pollmode.testpmd import engines
from pollmode.testpmd.engines.templates import write_template
from pollmode.testpmd.layout import BURST_SLOTS, COUNTERS, HISTOGRAM_SLOTS, STREAM, STREAM_SIZE, TEMPLATE_SIZE, WORK
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import Plan, Stream
from pollmode.testpmd.report import PortSummary, StreamSummary, Summary

__all__ = ["Forwarding", "features_of"]

TX_FIRST_MODE = "txonly"
UNTIL_STOPPED = -1
_FLUSHES = 128
_WORD = np.dtype("<i8")


def features_of(options: Options) -> engines.Features:
    """Return what an engine has to be specialised for."""
    return engines.Features(
        core_cycles=options.record_core_cycles,
        burst_stats=options.record_burst_stats,
        retry=options.retry,
        lengths=options.txpkts,
        room=options.mbuf_size - HEADROOM,
        txonly_flows=options.txonly_flows,
        flowgen_flows=options.flowgen_flows,
        ip_offload=bool(options.tx_offloads & TxOffload.IPV4_CKSUM),
        udp_offload=bool(options.tx_offloads & TxOffload.UDP_CKSUM),
        tcp_offload=bool(options.tx_offloads & TxOffload.TCP_CKSUM),
    )


class Forwarding:
    """One run of an engine over the streams of a plan. `start`, then `stop`; then again if wanted."""

    def __init__(
        self, environment: Environment, ports: Ports, pool: Mempool, options: Options, plan: Plan, burst: int
    ) -> None:
        self._environment = environment
        self._ports = ports
        self._pool = pool
        self._options = options
        self.plan = plan
        self.engine = engines.make(options.forward_mode, features_of(options))
        self._zones: list[Memzone] = []
        self._streams = self._make_streams()
        self._works = self._make_works(burst)
        self.reset()

    def _zone(self, name: str, size: int) -> Memzone:
        zone = self._environment.memory.reserve(f"testpmd_{name}", size)
        self._zones.append(zone)
        return zone

    def _make_streams(self) -> np.ndarray[Any, np.dtype[Any]]:
        streams = self.plan.streams
        count = max(1, len(streams))
        zone = self._zone("streams", count * STREAM_SIZE)
        templates = self._zone("templates", count * TEMPLATE_SIZE)
        histograms = self._zone("histograms", count * 2 * HISTOGRAM_SLOTS * _WORD.itemsize)
        self._histograms = histograms.array(_WORD, count * 2 * HISTOGRAM_SLOTS).reshape(count, 2, HISTOGRAM_SLOTS)
        records = zone.array(STREAM, count)
        for place, stream in enumerate(streams):
            template = templates.address + place * TEMPLATE_SIZE
            bursts = histograms.address + place * 2 * HISTOGRAM_SLOTS * _WORD.itemsize
            self._fill(records[place], stream, template, bursts)
        self._streams_address = zone.address
        return records

    def _fill(self, record: Any, stream: Stream, template: int, bursts: int) -> None:
        own = self._ports[stream.tx_port].mac
        for field in ("rx_port", "rx_queue", "tx_port", "tx_queue"):
            record[field] = getattr(stream, field)
        record["peer"], record["own"] = mac.word(stream.peer), mac.word(own)
        record["pool"], record["template"] = self._pool.address, template
        record["rx_bursts"], record["tx_bursts"] = bursts, bursts + HISTOGRAM_SLOTS * _WORD.itemsize
        record["vary_base"], written = write_template(self._options, stream.peer, own)
        ctypes.memmove(template, written, len(written))

    def _make_works(self, burst: int) -> np.ndarray[Any, np.dtype[Any]]:
        count = max(1, len(self.plan.cores))
        zone = self._zone("work", count * WORK.itemsize)
        arrays = self._zone("bursts", count * BURST_SLOTS * _WORD.itemsize)
        works, done = zone.array(WORK, count), 0
        for place, core in enumerate(self.plan.cores):
            work = works[place]
            work["dispatch"] = self._ports.dispatch
            work["streams"] = self._streams_address + done * STREAM_SIZE
            work["count"] = len(core.streams)
            work["burst"] = arrays.address + place * BURST_SLOTS * _WORD.itemsize
            work["burst_size"] = burst
            work["retries"] = self._options.retry_count
            done += len(core.streams)
        if self._options.retry:
            works["retry_cycles"] = cycles_per_second() * self._options.retry_microseconds // 1_000_000
        self._works_address = zone.address
        return works

    def start(self, tx_first: int = 0, passes: int = UNTIL_STOPPED) -> None:
        """Begin to forward, after `tx_first` bursts on every stream; stop by itself after `passes` over the streams."""
        if self._options.flush_rx and not self.engine.generates:
            self._flush()
        self.reset()
        if tx_first:
            self._launch(engines.make(TX_FIRST_MODE, features_of(self._options)), tx_first)
            self._environment.lcores.wait()
        self._launch(self.engine, passes)

    def reset(self) -> None:
        """Count from here; lcores may go on, so what stands is remembered rather than overwritten."""
        self._base = self._streams[list(COUNTERS)].copy()
        self._base_histograms = self._histograms.copy()
        self._before = {port: self._ports[port].stats() for port in self.plan.ports}

    def port_cleared(self, port: Port) -> None:
        """Take note that a port's own counters were set to zero."""
        if port.id in self._before:
            self._before[port.id] = port.stats()

    def port_gone(self, port: Port) -> None:
        """Forget a port: another one may get its number."""
        self._before.pop(port.id, None)

    def _launch(self, engine: engines.Engine, passes: int) -> None:
        self._works["passes"] = passes
        for place, core in enumerate(self.plan.cores):
            work = self._works_address + place * WORK.itemsize
            self._environment.lcores.launch(core.lcore, engine.loop, work)

    def _flush(self) -> None:
        """Drop what arrived before, as DPDK does; a port that never runs dry is left after some bursts."""
        burst = Burst(int(self._works["burst_size"][0]) or 1)
        for stream in self.plan.streams:
            port = self._ports[stream.rx_port]
            if stream.rx_queue < port.rx_queues:
                _drain(port, stream.rx_queue, burst)

    def halt(self) -> None:
        """Set the stop words; a signal handler may call it."""
        self._environment.lcores.stop()

    def wait(self) -> None:
        """Wait until no lcore forwards."""
        self._environment.lcores.wait()

    def summary(self) -> Summary:
        """Return what was counted since `start`, or since the last `reset`."""
        there = {port.id for port in self._ports.available()}
        ports = tuple(self._port_summary(self._ports[port]) for port in self.plan.ports if port in there)
        clock = cycles_per_second() if self._options.record_core_cycles else 0
        mode = self._options.forward_mode
        return Summary(mode, ports, self._stream_summaries(), self._options.record_core_cycles, clock)

    def _port_summary(self, port: Port) -> PortSummary:
        now, before = port.stats(), self._before.get(port.id, Stats())
        grown = {
            field: getattr(now, field) - getattr(before, field)
            for field in ("ipackets", "imissed", "ierrors", "rx_nombuf", "opackets")
        }
        return PortSummary(port.id, **grown)

    def _stream_summaries(self) -> tuple[StreamSummary, ...]:
        recorded = self._options.record_burst_stats
        found = []
        for place, stream in enumerate(self.plan.streams):
            counts = {name: int(self._streams[name][place] - self._base[name][place]) for name in COUNTERS}
            grown = self._histograms[place] - self._base_histograms[place]
            bursts: Sequence[Sequence[int]] = grown.tolist() if recorded else ((), ())
            found.append(StreamSummary(stream, rx_bursts=bursts[0], tx_bursts=bursts[1], **counts))
        return tuple(found)

    def close(self) -> None:
        """Give the records back; no lcore forwards any more."""
        for zone in self._zones:
            self._environment.memory.free(zone)
        self._zones.clear()


def _drain(port: Port, queue: int, burst: Burst) -> None:
    for _ in range(_FLUSHES):
        if port.rx(queue, burst) == 0:
            return
        burst.free()
