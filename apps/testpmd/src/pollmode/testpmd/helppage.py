# SPDX-License-Identifier: BSD-3-Clause
"""The help page, from the tables of options."""

from __future__ import annotations

from collections.abc import Iterable

from pollmode.eal import options as eal_options
from pollmode.eal.grammar import Option
from pollmode.testpmd import option_table

__all__ = ["help_page"]

WIDTH = 30

OWN = [
    ("--demo", "forward between a vhost and a virtio port of this process; needs no root, no hugepages"),
    ("--seconds SECONDS", "how long the demonstration lasts (10; with --tui until q is typed)"),
    ("--verbose", "show where an error was raised"),
]

GROUPS = (
    ("Control", option_table.CONTROL),
    ("Cores and ports", option_table.CORES_AND_PORTS),
    ("Buffers", option_table.BUFFERS),
    ("Packets", option_table.PACKETS),
    ("Queues", option_table.QUEUES),
    ("Offloads", option_table.OFFLOADS),
    ("Debugging", option_table.DEBUGGING),
)


def help_page() -> str:
    """Return the page that --help prints."""
    parts = [
        "Forwards, makes and counts packets between ports, as DPDK's testpmd does.",
        "Usage: testpmd [EAL options] -- [testpmd options]\n       testpmd --demo [--seconds SECONDS] [-- options]",
        _block("First run", OWN),
        *(_block(f"testpmd options: {name}", _rows(options)) for name, options in GROUPS),
        _block("EAL options", eal_options.usage()),
    ]
    return "\n\n".join(parts)


def _rows(options: Iterable[Option]) -> list[tuple[str, str]]:
    return [(option.usage, option.meaning) for option in options if option.lacking is None]


def _block(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return f"{title}:\n" + "\n".join(f"  {form:{WIDTH}} {meaning}" for form, meaning in rows)
