# SPDX-License-Identifier: BSD-3-Clause
"""What testpmd prints, to the letter of DPDK's: scripts read it. Every function returns text and knows no device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pollmode.testpmd.options import Options, Thresholds
from pollmode.testpmd.plan import Plan, Stream

__all__ = [
    "PortConfigLines",
    "PortSample",
    "PortSummary",
    "StreamSummary",
    "Summary",
    "burst_line",
    "forward_config",
    "forward_statistics",
    "mac_text",
    "port_statistics",
    "queue_config",
    "xstats_lines",
]

MHZ = 1_000_000


def mac_text(address: bytes) -> str:
    """Return a MAC address as DPDK prints it."""
    return address.hex(":").upper()


@dataclass(frozen=True)
class PortConfigLines:
    """What the start of forwarding tells about one port's queues."""

    port: int
    rx_queues: int
    tx_queues: int
    rx_descriptors: int
    tx_descriptors: int
    rx_offloads: int
    tx_offloads: int
    rx_thresholds: Thresholds
    tx_thresholds: Thresholds


def forward_config(options: Options, plan: Plan) -> str:
    """Return who forwards what ("show config fwd"); the empty line at its end is DPDK's."""
    mode, retry = options.forward_mode, " with retry" if options.retry else ""
    lines = [
        f"{mode} packet forwarding{retry} - ports={len(plan.ports)} - cores={len(plan.cores)} - "
        f"streams={len(plan.streams)} - NUMA support {'enabled' if options.numa else 'disabled'}, "
        "MP allocation mode: native"
    ]
    if options.retry:
        lines.append(f"TX retry num: {options.retry_count}, delay between TX retries: {options.retry_microseconds}us")
    for core in plan.cores:
        lines.append(f"Logical Core {core.lcore} (socket 0) forwards packets on {len(core.streams)} streams:")
        lines += [_stream_line(stream) for stream in core.streams]
    return "\n".join([*lines, ""])


def queue_config(options: Options, burst: int, cores: int, forwarding: int, ports: Iterable[PortConfigLines]) -> str:
    """Return how ports and queues are configured ("show config rxtx"), of all ports that there are."""
    mode, retry = options.forward_mode, " with retry" if options.retry else ""
    lines = [f"  {mode} packet forwarding{retry} packets/burst={burst}"]
    if mode in ("txonly", "flowgen"):
        lines.append(f"  packet len={options.packet_length} - nb packet segments={len(options.txpkts)}")
    lines.append(f"  nb forwarding cores={cores} - nb forwarding ports={forwarding}")
    for port in ports:
        lines += _port_config_lines(port)
    return "\n".join(lines)


def _stream_line(stream: Stream) -> str:
    return (
        f"  RX P={stream.rx_port}/Q={stream.rx_queue} (socket 0) -> "
        f"TX P={stream.tx_port}/Q={stream.tx_queue} (socket 0) peer={mac_text(stream.peer)}"
    )


def _port_config_lines(port: PortConfigLines) -> list[str]:
    rx, tx = port.rx_thresholds, port.tx_thresholds
    lines = [
        f"  port {port.port}: RX queue number: {port.rx_queues} Tx queue number: {port.tx_queues}",
        f"    Rx offloads={port.rx_offloads:#x} Tx offloads={port.tx_offloads:#x}",
    ]
    if port.rx_queues:
        lines += [
            "    RX queue: 0",
            f"      RX desc={port.rx_descriptors} - RX free threshold={rx.free}",
            f"      RX threshold registers: pthresh={rx.pthresh} hthresh={rx.hthresh}  wthresh={rx.wthresh}",
            f"      RX Offloads={port.rx_offloads:#x}",
        ]
    if port.tx_queues:
        lines += [
            "    TX queue: 0",
            f"      TX desc={port.tx_descriptors} - TX free threshold={tx.free}",
            f"      TX threshold registers: pthresh={tx.pthresh} hthresh={tx.hthresh}  wthresh={tx.wthresh}",
            f"      TX offloads={port.tx_offloads:#x} - TX RS bit threshold={tx.rs}",
        ]
    return lines


