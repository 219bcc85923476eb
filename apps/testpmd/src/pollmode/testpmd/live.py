# SPDX-License-Identifier: BSD-3-Clause
"""Statistics while packets move: a table that is redrawn on a terminal, DPDK's text everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
    """Show the ports' statistics every `period` seconds until `wait` says that the run is to end."""
    if sys.stdout.isatty():
        _watch_table(ports, period, xstats, wait)
    else:
        _watch_text(ports, period, xstats, wait)


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
    from rich.table import Table

    table = Table(title="Port statistics")
    for name in ("Port", "Name", "Link"):
        table.add_column(name)
    for name in ("RX Mpps", "RX Gbps", "TX Mpps", "TX Gbps", "RX packets", "TX packets", "Missed", "Errors", *xstats):
        table.add_column(name, justify="right")
    for port in ports:
        at, last = now[port.id], before[port.id]
        rates = [at.rate(last, field) for field in ("ipackets", "ibytes", "opackets", "obytes")]
        extended = port.xstats() if xstats else {}
        table.add_row(
            str(port.id),
            port.name,
            "up" if port.link().up else "down",
            f"{rates[0] / 1e6:.2f}",
            f"{rates[1] * 8 / 1e9:.2f}",
            f"{rates[2] / 1e6:.2f}",
            f"{rates[3] * 8 / 1e9:.2f}",
            f"{at.ipackets:,}",
            f"{at.opackets:,}",
            f"{at.imissed + at.rx_nombuf:,}",
            f"{at.ierrors + at.oerrors:,}",
            *(f"{extended.get(name, 0):,}" for name in xstats),
        )
    return table
