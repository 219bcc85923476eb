# SPDX-License-Identifier: BSD-3-Clause
"""The view of the chosen port's queues: what they move, and how full their rings are."""

from __future__ import annotations

from rich.text import Text

from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.graph import gauge
from pollmode.testpmd.dashboard.lines import BAD, HEADING, QUIET, RX, TX, Column, fitted, row
from pollmode.testpmd.dashboard.observer import QueueSeen, Seen

__all__ = ["queues"]

COLUMNS = (
    Column("Queue", 7),
    Column("State", 9),
    Column("Packets", 8, True),
    Column("a second", 10, True),
    Column("Errors", 8, True),
    Column("Ring used", 14, True),
)
PERCENT = 6
WIDEST = 60


def queues(seen: Seen, chosen: int, width: int) -> list[Text]:
    """Return a line for each queue; a ring whose driver cannot tell how full it is has a dash."""
    port = next((port for port in seen.ports if port.id == chosen), None)
    if port is None:
        return [Text("There are no ports.", HEADING)]
    counts = [sum(queue.way == way for queue in port.queues) for way in ("rx", "tx")]
    title = f"Port {port.id} {port.name}, driver {port.driver}: {counts[0]} RX and {counts[1]} TX queues"
    lines = [Text(fitted(title, width), HEADING), row(COLUMNS, [column.title for column in COLUMNS], HEADING)]
    lines += [_line(queue, width) for queue in port.queues]
    lines += [Text(fitted(fault, width), BAD) for fault in port.faults]
    if any(queue.ring is None for queue in port.queues):
        lines.append(Text(fitted("-: no ring, no peer, or the driver cannot tell how full the ring is", width), QUIET))
    return lines


def _line(queue: QueueSeen, width: int) -> Text:
    ring = queue.ring
    cells = (
        f"{queue.way.upper()} {queue.number}",
        "running" if queue.running else "stopped",
        short(queue.packets.count),
        short(queue.packets.rate),
        short(queue.errors),
        f"{ring.used}/{ring.size}" if ring else "-",
    )
    line = row(COLUMNS, cells)
    if ring and ring.size:
        share = ring.used / ring.size
        room = min(WIDEST, width - sum(column.width for column in COLUMNS) - PERCENT - 1)
        line.append(f"{share:>{PERCENT - 1}.0%}  ")
        line.append(gauge(share, max(0, room)), RX if queue.way == "rx" else TX)
    return line
