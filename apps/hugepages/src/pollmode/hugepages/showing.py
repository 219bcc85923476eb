# SPDX-License-Identifier: BSD-3-Clause
"""What is reserved and mounted, line by line as dpdk-hugepages.py prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pollmode.host_report.hugepage_counts import HugepageCount
from pollmode.hugepages.mounts import Mounts
from pollmode.hugepages.sizes import format_size

__all__ = ["show"]


def show(counts: Sequence[HugepageCount], mounts: Mounts) -> Iterator[str]:
    """Yield the table of what is reserved, an empty line and where hugepages are mounted."""
    rows = [
        (*_node(count), str(count.pages), format_size(count.size), format_size(count.size * count.pages))
        for count in counts
        if count.pages
    ]
    if rows:
        heads = (*(["Node"] if counts[0].node is not None else []), "Pages", "Size", "Total")
        yield from _table([heads, *rows])
    else:
        yield "No huge pages reserved"
    yield ""
    paths = " ".join(mount.path for mount in mounts.all())
    yield f"Huge page filesystems mounted at: {paths}" if paths else "No huge page filesystems mounted"


def _node(count: HugepageCount) -> list[str]:
    return [] if count.node is None else [str(count.node)]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column stands left and the others right, with two blanks behind each, the last too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        yield "".join(f"{cell}  " for cell in cells)
