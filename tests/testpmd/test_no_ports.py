# SPDX-License-Identifier: BSD-3-Clause
"""A start without a port: DPDK's line, then of each device why it was not taken, and a way out."""

from __future__ import annotations

import os

import pytest

from pollmode.host_report import why_no_ports
from pollmode.testpmd import application
from pollmode.testpmd.options import parse
from pollmode.testpmd.tell import ARROW

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)


def test_each_device_says_why_it_was_not_taken(capsys: pytest.CaptureFixture[str]) -> None:
    cpu = min(os.sched_getaffinity(0))
    words = ["--no-huge", "--in-memory", "-m", "64", "--lcores", f"0@{cpu}", "--file-prefix", f"none{os.getpid()}"]
    assert application.run(words, parse(["--total-num-mbufs=2048", "--mbcache=64"]), seconds=0.1) == 0
    told = capsys.readouterr().err.splitlines()
    start = told.index("testpmd: No probed ethernet devices")
    reasons = why_no_ports()
    assert told[start + 1 : start + 1 + len(reasons)] == [f"{ARROW}{reason}" for reason in reasons]
    assert "testpmd --vdev net_null0" in reasons[-1]
