# SPDX-License-Identifier: BSD-3-Clause
"""Statistics while packets move: a table on a terminal that can redraw, DPDK's text everywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError, nearest
from pollmode.ethdev import Port
from pollmode.testpmd.report import PortSample, port_statistics, xstats_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["sample", "watch"]

Cells = dict[str, str]
RATES = ("RX Mpps", "TX Mpps", "RX Gbps", "TX Gbps")
COUNTS = ("RX total", "TX total", "Lost")
FOLDED = 10
"""Least columns for the name of a port, which is folded where there are fewer than it takes."""
WIDEST = 4096
"""Columns in which every table fits."""

Wait = Callable[[float], bool]
"""`wait(seconds)`: sleeps, and tells whether the run is to end."""


def sample(port: Port) -> PortSample:
    """Read a port's statistics."""
    now = port.stats()
    return PortSample(
        time.monotonic(),
        now.ipackets,
        now.opackets,
        now.ibytes,
        now.obytes,
        now.imissed,
        now.ierrors,
        now.oerrors,
        now.rx_nombuf,
    )


def watch(ports: Sequence[Port], period: float, xstats: Sequence[str], wait: Wait) -> None:
    """Show the ports' statistics every `period` seconds until `wait` says that the run is to end.

    Raises ConfigError for an extended statistic that no port has.
    """
    _check_xstats(ports, xstats)
    if sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown"):
        _watch_table(ports, period, xstats, wait)
    else:
        _watch_text(ports, period, xstats, wait)


def _check_xstats(ports: Sequence[Port], names: Sequence[str]) -> None:
    """Tell where a name is not known, as DPDK does; one that no port knows is a mistake."""
    known = {port.id: port.xstats().keys() for port in ports} if names else {}
    every = sorted({name for there in known.values() for name in there})
    for name in names:
        if known and name not in every:
            told = f"display-xstats: no port has an extended statistic {name!r}{nearest(name, every)}"
            raise ConfigError(f"{told}; there are {', '.join(every)}")
        for port, there in known.items():
            if name not in there:
                print(f"No xstat '{name}' on port {port} - skip it")


def _watch_text(ports: Sequence[Port], period: float, xstats: Sequence[str], wait: Wait) -> None:
    before: dict[int, PortSample] = {}
    before_extended: dict[int, dict[str, int]] = {}
    while not wait(period):
        print("\nPort statistics ====================================", end="")
        for port in ports:
            now, last = sample(port), before.get(port.id)
            print(port_statistics(port.id, now, last))
            if xstats:
                extended = {name: value for name, value in port.xstats().items() if name in xstats}
                seconds = now.when - last.when if last else 0.0
                print(xstats_lines(extended, before_extended.get(port.id, {}), seconds))
                before_extended[port.id] = extended
            before[port.id] = now
        sys.stdout.flush()


def _watch_table(ports: Sequence[Port], period: float, xstats: Sequence[str], wait: Wait) -> None:
    from rich.console import Console
    from rich.live import Live

    before = {port.id: sample(port) for port in ports}
    with Live(console=Console(), auto_refresh=False) as live:

        def draw(now: dict[int, PortSample]) -> None:
            table = _table([_cells(port, now[port.id], before[port.id], xstats) for port in ports], live.console)
            live.update(table, refresh=True)

        draw(before)
        while not wait(period):
            now = {port.id: sample(port) for port in ports}
            draw(now)
            before = now


def _cells(port: Port, now: PortSample, before: PortSample, xstats: Sequence[str]) -> Cells:
    """Return a port's part of the table: names and values."""
    packets = [now.rate(before, field) / 1e6 for field in ("ipackets", "opackets")]
    bits = [now.rate(before, field) * 8 / 1e9 for field in ("ibytes", "obytes")]
    lost = now.imissed + now.rx_nombuf + now.ierrors + now.oerrors
    extended = port.xstats() if xstats else {}
    return {
        "Port": f"{port.id} {port.name}{'' if port.link().up else ' (down)'}",
        **{name: f"{rate:.2f}" for name, rate in zip(RATES, (*packets, *bits), strict=True)},
        **{name: _short(count) for name, count in zip(COUNTS, (now.ipackets, now.opackets, lost), strict=True)},
        **{name: _short(extended.get(name, 0)) for name in xstats},
    }


def _table(ports: Sequence[Cells], console: Console) -> Table:
    """Return the table of this moment: a row a port where the terminal is wide enough, else a row a number.

    Without extended statistics 80 columns are enough for the first, 24 for the second.
    """
    wide = _grid()
    for name in ports[0] if ports else ():
        if name == "Port":
            wide.add_column(name, overflow="fold", min_width=FOLDED)
        else:
            wide.add_column(name, justify="right", no_wrap=True)
    for cells in ports:
        wide.add_row(*cells.values())
    if console.measure(wide, options=console.options.update(width=WIDEST)).minimum <= console.width:
        return wide
    tall = _grid(show_header=False)
    tall.add_column(no_wrap=True)
    tall.add_column(justify="right", overflow="fold")
    for cells in ports:
        for name, value in cells.items():
            tall.add_row(name, value)
    return tall


def _grid(*, show_header: bool = True) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        title="Port statistics",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
        show_header=show_header,
    )


def _short(count: int) -> str:
    """Return a count in at most seven characters: 1234, 12.35 M."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
