# SPDX-License-Identifier: BSD-3-Clause
"""The table of ports: what fits 80 columns, and more where there is more room."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from rich.text import Text

from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.graph import ceiling, filled
from pollmode.testpmd.dashboard.lines import BAD, CHOSEN, HEADING, QUIET, Column, fitted, row
from pollmode.testpmd.dashboard.observer import PortSeen

__all__ = ["port_table"]

Cell = Callable[[PortSeen], str]

ALWAYS: tuple[tuple[Column, Cell], ...] = (
    (Column(" ID", 4), lambda port: f" {port.id:<2}"),
    (Column("Device", 17), lambda port: port.name),
    (Column("State", 7), lambda port: port.state),
    (Column("RX pkt/s", 9, True), lambda port: short(port.history.rate("ipackets"))),
    (Column("TX pkt/s", 9, True), lambda port: short(port.history.rate("opackets"))),
    (Column("RX bit/s", 9, True), lambda port: short(8 * port.history.rate("ibytes"))),
    (Column("TX bit/s", 9, True), lambda port: short(8 * port.history.rate("obytes"))),
    (Column("RX pkts", 8, True), lambda port: short(port.totals.ipackets)),
    (Column("TX pkts", 8, True), lambda port: short(port.totals.opackets)),
)
WITH_ROOM: tuple[tuple[Column, Cell], ...] = (
    (Column("Lost", 8, True), lambda port: short(sum(each.count for each in port.lost))),
    (Column("RX bytes", 10, True), lambda port: short(port.totals.ibytes)),
    (Column("TX bytes", 10, True), lambda port: short(port.totals.obytes)),
    (Column("  Driver", 18), lambda port: f"  {port.driver}"),
    (Column("Speed", 10, True), lambda port: port.speed),
)
SPARK = 24
"""Least columns for each port's own minute; two of them, received and sent."""


def port_table(ports: Sequence[PortSeen], chosen: int, width: int, rows: int) -> list[Text]:
    """Return the heading and a line a port, the chosen one among them; with more ports than `rows` those around it."""
    columns = [*ALWAYS, *_that_fit(width)]
    shape = [column for column, _ in columns]
    spark = (width - sum(column.width for column in shape)) // 2
    heading = row(shape, [column.title for column in shape], HEADING)
    if spark >= SPARK:
        for title in ("RX", "TX"):
            heading.append(fitted(f"  {title} packets/s, last minute", spark), HEADING)
    first, shown = _around(ports, chosen, rows)
    lines = [heading]
    for port in shown:
        line = row(shape, [cell(port) for _, cell in columns])
        if spark >= SPARK:
            for field in ("ipackets", "opackets"):
                line.append(f"  {_spark(port.history.parts(field, 2 * (spark - 2)))}")
        line.stylize(BAD if port.state == "broken" else QUIET if port.state != "up" else "")
        if port.id == chosen:
            line.stylize(CHOSEN)
            line.plain = ">" + line.plain[1:]
        lines.append(line)
    if len(shown) < len(ports):
        lines[0] = row(shape, [f"{len(ports)}", f"ports, from no. {first + 1}", *(c.title for c in shape[2:])], HEADING)
    return lines or [heading]


def _that_fit(width: int) -> list[tuple[Column, Cell]]:
    ends = accumulate((column.width for column, _ in WITH_ROOM), initial=sum(column.width for column, _ in ALWAYS))
    return [each for each, end in zip(WITH_ROOM, list(ends)[1:], strict=True) if end <= width]


def _around(ports: Sequence[PortSeen], chosen: int, rows: int) -> tuple[int, Sequence[PortSeen]]:
    place = next((at for at, port in enumerate(ports) if port.id == chosen), 0)
    first = max(0, min(place - rows // 2, len(ports) - rows))
    return first, ports[first : first + rows]


def _spark(rates: Sequence[float]) -> str:
    peak = max((rate for rate in rates if not math.isnan(rate)), default=0.0)
    return filled(rates, 1, ceiling(peak))[0]