@dataclass(frozen=True)
class StreamSummary:
    """What one stream did since forwarding started; the burst counts are by size, empty when not recorded.

    Of the packets received, `tx_packets` were sent, `dropped` found no room in the transmit queue, and `consumed` the
    mode freed: rxonly all of them, icmpecho those that ask for nothing, flowgen what arrives beside what it makes.
    """

    stream: Stream
    rx_packets: int = 0
    tx_packets: int = 0
    dropped: int = 0
    bad_ip_csum: int = 0
    bad_l4_csum: int = 0
    bad_outer_ip_csum: int = 0
    bad_outer_l4_csum: int = 0
    busy_cycles: int = 0
    consumed: int = 0
    rx_bursts: Sequence[int] = ()
    tx_bursts: Sequence[int] = ()


@dataclass(frozen=True)
class PortSummary:
    """What one port counted since forwarding started."""

    port: int
    ipackets: int = 0
    imissed: int = 0
    ierrors: int = 0
    rx_nombuf: int = 0
    opackets: int = 0


@dataclass(frozen=True)
class Summary:
    """Everything the end of forwarding reports; `clock_hz` is the rate of the cycle counter."""

    mode: str
    ports: tuple[PortSummary, ...]
    streams: tuple[StreamSummary, ...]
    core_cycles: bool = False
    clock_hz: int = 0


def forward_statistics(summary: Summary) -> str:
    """Return the statistics of streams (when a port has several), of ports, and of all together."""
    lines: list[str] = []
    by_stream = len(summary.streams) > len(summary.ports)
    if by_stream:
        for stream in summary.streams:
            lines += _stream_lines(stream, summary.mode)
    for port in summary.ports:
        lines += _port_lines(port, summary, by_stream)
    lines += _accumulated_lines(summary)
    return "\n".join(lines)


def _counts(way: str, done: int, dropped: int) -> str:
    return f"  {way}-packets: {done:<14} {way}-dropped: {dropped:<14}{way}-total: {done + dropped}"


def _stream_lines(stream: StreamSummary, mode: str) -> list[str]:
    if stream.rx_packets == stream.tx_packets == stream.dropped == 0:
        return []
    at = stream.stream
    border = "-" * 7
    lines = [
        "",
        f"  {border} Forward Stats for RX Port={at.rx_port:2}/Queue={at.rx_queue:2} -> "
        f"TX Port={at.tx_port:2}/Queue={at.tx_queue:2} {border}",
        f"  RX-packets: {stream.rx_packets:<14} TX-packets: {stream.tx_packets:<14} TX-dropped: {stream.dropped:<14}",
    ]
    if mode == "csum":
        lines += [
            f"  RX- bad IP checksum: {stream.bad_ip_csum:<14}  Rx- bad L4 checksum: {stream.bad_l4_csum:<14} "
            f"Rx- bad outer L4 checksum: {stream.bad_outer_l4_csum:<14}",
            f" RX- bad outer IP checksum: {stream.bad_outer_ip_csum:<14}",
        ]
    return lines + _burst_lines(stream)


def _burst_lines(stream: StreamSummary) -> list[str]:
    found = (burst_line("RX", stream.rx_bursts), burst_line("TX", stream.tx_bursts))
    return [line for line in found if line]


def burst_line(way: str, counts: Sequence[int]) -> str:
    """Return the share of empty bursts and of the two commonest sizes, or an empty text when there were no bursts."""
    total = sum(counts)
    if total == 0:
        return ""
    commonest = sorted(range(1, len(counts)), key=lambda size: -counts[size])[:2]
    parts, seen, percents = [], 0, 0
    for size in (0, *commonest):
        seen += counts[size]
        if seen == total:
            parts.append(f"{100 - percents}% of {size} pkts")
            break
        percent = int(counts[size] / total * 100)
        percents += percent
        parts.append(f"{percent}% of {size} pkts")
    else:
        parts.append(f"{100 - percents}% of other")
    return f"  {way}-bursts : {total} [{' + '.join(parts)}]"


