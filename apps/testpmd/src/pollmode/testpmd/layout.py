# SPDX-License-Identifier: BSD-3-Clause
"""The records that forwarding works on: streams, and what one lcore is given."""

from __future__ import annotations

from pollmode.eal.layout import le_struct, offset_of

__all__ = ["BURST_SLOTS", "COUNTERS", "HISTOGRAM_SLOTS", "STREAM", "STREAM_SIZE", "WORK"]

# One receive queue and the transmit queue its packets go to (DPDK's struct fwd_stream). The first two cache lines do
# not change while packets move; the last two are written by the one lcore that the stream belongs to.
STREAM = le_struct(
    "stream",
    256,
    rx_port="i8",
    rx_queue="i8",
    tx_port="i8",
    tx_queue="i8",
    peer="i8",  # destination of what is sent, a MAC word
    own="i8",  # address of the transmit port, a MAC word
    pool="i8",  # where generated packets come from
    template="i8",  # 64 bytes: the headers of generated packets
    rx_bursts="i8",  # counts of bursts by size, HISTOGRAM_SLOTS words
    tx_bursts="i8",
    vary_base="i8",  # the address that generated packets vary
    constant=("i8", 5),
    rx_packets="i8",
    tx_packets="i8",
    dropped="i8",
    bad_ip_csum="i8",
    bad_l4_csum="i8",
    bad_outer_ip_csum="i8",
    bad_outer_l4_csum="i8",
    busy_cycles="i8",
    flow="i8",  # the next flow of generated packets
    consumed="i8",  # received packets that the mode keeps to itself: neither sent nor refused by the transmit port
    varying=("i8", 6),
)
STREAM_SIZE = STREAM.itemsize
STREAM_RX_PORT = offset_of(STREAM, "rx_port")
STREAM_RX_QUEUE = offset_of(STREAM, "rx_queue")
STREAM_TX_PORT = offset_of(STREAM, "tx_port")
STREAM_TX_QUEUE = offset_of(STREAM, "tx_queue")
STREAM_PEER = offset_of(STREAM, "peer")
STREAM_OWN = offset_of(STREAM, "own")
STREAM_POOL = offset_of(STREAM, "pool")
STREAM_TEMPLATE = offset_of(STREAM, "template")
STREAM_RX_BURSTS = offset_of(STREAM, "rx_bursts")
STREAM_TX_BURSTS = offset_of(STREAM, "tx_bursts")
STREAM_VARY_BASE = offset_of(STREAM, "vary_base")
STREAM_RX_PACKETS = offset_of(STREAM, "rx_packets")
STREAM_TX_PACKETS = offset_of(STREAM, "tx_packets")
STREAM_DROPPED = offset_of(STREAM, "dropped")
STREAM_BAD_IP_CSUM = offset_of(STREAM, "bad_ip_csum")
STREAM_BAD_L4_CSUM = offset_of(STREAM, "bad_l4_csum")
STREAM_BAD_OUTER_IP_CSUM = offset_of(STREAM, "bad_outer_ip_csum")
STREAM_BAD_OUTER_L4_CSUM = offset_of(STREAM, "bad_outer_l4_csum")
STREAM_BUSY_CYCLES = offset_of(STREAM, "busy_cycles")
STREAM_FLOW = offset_of(STREAM, "flow")
STREAM_CONSUMED = offset_of(STREAM, "consumed")

COUNTERS = (
    "rx_packets",
    "tx_packets",
    "dropped",
    "bad_ip_csum",
    "bad_l4_csum",
    "bad_outer_ip_csum",
    "bad_outer_l4_csum",
    "busy_cycles",
    "consumed",
)
"""Fields of a stream that count; all are zero when forwarding starts."""

HISTOGRAM_SLOTS = 513
"""Sizes a burst can have: none to 512."""

TEMPLATE_SIZE = 64

BURST_SLOTS = 512 + 256
"""Words of an lcore's array of mbuf addresses: the largest burst, and room for the segments of a packet being made."""

# What one lcore forwards: `count` streams side by side.
WORK = le_struct(
    "work",
    64,
    dispatch="i8",
    streams="i8",
    count="i8",
    burst="i8",  # BURST_SLOTS words
    burst_size="i8",  # packets in a burst
    passes="i8",  # times to go over the streams; below zero: until the lcore's stop word is set
    retries="i8",
    retry_cycles="i8",
)
WORK_DISPATCH = offset_of(WORK, "dispatch")
WORK_STREAMS = offset_of(WORK, "streams")
WORK_COUNT = offset_of(WORK, "count")
WORK_BURST = offset_of(WORK, "burst")
WORK_SIZE = offset_of(WORK, "burst_size")
WORK_PASSES = offset_of(WORK, "passes")
WORK_RETRIES = offset_of(WORK, "retries")
WORK_RETRY_CYCLES = offset_of(WORK, "retry_cycles")
