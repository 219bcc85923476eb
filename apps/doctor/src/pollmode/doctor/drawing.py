# SPDX-License-Identifier: BSD-3-Clause
"""The report for people: a table on a terminal that is wide enough, plain lines elsewhere.

Commands stand below the table, one in a line, so that they can be copied whole.
"""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pollmode.doctor.report import Report
from pollmode.host_report import Verdict

__all__ = ["draw"]

NARROW = 60
"""Columns below which a table has no room for its texts."""
STYLES = {Verdict.GREEN: "green", Verdict.YELLOW: "yellow", Verdict.RED: "bold red"}


def draw(report: Report, console: Console | None = None) -> None:
    """Print a report; without `console` to standard output."""
    out = console or Console(highlight=False, soft_wrap=False)
    if out.is_terminal and out.width >= NARROW:
        out.print(_table(report))
        _print_mending(report, out)
    else:
        _print_lines(report, out)
    out.print(Text(report.summary, style=STYLES[report.verdict]), soft_wrap=True)


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("found")
    before = ""
    for check, finding in report.findings:
        name = check.name if check.name != before else ""
        before = check.name
        table.add_row(Text(finding.verdict, style=STYLES[finding.verdict]), name, Text(finding.text))
    return table


def _print_mending(report: Report, out: Console) -> None:
    """Print the command of each finding that has one, red ones first."""
    worst_first = sorted(report.findings, key=lambda pair: pair[1].verdict is not Verdict.RED)
    out.print()
    for check, finding in worst_first:
        if finding.mend:
            out.print(Text(f"To mend {check.name}:", style=STYLES[finding.verdict]))
            out.print(Text(f"  {finding.mend}"), soft_wrap=True)
    out.print()


def _print_lines(report: Report, out: Console) -> None:
    """Print a line each, and its command below it; nothing is wrapped or cut."""
    for check, finding in report.findings:
        line = Text.assemble((f"{finding.verdict:6}", STYLES[finding.verdict]), f" {check.name}: {finding.text}")
        out.print(line, soft_wrap=True)
        if finding.mend:
            out.print(Text(f"       mend: {finding.mend}"), soft_wrap=True)
