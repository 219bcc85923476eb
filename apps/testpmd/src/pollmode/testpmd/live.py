# SPDX-License-Identifier: BSD-3-Clause
"""Statistics while packets move: a table that is redrawn on a terminal, DPDK's text everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError, nearest
from pollmode.ethdev import Port
from pollmode.testpmd.report import PortSample, port_statistics, xstats_lines

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["sample", "watch"]

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
    if sys.stdout.isatty():
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
    from rich.live import Live

    before = {port.id: sample(port) for port in ports}
    with Live(_table(ports, before, before, xstats), auto_refresh=False) as live:
        while not wait(period):
            now = {port.id: sample(port) for port in ports}
            live.update(_table(ports, now, before, xstats), refresh=True)
            before = now


def _table(
    ports: Sequence[Port], now: dict[int, PortSample], before: dict[int, PortSample], xstats: Sequence[str]
) -> Table:
    """Return the table of this moment; without extended statistics it fits a terminal of 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="Port statistics", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("Port", overflow="fold")
    for name in ("RX Mpps", "TX Mpps", "RX Gbps", "TX Gbps", "RX total", "TX total", "Lost", *xstats):
        table.add_column(name, justify="right", no_wrap=True)
    for port in ports:
        at, last = now[port.id], before[port.id]
        packets = [at.rate(last, field) / 1e6 for field in ("ipackets", "opackets")]
        bits = [at.rate(last, field) * 8 / 1e9 for field in ("ibytes", "obytes")]
        lost = at.imissed + at.rx_nombuf + at.ierrors + at.oerrors
        extended = port.xstats() if xstats else {}
        table.add_row(
            f"{port.id} {port.name}{'' if port.link().up else ' (down)'}",
            *(f"{rate:.2f}" for rate in (*packets, *bits)),
            *(_short(count) for count in (at.ipackets, at.opackets, lost)),
            *(_short(extended.get(name, 0)) for name in xstats),
        )
    return table


def _short(count: int) -> str:
    """Return a count in at most seven characters: 1234, 12.35 M."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
