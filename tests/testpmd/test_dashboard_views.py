# SPDX-License-Identifier: BSD-3-Clause
"""The dashboard's views of made sessions: everything fits, nothing needed is missing, whatever the terminal's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rich.text import Text

from pollmode.ethdev import QueueCount
from pollmode.testpmd.dashboard import keys
from pollmode.testpmd.dashboard.cores import cores
from pollmode.testpmd.dashboard.drops import counters, drops
from pollmode.testpmd.dashboard.history import History
from pollmode.testpmd.dashboard.lines import fitted, window
from pollmode.testpmd.dashboard.observer import CoreSeen, Counted, PortSeen, QueueSeen, Seen, StreamSeen
from pollmode.testpmd.dashboard.overview import overview
from pollmode.testpmd.dashboard.queues import queues
from pollmode.testpmd.plan import Stream
from pollmode.testpmd.report import PortSample

SIZES = [(80, 20), (80, 19), (40, 10), (120, 26), (200, 56), (1, 1), (20, 3)]
ROWS = 20
"""Rows of a view on a terminal of 24."""


def port(number: int, name: str = "", *, queues: int = 1, lost: int = 0, state: str = "up") -> PortSeen:
    past = History()
    for second in range(90):
        past.add(PortSample(float(second), 10**9 * second, 3 * second, 64 * 10**9 * second, 7 * second))
    made = tuple(
        QueueSeen(way, queue, True, Counted("packets", 10**15, 1e9), 3, QueueCount(200, 256) if queue == 0 else None)
        for way in ("rx", "tx")
        for queue in range(queues)
    )
    losses = tuple(Counted(f"rx_q{each}_short_errors", 10**9, 1e6 + each) for each in range(lost))
    driver = "net_virtio_user"
    totals = PortSample(89.0, 89 * 10**9, 267, 64 * 89 * 10**9, 623)
    faults = ("Rx queue 0 is broken: a used entry names a descriptor outside the ring",) if state == "broken" else ()
    return PortSeen(
        number, name or f"net_virtio_user{number}", driver, state, "10 Gbps", totals, past, made, losses, losses, faults
    )


def core(number: int, streams: int, busy: float | None) -> CoreSeen:
    made = (
        StreamSeen(Stream(0, queue, 1, queue, bytes(6)), 1e9, 1e9 - 7, Counted("no room in the transmit queue", 7, 7.0))
        for queue in range(streams)
    )
    return CoreSeen(number, tuple(made), busy)


def seen(*ports: PortSeen, lcores: int = 1, busy: float | None = 0.5) -> Seen:
    return Seen("io", True, ports, tuple(core(number, 2, busy) for number in range(lcores)))


MANY = seen(*(port(number, queues=8, lost=number) for number in range(32)), lcores=16)
FEW = seen(port(0, lost=2), port(1))
NONE = Seen("io", False, (), ())
BROKEN = seen(port(0, "a_device_with_a_very_long_name_indeed", state="broken"), port(1, state="down"))

VIEWS: dict[str, Callable[[Seen, int, int], list[Text]]] = {
    "overview": lambda what, width, height: overview(what, 0, width, height),
    "queues": lambda what, width, height: window(queues(what, 0, width), height, 0),
    "drops": lambda what, width, height: window(drops(what, width), height, 0),
    "counters": lambda what, width, height: window(counters(what, 0, width), height, 0),
    "cores": lambda what, width, height: window(cores(what, width), height, 0),
}


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


@pytest.mark.parametrize("what", [MANY, FEW, NONE, BROKEN], ids=["many", "few", "none", "broken"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_no_more_lines_than_there_are_rows(view: str, what: Seen) -> None:
    for width, height in SIZES:
        assert len(VIEWS[view](what, width, height)) <= height


@pytest.mark.parametrize("what", [MANY, FEW, NONE, BROKEN], ids=["many", "few", "none", "broken"])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off_at_80_columns(view: str, what: Seen) -> None:
    for line in VIEWS[view](what, 80, ROWS):
        assert line.cell_len <= 80, line.plain


def test_the_overview_at_80_by_24_has_ports_graphs_and_losses() -> None:
    shown = text(overview(FEW, 1, 80, ROWS))
    assert ">1  net_virtio_user1 up" in shown
    for word in ("1.00 G", "512 G", "89.0 G", "RX packets/s  now 1.00 G", "TX packets/s  now 3", "60 s ago", "⣿⣿⣿"):
        assert word in shown, word
    assert "rx_q1_short_errors" in shown
    assert "no room in the transmit queue" in shown
    assert len(shown.splitlines()) == ROWS, "the room is used"


def test_a_wide_and_tall_terminal_shows_more() -> None:
    shown = text(overview(FEW, 0, 200, 56))
    for word in ("RX bits/s", "TX bits/s", "net_virtio_user ", "10 Gbps", "RX bytes", "RX packets/s, last minute"):
        assert word in shown, word
    assert "RX bits/s" not in text(overview(FEW, 0, 80, ROWS))


def test_of_many_ports_the_chosen_one_is_shown() -> None:
    for chosen in (0, 17, 31):
        lines = overview(MANY, chosen, 80, ROWS)
        assert any(line.plain.startswith(f">{chosen} ") for line in lines)
        assert lines[0].plain.startswith("32  ports, from no.")


def test_rings_are_shown_with_their_size_or_a_dash() -> None:
    shown = text(queues(seen(port(0, queues=2)), 0, 80))
    assert "RX 0   running    1.00 P    1.00 G       3       200/256  78%" in shown
    assert "RX 1   running    1.00 P    1.00 G       3             -" in shown
    assert "the driver cannot tell" in shown


def test_a_broken_queue_is_told_in_words() -> None:
    assert "Rx queue 0 is broken" in text(queues(BROKEN, 0, 80))
    assert "broken" in text(overview(BROKEN, 0, 80, ROWS)).splitlines()[1]
    assert "down" in text(overview(BROKEN, 0, 80, ROWS)).splitlines()[2]


def test_losses_of_ports_and_of_forwarding_have_names() -> None:
    shown = text(drops(FEW, 80))
    assert "port 0 net_virtio_user0 rx_q0_short_errors" in shown
    assert "P0/Q0 -> P1/Q0          no room in the transmit queue" in shown
    assert "none: " in text(drops(Seen("io", True, (port(0),), ()), 80))


def test_lcores_say_what_they_forward_and_how_busy_they_are() -> None:
    shown = text(cores(seen(port(0), lcores=2), 80))
    assert "lcore 1: 2" in shown
    assert "2.00 G" in shown
    assert "50% █████░░░░░" in shown
    assert "--record-core-cycles" in text(cores(seen(port(0), busy=None), 80))
    assert "s starts" in text(cores(NONE, 80))


def test_every_line_of_keys_fits_80_columns() -> None:
    lines = [*keys.help_page(), *(keys.tabs(view, 80) for view in range(6)), keys.footer(True, 80)]
    assert all(line.cell_len <= 80 for line in lines)
    assert len(keys.help_page()) <= ROWS
    assert keys.footer(True, 80).plain.rstrip().endswith("q quit")
    assert "[3 Drops]" in keys.tabs(2, 80).plain


def numbered(count: int) -> Iterator[Text]:
    return (Text(str(number)) for number in range(count))


def test_a_window_says_how_much_is_below() -> None:
    lines = list(numbered(10))
    assert [line.plain for line in window(lines, 3, 0)] == ["0", "1", "… 8 more lines below (Page Down)"]
    assert [line.plain for line in window(lines, 3, 99)] == ["7", "8", "9"]
    assert window(lines, 10, 5) == lines
    assert window(lines, 0, 0) == []


def test_cells_are_exactly_as_wide_as_their_column() -> None:
    assert fitted("abc", 5) == "abc  "
    assert fitted("abc", 5, right=True) == "  abc"
    assert fitted("abcdef", 5) == "abcd…"
    assert fitted("abc", 0) == ""
    assert fitted("網路", 3) == "網…"
