# SPDX-License-Identifier: BSD-3-Clause
"""The command `l2fwd [EAL options] -- [options]`. Reads every option before it imports anything heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, cast

import typer

from pollmode.eal import console
from pollmode.eal import options as eal_options
from pollmode.eal.errors import ConfigError
from pollmode.l2fwd.options import invalid, read_options

__all__ = ["command_line", "main"]

PROGRAM = "l2fwd [EAL options] --"

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def eal_help() -> str:
    """Return the EAL's options for the end of the help page."""
    pairs = eal_options.usage()
    width = max(len(form) for form, _ in pairs if len(form) <= 30)
    lines = "\n".join(f"  {form:{width}}  {meaning}" for form, meaning in pairs)
    return f"\b\nEAL options, before the two dashes:\n{lines}"


def once(name: str, texts: list[str] | None) -> str | None:
    """Return the text of an option, None when it was not given. Raises ConfigError when it was given twice."""
    if texts is None or not texts:
        return None
    if len(texts) > 1:
        raise invalid(f"argument {name} should not occur multiple times!")
    return texts[0]


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def l2fwd(
    context: typer.Context,
    mask: Annotated[list[str] | None, typer.Option("-p", metavar="MASK", help="hexadecimal mask of ports")] = None,
    promiscuous: Annotated[bool, typer.Option("-P", help="receive frames for any address")] = False,
    queues: Annotated[
        list[str] | None, typer.Option("-q", metavar="NQ", help="ports that one lcore polls, 1 to 15 (1)")
    ] = None,
    period: Annotated[
        list[str] | None,
        typer.Option("-T", metavar="SECONDS", help="time between statistics pages, 0 for none, up to 86399 (10)"),
    ] = None,
    no_mac_updating: Annotated[
        bool, typer.Option("--no-mac-updating", help="leave the addresses of packets as they are")
    ] = False,
    portmap: Annotated[
        list[str] | None, typer.Option("--portmap", metavar="(P,Q),...", help="pairs of ports, else in their order")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="show where an error was raised")] = False,
) -> Callable[[], int]:
    """Forward frames between pairs of ports: what comes in by one leaves by the other.

    Each frame gets the source address of the port it leaves by and the destination 02:00:00:00:00:<port>.
    """
    options = read_options(once("-p", mask), once("-q", queues), once("-T", period), once("--portmap", portmap))
    options = replace(options, promiscuous=promiscuous, mac_updating=not no_mac_updating)
    eal: list[str] = context.obj

    def forward() -> int:
        from pollmode.l2fwd.run import run

        return run(eal, options)

    return forward


def command_line(words: Sequence[str]) -> int:
    """Run the command with the words behind its name and return its exit code. Raises PollmodeError."""
    eal, own = eal_options.split(words)
    if "--" not in words and {"-h", "--help"} & set(words):
        eal, own = [], ["--help"]
    try:
        asked = eal_options.parse(eal)  # an error is told before the compiler is loaded
    except ConfigError as error:
        raise error if "--" in words else ConfigError(f"{error}; options of l2fwd itself stand behind --") from None
    command = typer.main.get_command(app)
    command.epilog = eal_help()
    try:
        run = command.main(["--help"] if asked.help else own, PROGRAM, standalone_mode=False, obj=eal)
    except UsageError as error:
        raise invalid(error.format_message()) from None
    # Behind typer, which would answer an output nobody reads in a way of its own. After --help there is nothing to run.
    return int(run()) if callable(run) else 0


def main(words: Sequence[str]) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: command_line(words), trace="--verbose" in words)