def _port_lines(port: PortSummary, summary: Summary, by_stream: bool) -> list[str]:
    sending = [stream for stream in summary.streams if stream.stream.tx_port == port.port]
    receiving = [stream for stream in summary.streams if stream.stream.rx_port == port.port]
    border = "-" * 22
    lines = [
        "",
        f"  {border} Forward statistics for port {port.port:<2} {border}",
        _counts("RX", port.ipackets, port.imissed),
    ]
    if summary.mode == "csum":
        lines += [
            f"  Bad-ipcsum: {sum(s.bad_ip_csum for s in receiving):<14} "
            f"Bad-l4csum: {sum(s.bad_l4_csum for s in receiving):<14}"
            f"Bad-outer-l4csum: {sum(s.bad_outer_l4_csum for s in receiving):<14}",
            f"  Bad-outer-ipcsum: {sum(s.bad_outer_ip_csum for s in receiving):<14}",
        ]
    if port.ierrors + port.rx_nombuf > 0:
        lines += [f"  RX-error: {port.ierrors}", f"  RX-nombufs: {port.rx_nombuf:<14}"]
    lines.append(_counts("TX", port.opackets, sum(stream.dropped for stream in sending)))
    if not by_stream:
        lines += [line for s in receiving if (line := burst_line("RX", s.rx_bursts))]
        lines += [line for s in sending if (line := burst_line("TX", s.tx_bursts))]
    lines.append(f"  {border}{'-' * 32}{border}")
    return lines


def _accumulated_lines(summary: Summary) -> list[str]:
    received = sum(port.ipackets for port in summary.ports)
    sent = sum(port.opackets for port in summary.ports)
    nombuf = sum(port.rx_nombuf for port in summary.ports)
    on_ports = [stream for stream in summary.streams if stream.stream.tx_port in {port.port for port in summary.ports}]
    border = "+" * 15
    lines = [
        "",
        f"  {border} Accumulated forward statistics for all ports{border}",
        _counts("RX", received, sum(port.imissed for port in summary.ports)),
        _counts("TX", sent, sum(stream.dropped for stream in on_ports)),
    ]
    if nombuf > 0:
        lines.append(f"  RX-nombufs: {nombuf:<14}")
    lines.append(f"  {border}{'+' * 46}{border}")
    packets = sent if summary.mode in ("txonly", "flowgen") else received
    if summary.core_cycles and packets > 0:
        cycles = sum(stream.busy_cycles for stream in summary.streams)
        lines += [
            "",
            f"  CPU cycles/packet={cycles / packets:.2f} (busy cycles={cycles} / total {summary.mode} "
            f"packets={packets}) at {summary.clock_hz // MHZ} MHz Clock",
        ]
    return lines


@dataclass(frozen=True)
class PortSample:
    """A port's statistics at one moment, in seconds of a monotonic clock."""

    when: float
    ipackets: int = 0
    opackets: int = 0
    ibytes: int = 0
    obytes: int = 0
    imissed: int = 0
    ierrors: int = 0
    oerrors: int = 0
    rx_nombuf: int = 0

    def rate(self, before: PortSample | None, field: str) -> int:
        """Return how much a count grew a second since the sample before; 0 without one."""
        if before is None or self.when <= before.when:
            return 0
        grown = getattr(self, field) - getattr(before, field)
        return max(0, int(grown / (self.when - before.when)))


def port_statistics(port: int, now: PortSample, before: PortSample | None) -> str:
    """Return the statistics of a port with its rates since the sample before ("show port stats")."""
    border = "#" * 24
    rx_bits, tx_bits = (8 * now.rate(before, field) for field in ("ibytes", "obytes"))
    return "\n".join(
        [
            "",
            f"  {border} NIC statistics for port {port:<2} {border}",
            f"  RX-packets: {now.ipackets:<10} RX-missed: {now.imissed:<10} RX-bytes:  {now.ibytes}",
            f"  RX-errors: {now.ierrors}",
            f"  RX-nombuf:  {now.rx_nombuf:<10}",
            f"  TX-packets: {now.opackets:<10} TX-errors: {now.oerrors:<10} TX-bytes:  {now.obytes}",
            "",
            "  Throughput (since last show)",
            f"  Rx-pps: {now.rate(before, 'ipackets'):12}          Rx-bps: {rx_bits:12}",
            f"  Tx-pps: {now.rate(before, 'opackets'):12}          Tx-bps: {tx_bits:12}",
            f"  {border}{'#' * 28}{border}",
        ]
    )


def xstats_lines(now: Mapping[str, int], before: Mapping[str, int], seconds: float) -> str:
    """Return chosen extended statistics, each with its growth a second."""
    lines = []
    for name, value in now.items():
        rate = int((value - before.get(name, value)) / seconds) if seconds > 0 else 0
        lines.append(f"  {name:<25}{value:12} {rate:15}")
    return "\n".join(lines)
