# SPDX-License-Identifier: BSD-3-Clause
"""Faults come and go while an lcore sends and receives: it goes on, and at the end no mbuf is missing."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.numbered import BURST, churn

from .conftest import Rig

FAULTS = "drop=5%,duplicate=5%,reorder=5%,corrupt=5%,delay=5%,delay_us=20"


@pytest.mark.timeout(180)
def test_faults_come_and_go_under_traffic(rig: Rig) -> None:
    port = rig.ring("")
    counts, burst = np.zeros(2, np.int64), np.zeros(BURST, np.int64)
    lcores = rig.environment.lcores
    words = [rig.ports.dispatch, port.id, rig.pool.address, 64, burst.ctypes.data, counts.ctypes.data]
    lcores.launch(1, churn, *words)
    try:
        for _ in range(30):
            rig.bus.attach(f"net_fault0,port={port.name},{FAULTS}")
            moved(counts)
            assert port.xstats()["rx_q0_fault_entered_packets"] > 0
            rig.bus.take_off("net_fault0")
            moved(counts)
    finally:
        lcores.stop()
        lcores.wait()
    assert counts[1] > 0


def moved(counts: np.ndarray) -> None:
    """Wait until 500 more packets were received."""
    enough = counts[1] + 500
    while counts[1] < enough:
        time.sleep(0)
