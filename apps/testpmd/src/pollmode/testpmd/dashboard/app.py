# SPDX-License-Identifier: BSD-3-Clause
"""The screen: four lines and a view, drawn anew twice a second and at each key, by the main thread alone.

What keys do, commands of the prompt do: there is one way to start, stop and clear.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, TextIO, cast

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.drivers.linux_driver import LinuxDriver
from textual.widgets import Static

from pollmode.eal.errors import HostError
from pollmode.testpmd.dashboard import keys
from pollmode.testpmd.dashboard.cores import cores
from pollmode.testpmd.dashboard.drops import counters, drops
from pollmode.testpmd.dashboard.lines import CHOSEN, QUIET, fitted, window
from pollmode.testpmd.dashboard.messages import Messages
from pollmode.testpmd.dashboard.observer import Observer, Seen
from pollmode.testpmd.dashboard.overview import overview
from pollmode.testpmd.dashboard.queues import queues
from pollmode.testpmd.prompt.shell import run_line
from pollmode.testpmd.session import Session

__all__ = ["Dashboard"]

PERIOD = 0.5
"""Seconds between two looks."""
LINES = 4
"""Those that are not the view's."""
OVERVIEW, QUEUES, DROPS, CORES, MESSAGES, HELP = range(6)
CLEARING = ("clear port stats all", "clear port xstats all", "clear fwd stats all")


