# SPDX-License-Identifier: BSD-3-Clause
"""The command `doctor`. What looks at the machine and what draws is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pollmode.eal import console
from pollmode.eal.errors import ConfigError, PollmodeError

if TYPE_CHECKING:
    from pollmode.host_report import Host

__all__ = ["main"]

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
    fix_leftovers: Annotated[
        bool, typer.Option("--fix-leftovers", help="remove what ended processes left and nobody has locked")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="show where an error was raised")] = False,
) -> int:
    """Look at this machine and say what stops or slows Pollmode, each with the command that mends it.

    Red stops a first run, yellow costs speed or a feature. The exit code is 1 with a red one, else 0. Nothing is
    changed unless --fix-leftovers is given.
    """
    if version:
        from importlib.metadata import version as version_of

        print(f"doctor {version_of('pollmode-doctor')}")
        return 0
    from pollmode.host_report import Host

    host: Host = context.obj or Host()
    if fix_leftovers:
        _fix(host, quiet=as_json)
    from pollmode.doctor.report import Report

    report = Report.of(host)
    if as_json:
        print(report.json())
    else:
        from pollmode.doctor.drawing import draw

        draw(report)
    return report.exit_code


def _fix(host: Host, *, quiet: bool) -> None:
    """Remove what is provably dead. Raises the first error after all have been tried."""
    from pollmode.host_report import dead_leftovers, remove

    failed: list[PollmodeError] = []
    for leftover in dead_leftovers(host):
        try:
            remove(host, leftover)
            if not quiet:
                print(f"removed {leftover.kind} {leftover.path}")
        except PollmodeError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def command_line(words: Sequence[str], host: Host | None = None) -> int:
    """Run the command with the words behind its name and return its exit code. Raises PollmodeError."""
    try:
        return int(typer.main.get_command(app).main(list(words), "doctor", standalone_mode=False, obj=host) or 0)
    except UsageError as error:
        raise ConfigError(f"{error.format_message()} (see doctor --help)") from None


def main(words: Sequence[str]) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: command_line(words), trace="--verbose" in words)
