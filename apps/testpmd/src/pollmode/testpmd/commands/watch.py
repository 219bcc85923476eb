# SPDX-License-Identifier: BSD-3-Clause
"""Watching statistics while packets move; not a command of DPDK's."""

from __future__ import annotations

import select
import sys
import time

from pollmode.eal.stopper import Stopper
from pollmode.testpmd.commands.chosen import chosen_ports
from pollmode.testpmd.live import watch
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session

__all__ = ["commands"]

commands = Commands("display")

SLICE = 0.1  # seconds between looks for the enter key


@commands.add(
    "watch port stats {ports:port|all}",
    "watch port stats {ports:port|all} {period:u16}",
    "watch port stats {ports:port|all} {period:u16} {times:u32}",
)
def watch_port_stats(session: Session, ports: int | str, period: int = 1, times: int = 0) -> None:
    """Show the statistics of ports every so many seconds, so many times or until the enter key or Ctrl-C."""
    chosen = chosen_ports(session, ports, list_valid=True)
    if not chosen:
        return
    with Stopper() as stopper:
        watch(chosen, max(period, 1), session.options.display_xstats, _Ending(session, stopper, times))
    # Ctrl-C ends the watching alone; what ends the program ends the session too.
    if session.stopper.requested or stopper.signal not in (None, 2):
        session.stopper.signal = session.stopper.signal or stopper.signal
        session.stopper.stop()


class _Ending:
    """`ending(seconds)` waits, and tells whether watching is over."""

    def __init__(self, session: Session, stopper: Stopper, times: int) -> None:
        self._stopper = stopper
        self._left = times + 1 if times else -1
        self._keyboard = sys.stdin.isatty()

    def __call__(self, period: float) -> bool:
        self._left -= 1
        if self._left == 0:
            return True
        if not self._keyboard:
            return self._stopper.wait(period)
        end = time.monotonic() + period
        while not self._stopper.requested and time.monotonic() < end:
            if select.select([sys.stdin], [], [], SLICE)[0]:
                sys.stdin.readline()
                return True
        return self._stopper.requested
