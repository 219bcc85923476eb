# SPDX-License-Identifier: BSD-3-Clause
"""l2fwd between two ports of DPDK's testpmd: packets go round through both programs, and both count the same."""

import os
import re
import sys
import time

import pytest
from support.dpdk import DpdkTestpmd, require_testpmd
from support.program import Program

PATIENCE = 150.0

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]
TOTAL = re.compile(
    r"Statistics for port (\d) -+\s+Packets sent: +(\d+)\s+Packets received: +(\d+)\s+Packets dropped: +(\d+)"
)

CPU = max(os.sched_getaffinity(0))


def l2fwd(*vdevs):
    eal = ["--no-huge", "--in-memory", "-m", "128", "--lcores", f"0@{CPU}", "--file-prefix", f"l2fwd{os.getpid()}"]
    eal += [word for vdev in vdevs for word in ("--vdev", vdev)]
    return Program([sys.executable, "-m", "pollmode.l2fwd", *eal, "--", "-p", "3", "-q", "2", "-T", "1"])


def last_counts(program):
    """Return packets sent, received and dropped of both ports on the last page."""
    return {int(port): tuple(map(int, rest)) for port, *rest in TOTAL.findall(program.output())}


def settled(ours, dpdk):
    """Wait until DPDK's counts stand still and l2fwd has taken all that was sent."""
    end = time.monotonic() + PATIENCE
    while True:
        sent = [dpdk.statistics(port)[2] for port in (0, 1)]
        counts = last_counts(ours)
        if [counts[port][1] for port in (0, 1)] == sent:
            return sent
        assert time.monotonic() < end, f"DPDK sent {sent}, l2fwd counts {counts}"
        time.sleep(0.2)


def exchange(ours, dpdk):
    """Let packets go round, stop DPDK, and compare what both counted."""
    for port in (0, 1):
        dpdk.wait_for_link(port)
    dpdk.type("start tx_first 4")
    ours.wait_for(r"Total packets sent: +\d{5}", seconds=PATIENCE)
    dpdk.type("stop")
    sent = settled(ours, dpdk)
    assert ours.interrupt() == 0
    counts = last_counts(ours)
    assert [counts[port][1] for port in (0, 1)] == sent
    for port, other in ((0, 1), (1, 0)):
        assert counts[port][0] + counts[port][2] == counts[other][1]


@pytest.fixture
def ended():
    """Collect programs and end them after the test, the last one first."""
    programs = []
    yield programs
    for program in reversed(programs):
        program.close()


def test_between_our_vhost_ports_and_dpdks_virtio_user(ended, tmp_path_factory):
    require_testpmd()
    folder = tmp_path_factory.mktemp("v")
    paths = [folder / "0", folder / "1"]
    ours = l2fwd(*(f"net_vhost{number},iface={path}" for number, path in enumerate(paths)))
    ended.append(ours)
    ours.wait_for(r"Checking link status", seconds=PATIENCE)
    dpdk = DpdkTestpmd(*(f"net_virtio_user{number},path={path}" for number, path in enumerate(paths)))
    ended.append(dpdk)
    exchange(ours, dpdk)


def test_between_our_virtio_user_ports_and_dpdks_vhost(ended, tmp_path_factory):
    require_testpmd()
    folder = tmp_path_factory.mktemp("v")
    paths = [folder / "0", folder / "1"]
    dpdk = DpdkTestpmd(*(f"net_vhost{number},iface={path}" for number, path in enumerate(paths)))
    ended.append(dpdk)
    ours = l2fwd(*(f"net_virtio_user{number},path={path}" for number, path in enumerate(paths)))
    ended.append(ours)
    ours.wait_for(r"Checking link status.*done", seconds=PATIENCE)
    exchange(ours, dpdk)
