# SPDX-License-Identifier: BSD-3-Clause
"""The records that forwarding works on: lanes from one port to another, and what one lcore is given."""

from __future__ import annotations

from pollmode.eal.layout import le_struct, offset_of

__all__ = ["BURST", "COUNTERS", "LANE", "LANE_SIZE", "WORK"]

BURST = 32  # MAX_PKT_BURST
WAITING = 2 * BURST
"""Packets a lane can hold: less than a burst that waits, and a burst that just came."""

# From a receive queue to the transmit queue of another port. The first cache line stays the same; the second and the
# waiting packets are written by the one lcore that the lane belongs to, and read by whoever prints statistics.
LANE = le_struct(
    "lane",
    640,
    rx_port="i8",
    tx_port="i8",
    destination="i8",  # MAC words that packets are given
    source="i8",
    constant=("i8", 4),
    count="i8",  # packets waiting
    received="i8",
    sent="i8",
    dropped="i8",
    varying=("i8", 4),
    waiting=("i8", WAITING),  # addresses of mbufs
)
LANE_SIZE = LANE.itemsize
LANE_RX_PORT = offset_of(LANE, "rx_port")
LANE_TX_PORT = offset_of(LANE, "tx_port")
LANE_DESTINATION = offset_of(LANE, "destination")
LANE_SOURCE = offset_of(LANE, "source")
LANE_COUNT = offset_of(LANE, "count")
LANE_RECEIVED = offset_of(LANE, "received")
LANE_SENT = offset_of(LANE, "sent")
LANE_DROPPED = offset_of(LANE, "dropped")
LANE_WAITING = offset_of(LANE, "waiting")

COUNTERS = ("received", "sent", "dropped")

# What one lcore forwards: `count` lanes side by side.
WORK = le_struct(
    "work",
    64,
    dispatch="i8",
    lanes="i8",
    count="i8",
    drain_cycles="i8",  # packets that wait are sent at least this often
    mac_updating="i8",  # 1: packets get new addresses
    reserved=("i8", 3),
)
WORK_DISPATCH = offset_of(WORK, "dispatch")
WORK_LANES = offset_of(WORK, "lanes")
WORK_COUNT = offset_of(WORK, "count")
WORK_DRAIN_CYCLES = offset_of(WORK, "drain_cycles")
WORK_MAC_UPDATING = offset_of(WORK, "mac_updating")
