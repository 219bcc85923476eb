# SPDX-License-Identifier: BSD-3-Clause
"""The keys of the dashboard, the line that names them and the page that explains them."""

from __future__ import annotations

from rich.text import Text

from pollmode.testpmd.dashboard.lines import HEADING, fitted

__all__ = ["ACTIONS", "VIEWS", "footer", "help_page", "tabs"]

VIEWS = ("Overview", "Queues", "Drops", "Cores", "Messages")

ACTIONS = (
    ("s", "toggle_forwarding", "start or stop forwarding"),
    ("c", "clear", "set the counters of ports and of forwarding to zero"),
    ("up,k", "choose(-1)", "choose the port before"),
    ("down,j", "choose(1)", "choose the port behind"),
    ("tab,right", "view(1)", "the next view"),
    ("shift+tab,left", "view(-1)", "the view before"),
    ("a", "all_counters", "in Drops: all counters of the chosen port, or losses alone"),
    ("pagedown,space", "scroll(1)", "further down"),
    ("pageup,b", "scroll(-1)", "further up"),
    ("question_mark,h", "help", "this page; any view's key leaves it"),
    ("q,ctrl+d,escape", "leave", "quit: forwarding ends, its statistics are printed"),
    ("ctrl+z", "suspend_process", "suspend the program, forwarding too; the shell's fg goes on"),
    ("ctrl+c", "interrupt", "the same, as by a signal"),
)
"""Keys, action and meaning."""
SHOWN = {"question_mark": "?", "pagedown": "Page Down", "pageup": "Page Up", "shift+tab": "Shift-Tab"}

EXPLAINED = (
    "Rates are those of the last second. Entries of a ring are used that hold a",
    "packet which its other end has not taken. Messages has what the program prints.",
)


def tabs(view: int, width: int) -> Text:
    """Return the line of views, the present one in brackets."""
    line = Text()
    for number, name in enumerate(VIEWS):
        here = number == view
        line.append(f"[{number + 1} {name}]" if here else f" {number + 1} {name} ", HEADING if here else "")
    line.append(" help " if view != len(VIEWS) else "[help]", HEADING if view == len(VIEWS) else "")
    line.truncate(width, overflow="ellipsis")  # with its spans
    return line


def footer(running: bool, width: int) -> Text:
    """Return the line of the commonest keys."""
    verb = "stop" if running else "start"
    return Text(fitted(f" s {verb}  c clear  Up/Down port  1-5 Tab view  a counters  ? help  q quit", width))


def help_page() -> list[Text]:
    """Return what every key does, and what the views show."""
    keys = [(f"1 to {len(VIEWS)}", f"views: {', '.join(VIEWS)}")]
    keys += [(" ".join(SHOWN.get(key, key) for key in names.split(",")), text) for names, _, text in ACTIONS]
    lines = [Text("Keys", HEADING), *(Text(f"  {names:18} {text}") for names, text in keys)]
    return [*lines, *map(Text, EXPLAINED)]
