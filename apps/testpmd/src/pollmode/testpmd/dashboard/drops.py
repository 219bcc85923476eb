# SPDX-License-Identifier: BSD-3-Clause
"""The view of lost packets: each counter by its name, with its growth; or all counters of the chosen port."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from pollmode.testpmd.dashboard.figures import short
from pollmode.testpmd.dashboard.lines import HEADING, QUIET, Column, row
from pollmode.testpmd.dashboard.observer import Counted, Seen

__all__ = ["all_losses", "counters", "drops", "worst"]

Loss = tuple[str, Counted]
NUMBER = 10
WHERE = 24


def all_losses(seen: Seen) -> list[Loss]:
    """Return where packets were lost and which counter says so: ports first, then forwarding."""
    found = [(f"port {port.id} {port.name}", each) for port in seen.ports for each in port.lost]
    for core in seen.cores:
        for stream in core.streams:
            at = stream.stream
            if stream.dropped.count:
                found.append((f"P{at.rx_port}/Q{at.rx_queue} -> P{at.tx_port}/Q{at.tx_queue}", stream.dropped))
    return found


def worst(lost: Sequence[Loss], count: int, width: int) -> list[Text]:
    """Return a heading and the `count` losses that grow fastest."""
    if not lost:
        return [Text("Lost packets", HEADING), Text("none", QUIET)]
    order = sorted(lost, key=lambda loss: (-loss[1].rate, -loss[1].count))
    return _table(order[:count], width, "Lost packets" if len(lost) <= count else f"Lost, {len(lost)} counters")


def drops(seen: Seen, width: int) -> list[Text]:
    """Return every loss."""
    lost = all_losses(seen)
    if not lost:
        return [Text("Lost packets", HEADING), Text("none: what was received was sent or is on its way", QUIET)]
    return _table(lost, width, "Lost packets")


def counters(seen: Seen, chosen: int, width: int) -> list[Text]:
    """Return every extended statistic of the chosen port that is not zero."""
    port = next((port for port in seen.ports if port.id == chosen), None)
    if port is None:
        return [Text("There are no ports.", HEADING)]
    where = f"port {port.id} {port.name}"
    return _table([(where, each) for each in port.counted], width, "Counters")


def _table(lost: Sequence[Loss], width: int, title: str) -> list[Text]:
    columns = [
        Column(title, WHERE),
        Column("Counter", max(0, width - WHERE - 2 * NUMBER)),
        Column("Packets" if title != "Counters" else "Count", NUMBER, True),
        Column("a second", NUMBER, True),
    ]
    lines = [row(columns, [column.title for column in columns], HEADING)]
    for where, each in lost:
        lines.append(row(columns, [where, each.name, short(each.count), short(each.rate)]))
    return lines
