# SPDX-License-Identifier: BSD-3-Clause
"""Lines of text that fit: columns of a table, and as many lines of a view as there are rows.

Styles carry no meaning of their own: what they underline is written too, for terminals and eyes without colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

__all__ = ["BAD", "CHOSEN", "HEADING", "QUIET", "RX", "TX", "Column", "fitted", "row", "window"]

HEADING, CHOSEN, QUIET = "bold", "reverse", "dim"
RX, TX, BAD = "cyan", "green", "bold red"
MORE = "… {} more lines below (Page Down)"


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, its width, and whether it is set to the right, as numbers are."""

    title: str
    width: int
    right: bool = False


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` in exactly `width` cells; what is too long ends in an ellipsis."""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)


def row(columns: Sequence[Column], cells: Sequence[str], style: str = "") -> Text:
    """Return a line with each cell in its column."""
    return Text("".join(fitted(cell, c.width, right=c.right) for c, cell in zip(columns, cells, strict=True)), style)


def window(lines: Sequence[Text], height: int, first: int) -> list[Text]:
    """Return the lines from number `first` on that fit into `height`; the last says how many are hidden below."""
    first = max(0, min(first, len(lines) - height))
    shown, below = list(lines[first : first + height]), len(lines) - first - height
    if below > 0 and shown:
        shown[-1] = Text(MORE.format(below + 1), QUIET)
    return shown