class _OutputDriver(LinuxDriver):
    """Draws on standard output, where textual would take standard error, which may go into a file."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._file = sys.__stdout__


class Dashboard(App[int]):
    """Shows a session until it is left, `seconds` have passed or the terminal is no longer there.

    Returns the number of the signal that it was left for, 0 without one.
    """

    CSS = """
    Static { height: 1; width: 100%; }
    #body { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(names, action, text, priority=True) for names, action, text in keys.ACTIONS),
        *(Binding(str(view + 1), f"show_view({view})", name) for view, name in enumerate(keys.VIEWS)),
    ]

    def __init__(
        self,
        session: Session,
        messages: Messages,
        seconds: float = 0,
        still_there: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(driver_class=_OutputDriver, ansi_color=True)
        self._session = session
        self._messages = messages
        self._seconds = seconds
        self._still_there = still_there
        self._observer = Observer(session)
        self._seen = Seen("", False, (), ())
        self._chosen = 0
        self._view = OVERVIEW
        self._first = 0
        self._every_counter = False
        self._ended = False
        self._running_in: asyncio.AbstractEventLoop | None = None

    def compose(self) -> ComposeResult:
        """Make the lines and the view."""
        for name in ("title", "tabs", "body", "message", "keys"):
            yield Static(id=name, markup=False)

    def on_mount(self) -> None:
        """Begin to look, and take what is printed; textual restores the outputs that were there before it."""
        sys.stdout, sys.stderr = cast(TextIO, self._messages.stdout), cast(TextIO, self._messages.stderr)
        self._running_in = asyncio.get_running_loop()
        if self._ended:
            self.exit(0)
        self._look()
        self.set_interval(PERIOD, self._look)
        if self._seconds:
            self.set_timer(self._seconds, lambda: self.exit(0))

    def end_soon(self) -> None:
        """End, out of a signal handler."""
        self._ended = True
        if self._running_in is not None:
            self._running_in.call_soon_threadsafe(self.exit, 0)

    def on_resize(self) -> None:
        """Draw for the new size, once it holds."""
        self.call_after_refresh(self._draw)

    def _look(self) -> None:
        if not self._still_there():
            self.exit(0)
            return
        try:
            self._seen = self._observer.look()
        except HostError:  # of a secondary process: the primary ended, which is told behind the screen
            self.exit(0)
            return
        there = [port.id for port in self._seen.ports]
        if there and self._chosen not in there:
            self._chosen = min(there, key=lambda number: abs(number - self._chosen))
        self._draw()

    # Keys.

    def action_toggle_forwarding(self) -> None:
        """Start or stop."""
        if self._session.running:
            self._command("stopping forwarding ...", "stop")
        else:
            self._command("starting to forward; a mode's first start compiles it ...", "start")

    def action_clear(self) -> None:
        """Count from zero."""
        self._command("clearing statistics ...", *CLEARING)

    def _command(self, told: str, *lines: str) -> None:
        """Run commands of the prompt, which may take long, once it is shown that they run."""

        def run() -> None:
            for line in lines:
                run_line(self._session, line)
            self._look()

        self._draw(told)
        self.call_after_refresh(run)

    def action_choose(self, step: int) -> None:
        """Choose another port; in long views without ports, scroll by a line."""
        if self._view in (CORES, MESSAGES, HELP):
            self._first += step
        else:
            there = [port.id for port in self._seen.ports]
            place = there.index(self._chosen) + step if self._chosen in there else 0
            self._chosen = there[place % len(there)] if there else 0
        self._draw()

    def action_view(self, step: int) -> None:
        """Go to another view."""
        self.action_show_view((self._view + step) % len(keys.VIEWS))

    def action_show_view(self, view: int) -> None:
        """Go to a view by its number; messages are shown from their end."""
        self._view, self._first = view, sys.maxsize if view == MESSAGES else 0
        self._draw()

    def action_help(self) -> None:
        """Show the page of keys."""
        self.action_show_view(HELP)

    def action_all_counters(self) -> None:
        """Show all counters, or those of lost packets."""
        self._every_counter = self._view != DROPS or not self._every_counter
        self.action_show_view(DROPS)

    def action_scroll(self, pages: int) -> None:
        """Scroll by pages."""
        self._first += pages * max(1, self._rows() - 1)
        self._draw()

    def action_leave(self) -> None:
        """End."""
        self.exit(0)

    def action_interrupt(self) -> None:
        """End as by the signal that this key is elsewhere."""
        self.exit(int(signal.SIGINT))

    # Drawing.

    def _rows(self) -> int:
        return max(0, self.size.height - LINES)

    def _draw(self, told: str = "") -> None:
        if not self.query("#body"):  # a callback behind the end
            return
        width, seen = self.size.width, self._seen
        self._put("title", Text(fitted(_title(seen), width), CHOSEN))
        self._put("tabs", keys.tabs(self._view, width))
        self._put("body", Text("\n").join(self._body(width, self._rows())))
        self._put("message", Text(fitted(told or self._messages.last, width), QUIET))
        self._put("keys", keys.footer(seen.running, width))

    def _put(self, name: str, text: Text) -> None:
        text.no_wrap = True
        self.query_one(f"#{name}", Static).update(text, layout=False)

    def _body(self, width: int, height: int) -> list[Text]:
        drawn: dict[int, Callable[[], list[Text]]] = {
            OVERVIEW: lambda: overview(self._seen, self._chosen, width, height),
            QUEUES: lambda: queues(self._seen, self._chosen, width),
            DROPS: lambda: (
                counters(self._seen, self._chosen, width) if self._every_counter else drops(self._seen, width)
            ),
            CORES: lambda: cores(self._seen, width),
            MESSAGES: lambda: self._messages_folded(width),
            HELP: keys.help_page,
        }
        lines = drawn[self._view]()
        self._first = max(0, min(self._first, len(lines) - height))
        shown = window(lines, height, self._first)
        for line in shown:
            line.truncate(width, overflow="ellipsis")
        return shown

    def _messages_folded(self, width: int) -> list[Text]:
        folded = (line[at : at + width] for line in self._messages.lines() for at in range(0, len(line) or 1, width))
        return [Text(line) for line in folded] or [Text("Nothing was said yet.", QUIET)]


def _title(seen: Seen) -> str:
    state = f"{seen.mode} forwarding {'runs' if seen.running else 'is stopped'}"
    cores = f" on {_some(len(seen.cores), 'lcore')}" if seen.cores else ""
    return f" testpmd   {state}   {_some(len(seen.ports), 'port')}{cores}   {time.strftime('%H:%M:%S')}"


def _some(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
