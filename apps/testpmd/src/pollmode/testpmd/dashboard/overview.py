# SPDX-License-Identifier: BSD-3-Clause
"""The first view: all ports in a table, the chosen one's last minute as graphs, what is being lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from pollmode.testpmd.dashboard.drops import all_losses, worst
from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.graph import ceiling, filled
from pollmode.testpmd.dashboard.lines import HEADING, QUIET, RX, TX, fitted
from pollmode.testpmd.dashboard.observer import PortSeen, Seen
from pollmode.testpmd.dashboard.ports import port_table

__all__ = ["overview"]

LABEL = 7
"""Columns of the numbers at a graph's side."""
LEAST = 3
"""Least rows of dots that make a graph."""
TALL = 12
"""Rows beyond which a second pair of graphs is better than a taller one."""
GAP = 2
PAST, NOW = "60 s ago", "now"
LOSSES = 3
PAIRS = (
    (("RX packets/s", "ipackets", 1, RX), ("TX packets/s", "opackets", 1, TX)),
    (("RX bits/s", "ibytes", 8, RX), ("TX bits/s", "obytes", 8, TX)),
)


def overview(seen: Seen, chosen: int, width: int, height: int) -> list[Text]:
    """Return at most `height` lines of at most `width` columns."""
    if not seen.ports:
        return [Text("There are no ports.", HEADING)]
    lines = port_table(seen.ports, chosen, width, max(2, min(len(seen.ports), height // 4)))
    lost = all_losses(seen)
    below = worst(lost, min(LOSSES, max(1, len(lost))), width)
    port = next((port for port in seen.ports if port.id == chosen), seen.ports[0])
    rows = height - len(lines) - len(below) - 1
    if rows >= LEAST + 2:
        lines.append(Text(fitted(f"Port {port.id} {port.name}, the last minute", width), HEADING))
        pairs = PAIRS if rows // 2 - 2 >= TALL else PAIRS[:1]
        for pair in pairs:
            lines += _beside(*(_graph(port, *each, (width - GAP) // 2, rows // len(pairs) - 2) for each in pair))
    return (lines + below)[:height]


def _beside(left: Sequence[Text], right: Sequence[Text]) -> list[Text]:
    return [Text.assemble(one, " " * GAP, other) for one, other in zip(left, right, strict=True)]


def _graph(port: PortSeen, title: str, field: str, scale: int, style: str, width: int, height: int) -> list[Text]:
    """Return a graph with its title above and its axis below, each line `width` columns wide."""
    rates = [scale * rate for rate in port.history.parts(field, 2 * (width - LABEL))]
    peak = max((rate for rate in rates if not math.isnan(rate)), default=0.0)
    top = ceiling(peak)
    now = short(scale * port.history.rate(field))
    lines = [Text(fitted(f"{title}  now {now}  peak {short(peak)}", width), f"{HEADING} {style}")]
    marks = {0: top, height // 2: top / 2} if height > LEAST else {0: top}
    for number, dots in enumerate(filled(rates, height, top)):
        mark = f"{fitted(short(marks[number]), LABEL - 1, right=True)}┤" if number in marks else " " * (LABEL - 1) + "│"
        lines.append(Text.assemble((mark, QUIET), (dots, style)))
    axis = f"{'0':>{LABEL - 1}}└{PAST}{NOW.rjust(max(0, width - LABEL - len(PAST)), '─')}"
    return [*lines, Text(fitted(axis, width), QUIET)]
