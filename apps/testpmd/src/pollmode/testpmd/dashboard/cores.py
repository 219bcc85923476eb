# SPDX-License-Identifier: BSD-3-Clause
"""The view of lcores: what each forwards, and the share of its time that packets take."""

from __future__ import annotations

from rich.text import Text

from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.graph import gauge
from pollmode.testpmd.dashboard.lines import HEADING, QUIET, Column, fitted, row
from pollmode.testpmd.dashboard.observer import CoreSeen, Seen

__all__ = ["cores"]

COLUMNS = (
    Column("Lcore, streams", 30),
    Column("Received/s", 11, True),
    Column("Sent/s", 11, True),
    Column("Dropped/s", 11, True),
)
BAR = 10


def cores(seen: Seen, width: int) -> list[Text]:
    """Return a line for each lcore that forwards, and below it one for each of its streams."""
    if not seen.cores:
        return [Text("No lcore forwards yet: s starts.", HEADING)]
    title = row(COLUMNS, [column.title for column in COLUMNS], HEADING)
    lines = [Text.assemble(title, ("  Busy", HEADING))]
    for core in seen.cores:
        lines += _core_lines(core, width)
    if all(core.busy is None for core in seen.cores):
        lines.append(Text(fitted("Busy is known with the option --record-core-cycles.", width), QUIET))
    return lines


def _core_lines(core: CoreSeen, width: int) -> list[Text]:
    streams = core.streams
    sums = [sum(values) for values in zip(*((s.received, s.sent, s.dropped.rate) for s in streams), strict=True)]
    head = row(COLUMNS, [f"lcore {core.lcore}: {len(streams)}", *map(short, sums)], HEADING)
    head.append("     -" if core.busy is None else f"  {core.busy:4.0%} {gauge(core.busy, BAR)}")
    lines = [head]
    for stream in streams:
        at = stream.stream
        where = f"  P{at.rx_port}/Q{at.rx_queue} -> P{at.tx_port}/Q{at.tx_queue}"
        lines.append(row(COLUMNS, [where, *map(short, (stream.received, stream.sent, stream.dropped.rate))]))
    return lines
