# SPDX-License-Identifier: BSD-3-Clause
"""The texts, against what DPDK 22.11's testpmd prints for the same numbers."""

from pollmode.testpmd.options import Options, Thresholds
from pollmode.testpmd.plan import Stream, plan_streams
from pollmode.testpmd.report import (
    PortConfigLines,
    PortSample,
    PortSummary,
    StreamSummary,
    Summary,
    burst_line,
    forward_config,
    forward_statistics,
    port_statistics,
    queue_config,
    xstats_lines,
)

START = """\
txonly packet forwarding - ports=2 - cores=1 - streams=2 - NUMA support enabled, MP allocation mode: native
Logical Core 1 (socket 0) forwards packets on 2 streams:
  RX P=0/Q=0 (socket 0) -> TX P=1/Q=0 (socket 0) peer=02:00:00:00:00:01
  RX P=1/Q=0 (socket 0) -> TX P=0/Q=0 (socket 0) peer=02:00:00:00:00:00

  txonly packet forwarding packets/burst=32
  packet len=64 - nb packet segments=1
  nb forwarding cores=1 - nb forwarding ports=2
  port 0: RX queue number: 1 Tx queue number: 1
    Rx offloads=0x0 Tx offloads=0x0
    RX queue: 0
      RX desc=512 - RX free threshold=0
      RX threshold registers: pthresh=0 hthresh=0  wthresh=0
      RX Offloads=0x0
    TX queue: 0
      TX desc=512 - TX free threshold=0
      TX threshold registers: pthresh=0 hthresh=0  wthresh=0
      TX offloads=0x0 - TX RS bit threshold=0"""

# Both ends of a pair of net_null ports; the trailing blanks are DPDK's.
PAIR = """
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 55532800       RX-dropped: 0             RX-total: 55532800
  TX-packets: 55532864       TX-dropped: 0             TX-total: 55532864
  ----------------------------------------------------------------------------

  ---------------------- Forward statistics for port 1  ----------------------
  RX-packets: 55532800       RX-dropped: 0             RX-total: 55532800
  TX-packets: 55532864       TX-dropped: 0             TX-total: 55532864
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 111065600      RX-dropped: 0             RX-total: 111065600
  TX-packets: 111065728      TX-dropped: 0             TX-total: 111065728
  ++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++"""

STREAM = """
  ------- Forward Stats for RX Port= 0/Queue= 1 -> TX Port= 1/Queue= 1 -------
  RX-packets: 27766400       TX-packets: 27766432       TX-dropped: 0             \n\
  RX-bursts : 867700 [0% of 0 pkts + 100% of 32 pkts]
  TX-bursts : 867701 [0% of 0 pkts + 100% of 32 pkts]
"""

NIC = """
  ######################## NIC statistics for port 0  ########################
  RX-packets: 833056     RX-missed: 0          RX-bytes:  64
  RX-errors: 0
  RX-nombuf:  0         \n\
  TX-packets: 608        TX-errors: 0          TX-bytes:  0

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
  ############################################################################"""


def stream(port: int, queue: int = 0, **counts: object) -> StreamSummary:
    return StreamSummary(Stream(port, queue, port ^ 1, queue, bytes(6)), **counts)  # type: ignore[arg-type]  # by name


def both_ports() -> tuple[PortSummary, ...]:
    return tuple(PortSummary(port, ipackets=55532800, opackets=55532864) for port in (0, 1))


def test_the_start_of_txonly() -> None:
    options = Options(forward_mode="txonly")
    plan = plan_streams(options, (0, 1), (1,))
    lines = [PortConfigLines(0, 1, 1, 512, 512, 0, 0, Thresholds(), Thresholds())]
    assert f"{forward_config(options, plan)}\n{queue_config(options, 32, 1, 2, lines)}" == START


def test_a_direction_without_queues_has_no_lines() -> None:
    lines = [PortConfigLines(0, 0, 1, 512, 512, 0, 0, Thresholds(), Thresholds())]
    text = queue_config(Options(retry=True), 32, 1, 1, lines)
    assert "RX queue: 0" not in text
    assert "io packet forwarding with retry packets/burst=32" in text


