# SPDX-License-Identifier: BSD-3-Clause
"""Basic and extended statistics, and counters that are reset while an lcore adds to them."""

from __future__ import annotations

import numpy as np
import pytest

from pollmode.eal.errors import ConfigError
from pollmode.ethdev import Port, QueueCount, Stats
from pollmode.ethdev.counters import Counters
from pollmode.ethdev.testing import ModelDevice


def test_extended_statistics_have_dpdks_names_in_its_order(started: Port, device: ModelDevice) -> None:
    device.counted = Stats(
        ipackets=7,
        opackets=5,
        ibytes=700,
        obytes=500,
        imissed=1,
        ierrors=2,
        oerrors=3,
        rx_nombuf=4,
        q_ipackets=(3, 4),
        q_opackets=(5,),
        q_ibytes=(300, 400),
        q_obytes=(500,),
        q_errors=(0, 2),
    )
    device.own_xstats = {"rx_q0_size_64_packets": 9}
    assert list(started.xstats().items()) == [
        ("rx_good_packets", 7),
        ("tx_good_packets", 5),
        ("rx_good_bytes", 700),
        ("tx_good_bytes", 500),
        ("rx_missed_errors", 1),
        ("rx_errors", 2),
        ("tx_errors", 3),
        ("rx_mbuf_allocation_errors", 4),
        ("rx_q0_packets", 3),
        ("rx_q0_bytes", 300),
        ("rx_q0_errors", 0),
        ("rx_q1_packets", 4),
        ("rx_q1_bytes", 400),
        ("rx_q1_errors", 2),
        ("tx_q0_packets", 5),
        ("tx_q0_bytes", 500),
        ("tx_q1_packets", 0),
        ("tx_q1_bytes", 0),
        ("rx_q0_size_64_packets", 9),
    ]


def test_reset_is_the_devices(started: Port, device: ModelDevice) -> None:
    device.counted = Stats(ipackets=7)
    assert started.stats().ipackets == 7
    started.reset_stats()
    assert started.stats() == Stats()


def test_counters_count_from_the_last_reset_and_the_record_is_not_written() -> None:
    record = np.zeros(1, np.dtype([("packets", "i8"), ("bytes", "i8")]))
    counters = Counters(record, ("packets", "bytes"))
    record["packets"], record["bytes"] = 5, 320
    assert counters.read() == {"packets": 5, "bytes": 320}
    counters.reset()
    assert counters.read() == {"packets": 0, "bytes": 0}
    record["packets"] = 6
    assert counters.read() == {"packets": 1, "bytes": 0}
    assert int(record["packets"][0]) == 6


def test_how_full_rings_are_is_told_while_the_port_is_started(started: Port, device: ModelDevice) -> None:
    device.counts = {("rx", 0): QueueCount(3, 512), ("tx", 1): QueueCount(512, 512)}
    assert started.rx_queue_count(0) == QueueCount(used=3, size=512)
    assert started.tx_queue_count(1) == QueueCount(used=512, size=512)
    assert started.rx_queue_count(1) is None, "the driver cannot tell"
    with pytest.raises(ConfigError, match="there is no Tx queue 2; it has 0 to 1"):
        started.tx_queue_count(2)
    started.stop()
    assert started.rx_queue_count(0) is None
