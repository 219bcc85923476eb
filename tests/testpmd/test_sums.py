# SPDX-License-Identifier: BSD-3-Clause
"""Every packet is accounted for: received = sent + dropped by named reason, whatever faults the ports have.

`POLLMODE_PEER_PACKETS` sets how many packets are received at least.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import Ports
from pollmode.mbuf.mempool import Mempool
from pollmode.testpmd.bringup import Bringup
from pollmode.testpmd.forwarding import Forwarding
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import plan_streams
from pollmode.testpmd.report import StreamSummary

PACKETS = int(os.environ.get("POLLMODE_PEER_PACKETS", "2000" if INTERPRETED else "200000"))
MBUFS = 4096
FAULTS = "drop=1%,duplicate=1%,reorder=1%,corrupt=1%,delay=1%,delay_us=50,seed=42"

Run = Callable[[str], tuple[tuple[StreamSummary, ...], list[dict[str, int]]]]


@pytest.fixture
def run(environment: Environment) -> Iterator[Run]:
    """Forward PACKETS between a source and a ring, both with faults; return what streams and ports counted."""
    ports = Ports(environment)
    bus = VdevBus(environment, ports)
    for number, device in enumerate(("net_null0,size=100", "net_ring1")):
        name = device.partition(",")[0]
        bus.attach(device)
        bus.attach(f"net_fault{number},port={name},{FAULTS}")
    pools: list[Mempool] = []

    def forwarded(mode: str) -> tuple[tuple[StreamSummary, ...], list[dict[str, int]]]:
        options = replace(Options(), forward_mode=mode, total_num_mbufs=MBUFS, mbcache=32, flush_rx=False)
        bringup = Bringup(environment, list(ports), options)
        pools.append(bringup.pool)
        for port in ports:
            bringup.apply(port)
            port.start()
        plan = plan_streams(options, (0, 1), (1,), to_sender=mode == "icmpecho")
        forwarding = Forwarding(environment, ports, bringup.pool, options, plan, options.burst)
        try:
            # net_null always has a full burst, of which the injector loses little more than one in a hundred.
            forwarding.start(passes=PACKETS // options.burst * 11 // 10 + 64)
            forwarding.wait()
            return forwarding.summary().streams, [port.xstats() for port in ports]
        finally:
            forwarding.close()

    yield forwarded
    for port in list(ports):
        port.stop()
        bus.detach(port)  # the ring's own packets go here
    for pool in pools:
        assert pool.audit().available == MBUFS


def faults_of(xstats: dict[str, int], way: str) -> dict[str, int]:
    """Return the injector's counters, after a look at its sum."""
    prefix = f"{way}_q0_fault_"
    found = {name.removeprefix(prefix): value for name, value in xstats.items() if name.startswith(prefix)}
    accounted = (found[f"{name}_packets"] for name in ("left", "dropped", "discarded", "held"))
    assert found["entered_packets"] + found["duplicated_packets"] == sum(accounted), found
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["io", "rxonly", "flowgen", "icmpecho", "txonly"])
def test_the_sums_hold_with_faults_of_every_kind(run: Run, mode: str) -> None:
    streams, counted = run(mode)
    for stream in streams:
        made = stream.tx_packets + stream.dropped if mode in ("flowgen", "txonly") else 0
        assert stream.rx_packets + made == stream.tx_packets + stream.dropped + stream.consumed
        rx, tx = counted[stream.stream.rx_port], counted[stream.stream.tx_port]
        received, sent = faults_of(rx, "rx"), faults_of(tx, "tx")
        assert rx["rx_good_packets"] == received["entered_packets"]
        assert received["left_packets"] == stream.rx_packets
        assert sent["entered_packets"] == stream.tx_packets
        assert tx["tx_good_packets"] == sent["left_packets"]
    busiest = streams[1] if mode == "txonly" else streams[0]  # sends to net_null, or receives from it
    assert busiest.rx_packets + busiest.tx_packets >= PACKETS
    seen = faults_of(counted[0], "tx" if mode == "txonly" else "rx")
    for fault in ("dropped", "duplicated", "reordered", "corrupted", "delayed"):
        assert seen[f"{fault}_packets"] > 0, fault
    if mode == "txonly":
        assert streams[0].dropped > 0, "nobody empties the ring"