def test_a_pair_of_ports() -> None:
    assert forward_statistics(Summary("io", both_ports(), (stream(0), stream(1)))) == PAIR


def test_several_queues_come_stream_by_stream() -> None:
    counts = [0] * 33
    counts[32] = 867700
    sent = [*counts[:32], 867701]
    streams = [stream(0, queue) for queue in (0,)] + [stream(1, queue) for queue in (0, 1)]
    busy = stream(0, 1, rx_packets=27766400, tx_packets=27766432, rx_bursts=counts, tx_bursts=sent)
    text = forward_statistics(Summary("io", both_ports(), (*streams, busy)))
    assert text.startswith(STREAM)
    assert text.count("Forward Stats for RX Port") == 1  # idle streams are passed over


def test_dropped_packets_are_counted_on_the_port_they_were_for() -> None:
    text = forward_statistics(Summary("io", both_ports(), (stream(0, dropped=5), stream(1))))
    first, second = text.split("port 1 ")
    assert "TX-dropped: 0 " in first
    assert "TX-dropped: 5             TX-total: 55532869" in second


def test_errors_and_missing_mbufs_have_lines_only_when_there_are_some() -> None:
    ports = (PortSummary(0, ierrors=3, rx_nombuf=2),)
    text = forward_statistics(Summary("io", ports, ()))
    assert "\n  RX-error: 3\n  RX-nombufs: 2             \n  TX-packets" in text
    assert "RX-error" not in PAIR


def test_csum_reports_bad_checksums() -> None:
    text = forward_statistics(Summary("csum", both_ports(), (stream(0, bad_ip_csum=1, bad_l4_csum=2), stream(1))))
    assert "  Bad-ipcsum: 1              Bad-l4csum: 2             Bad-outer-l4csum: 0             \n" in text
    assert "  Bad-outer-ipcsum: 0             \n" in text


def test_cycles_are_divided_by_received_packets_or_by_sent_ones() -> None:
    streams = (stream(0, busy_cycles=5101804050),)
    text = forward_statistics(Summary("io", both_ports(), streams, True, 2_600_123_456))
    line = "  CPU cycles/packet=45.94 (busy cycles=5101804050 / total io packets=111065600) at 2600 MHz Clock"
    assert text.endswith("\n\n" + line)
    assert "total txonly packets=111065728" in forward_statistics(Summary("txonly", both_ports(), streams, True, 1))


def test_no_cycles_line_without_packets() -> None:
    assert "CPU cycles" not in forward_statistics(Summary("io", (PortSummary(0),), (stream(0),), True, 1))


def test_burst_shares() -> None:
    assert burst_line("RX", []) == ""
    assert burst_line("RX", [0, 0]) == ""
    assert burst_line("RX", [1, 0, 3]) == "  RX-bursts : 4 [25% of 0 pkts + 75% of 2 pkts]"
    assert (
        burst_line("TX", [10, 20, 30, 40])
        == "  TX-bursts : 100 [10% of 0 pkts + 40% of 3 pkts + 30% of 2 pkts + 20% of other]"
    )
    assert burst_line("RX", [5]) == "  RX-bursts : 5 [100% of 0 pkts]"


def test_port_statistics_without_a_sample_before() -> None:
    assert port_statistics(0, PortSample(1.0, ipackets=833056, opackets=608, ibytes=64), None) == NIC


def test_rates_are_since_the_sample_before() -> None:
    before, now = PortSample(10.0, 100, 50, 6400, 3200), PortSample(12.0, 300, 150, 19200, 9600)
    text = port_statistics(0, now, before)
    assert "Rx-pps:          100          Rx-bps:        51200" in text
    assert "Tx-pps:           50          Tx-bps:        25600" in text


def test_extended_statistics_have_rates() -> None:
    assert xstats_lines({"rx_q0_packets": 30}, {"rx_q0_packets": 10}, 2.0) == f"  {'rx_q0_packets':<25}{30:12} {10:15}"
