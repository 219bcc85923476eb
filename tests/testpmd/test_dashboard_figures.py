# SPDX-License-Identifier: BSD-3-Clause
"""What the dashboard computes: rates of the last minute, graphs of dots, short numbers, which counters are losses."""

from __future__ import annotations

import math

import pytest

from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.graph import ceiling, filled, gauge
from pollmode.testpmd.dashboard.history import History
from pollmode.testpmd.dashboard.keys import VIEWS, tabs
from pollmode.testpmd.dashboard.losses import losses
from pollmode.testpmd.report import PortSample


def history(*points: tuple[float, int]) -> History:
    made = History()
    for when, packets in points:
        made.add(PortSample(when, ipackets=packets))
    return made


@pytest.mark.parametrize("width", range(1, 90))
def test_the_line_of_views_is_cut_with_its_marks(width: int) -> None:
    for view in range(len(VIEWS) + 1):
        line = tabs(view, width)
        assert len(line.plain) <= width
        assert all(span.end <= len(line.plain) for span in line.spans)


def test_a_rate_is_that_of_the_last_second() -> None:
    assert history().rate("ipackets") == 0
    assert history((100.0, 5)).rate("ipackets") == 0
    assert history((100.0, 0), (100.5, 50)).rate("ipackets") == 100
    assert history((98.0, 0), (99.0, 1000), (99.5, 1200), (100.0, 1400)).rate("ipackets") == 400
    assert history((100.0, 0), (100.5, 50)).rate("opackets") == 0


def test_parts_are_means_of_equal_pieces_of_the_minute() -> None:
    made = history(*((float(when), 100 * (when - 60)) for when in range(60, 121)))
    assert made.parts("ipackets", 60) == pytest.approx([100.0] * 60)
    assert made.parts("ipackets", 7) == pytest.approx([100.0] * 7, nan_ok=True)
    doubled = history((60.0, 0), (90.0, 3000), (120.0, 9000))
    assert doubled.parts("ipackets", 4) == pytest.approx([100, 100, 200, 200])


def test_parts_before_the_first_sample_are_not_numbers() -> None:
    parts = history((110.0, 0), (120.0, 50)).parts("ipackets", 6)
    assert parts[-1] == 5
    assert all(math.isnan(part) for part in parts[:-1])
    assert all(math.isnan(part) for part in history((110.0, 0)).parts("ipackets", 3))


def test_a_part_keeps_its_height_while_it_moves() -> None:
    points = [(60 + 0.5 * step, step * step) for step in range(140)]
    before, after = history(*points[:-1]), history(*points)
    assert after.parts("ipackets", 240)[:-4] == pytest.approx(before.parts("ipackets", 240)[2:-2], nan_ok=True)


def test_clearing_the_counters_leaves_no_mark() -> None:
    made = history((60.0, 1000), (61.0, 1100), (62.0, 20), (63.0, 120))
    assert made.rate("ipackets") == 100
    assert min(part for part in made.parts("ipackets", 60) if not math.isnan(part)) >= 0


def test_what_is_older_than_the_minute_is_forgotten() -> None:
    made = history(*((0.5 * step, step) for step in range(10_000)))
    assert len(made._times) < 300
    assert made.parts("ipackets", 60) == pytest.approx([2.0] * 60)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7.4, "7"),
        (999, "999"),
        (999.7, "1.00 k"),
        (1234, "1.23 k"),
        (9_996, "10.0 k"),
        (45_600_000, "45.6 M"),
        (99_960_000, "100 M"),
        (999_600_000, "1.00 G"),
        (2**64 - 1, "18.4 E"),
    ],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text
    assert len(text) <= 6


@pytest.mark.parametrize(("peak", "top"), [(0, 10), (10, 10), (11, 20), (53.6e6, 60e6), (100, 100), (101, 200)])
def test_the_top_of_a_graph_is_round(peak: float, top: float) -> None:
    assert ceiling(peak) == pytest.approx(top)


def test_a_graph_is_filled_from_below() -> None:
    assert filled([1, 1], 1, 1) == ["⣿"]
    assert filled([0.5, 1], 1, 1) == ["⣼"]
    assert filled([0, math.nan], 1, 1) == ["⡀"], "nothing counted is a dot, nothing known is none"
    assert filled([2, 1, 8, 4], 2, 8) == [" ⡇", "⣄⣿"]
    assert filled([5], 2, 1) == ["⡇", "⡇"], "what is beyond the top is cut"
    assert filled([], 2, 1) == ["", ""]


def test_a_gauge_shows_what_is_not_nothing() -> None:
    assert gauge(0, 4) == "░░░░"
    assert gauge(0.001, 4) == "█░░░"
    assert gauge(0.5, 4) == "██░░"
    assert gauge(1, 4) == "████"
    assert gauge(1, 0) == ""


def test_reasons_are_losses_and_totals_only_what_they_do_not_explain() -> None:
    found = losses(
        {
            "rx_good_packets": 9,
            "rx_missed_errors": 4,
            "rx_errors": 5,
            "tx_errors": 7,
            "rx_mbuf_allocation_errors": 2,
            "rx_q0_errors": 5,
            "rx_q0_short_errors": 3,
            "rx_q0_header_errors": 2,
            "rx_q0_ring_full_packets": 4,
            "rx_q0_size_64_packets": 9,
            "tx_q0_missed_packets": 6,
            "tx_q0_unfit_errors": 0,
            "tx_q0_fault_dropped_packets": 100,
        }
    )
    assert found == {
        "rx_q0_short_errors": 3,
        "rx_q0_header_errors": 2,
        "rx_q0_ring_full_packets": 4,
        "tx_q0_unfit_errors": 0,
        "tx_q0_fault_dropped_packets": 100,
        "tx_errors": 7,
        "rx_mbuf_allocation_errors": 2,
    }
