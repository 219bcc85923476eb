# SPDX-License-Identifier: BSD-3-Clause
"""The poll loop: one compiled function for each lcore, running until its stop word is set.

A lane receives straight into the array of packets that wait to be sent, behind those that wait already. When a burst is
together it is sent; a smaller number waits, at most until the next drain. What the other port does not take is dropped,
as in DPDK's l2fwd, so that a slow receiver never holds up a fast sender.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, cycles, inlined, load64, load_relaxed64, prefetch_write, store64
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import rx_burst, tx_burst
from pollmode.l2fwd.layout import (
    BURST,
    LANE_COUNT,
    LANE_DESTINATION,
    LANE_DROPPED,
    LANE_RECEIVED,
    LANE_RX_PORT,
    LANE_SENT,
    LANE_SIZE,
    LANE_SOURCE,
    LANE_TX_PORT,
    LANE_WAITING,
    WORK_COUNT,
    WORK_DISPATCH,
    WORK_DRAIN_CYCLES,
    WORK_LANES,
    WORK_MAC_UPDATING,
)
from pollmode.mbuf import mbuf_data, mbuf_free_bulk
from pollmode.net.ethernet import set_ethernet_addresses

__all__ = ["forward"]


@inlined
def _add(address: int, n: int) -> None:
    """Add to a counter that only this lcore writes."""
    store64(address, load64(address) + n)


@inlined
def _readdress(lane: int, burst: int, n: int) -> None:
    """Give packets the addresses of their way out (l2fwd_mac_updating)."""
    destination, source = load64(lane + LANE_DESTINATION), load64(lane + LANE_SOURCE)
    for i in range(n):
        prefetch_write(mbuf_data(load64(burst + 8 * i)))
    for i in range(n):
        set_ethernet_addresses(mbuf_data(load64(burst + 8 * i)), destination, source)


@compiled
def _free(lcore: int, burst: int, n: int) -> int:
    """Free packets and return how many; not inlined, because it is large and rare."""
    mbuf_free_bulk(lcore, burst, n)
    return n


@inlined
def _send(lcore: int, dispatch: int, lane: int) -> None:
    """Send the packets that wait, and free those that are not taken."""
    waiting = load64(lane + LANE_COUNT)
    if waiting != 0:
        burst = lane + LANE_WAITING
        sent = tx_burst(lcore, dispatch, load64(lane + LANE_TX_PORT), 0, burst, waiting)
        store64(lane + LANE_COUNT, 0)
        _add(lane + LANE_SENT, sent)
        if sent < waiting:
            _add(lane + LANE_DROPPED, _free(lcore, burst + 8 * sent, waiting - sent))


@inlined
def _receive(lcore: int, dispatch: int, lane: int, mac_updating: int) -> None:
    """Receive a burst behind the packets that wait; send when that makes a burst together."""
    waiting = load64(lane + LANE_COUNT)
    fresh = lane + LANE_WAITING + 8 * waiting
    n = rx_burst(lcore, dispatch, load64(lane + LANE_RX_PORT), 0, fresh, BURST)
    if n != 0:
        _add(lane + LANE_RECEIVED, n)
        if mac_updating != 0:
            _readdress(lane, fresh, n)
        store64(lane + LANE_COUNT, waiting + n)
        if waiting + n >= BURST:
            _send(lcore, dispatch, lane)


@compiled
def _drain(lcore: int, dispatch: int, lanes: int, end: int) -> int:
    """Send what waits in every lane; returns 0."""
    lane = lanes
    while lane < end:
        _send(lcore, dispatch, lane)
        lane += LANE_SIZE
    return 0


@compiled
def forward(lcore: int, work: int) -> int:
    """Forward on the lanes of a WORK record until the lcore's stop word is set; returns 0. Leaves no packet behind."""
    dispatch, lanes = load64(work + WORK_DISPATCH), load64(work + WORK_LANES)
    end = lanes + LANE_SIZE * load64(work + WORK_COUNT)
    drain_cycles, mac_updating = load64(work + WORK_DRAIN_CYCLES), load64(work + WORK_MAC_UPDATING)
    drained = cycles()
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        now = cycles()
        if now - drained > drain_cycles:
            _drain(lcore, dispatch, lanes, end)
            drained = now
        lane = lanes
        while lane < end:
            _receive(lcore, dispatch, lane, mac_updating)
            lane += LANE_SIZE
    _drain(lcore, dispatch, lanes, end)
    return 0
