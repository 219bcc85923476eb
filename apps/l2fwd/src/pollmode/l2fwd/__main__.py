# SPDX-License-Identifier: BSD-3-Clause
"""The command `l2fwd [EAL options] -- [options]`. Reads every option before it imports anything heavy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from pollmode.eal import console
from pollmode.eal import options as eal_options
from pollmode.l2fwd.options import Options, invalid, read_mask, read_period, read_portmap, read_queues

__all__ = ["main"]

PROGRAM = "l2fwd [EAL options] --"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def eal_help() -> str:
    """Return the EAL's options for the end of the help page."""
    pairs = eal_options.usage()
    width = max(len(form) for form, _ in pairs if len(form) <= 30)
    lines = "\n".join(f"  {form:{width}}  {meaning}" for form, meaning in pairs)
    return f"\b\nEAL options, before the two dashes:\n{lines}"


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def l2fwd(
    context: typer.Context,
    mask: Annotated[str | None, typer.Option("-p", metavar="MASK", help="hexadecimal mask of ports (needed)")] = None,
    promiscuous: Annotated[bool, typer.Option("-P", help="receive frames for any address")] = False,
    queues: Annotated[str, typer.Option("-q", metavar="NQ", help="ports that one lcore polls, 1 to 15")] = "1",
    period: Annotated[
        str, typer.Option("-T", metavar="SECONDS", help="time between statistics pages, 0 for none, up to 86399")
    ] = "10",
    no_mac_updating: Annotated[
        bool, typer.Option("--no-mac-updating", help="leave the addresses of packets as they are")
    ] = False,
    portmap: Annotated[
        str | None, typer.Option("--portmap", metavar="(P,Q),...", help="pairs of ports, else in their order")
    ] = None,
) -> int:
    """Forward frames between pairs of ports: what comes in by one leaves by the other.

    Each frame gets the source address of the port it leaves by and the destination 02:00:00:00:00:<port>.
    """
    options = Options(
        mask=0 if mask is None else read_mask(mask),
        promiscuous=promiscuous,
        queues=read_queues(queues),
        period=read_period(period),
        mac_updating=not no_mac_updating,
        portmap=None if portmap is None else read_portmap(portmap),
    )
    eal: list[str] = context.obj
    eal_options.parse(eal)  # an error here is told before the compiler is loaded
    from pollmode.l2fwd.run import run

    return run(eal, options)


def command_line(words: Sequence[str]) -> int:
    """Run the command with the words behind its name and return its exit code. Raises PollmodeError."""
    eal, own = eal_options.split(words)
    if "--" not in words and {"-h", "--help"} & set(words):
        eal, own = [], ["--help"]
    command = typer.main.get_command(app)
    command.epilog = eal_help()
    try:
        code = command.main(own, prog_name=PROGRAM, standalone_mode=False, obj=eal)
    except click.ClickException as error:
        raise invalid(error.format_message()) from None
    return int(code or 0)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(console.run(lambda: command_line(sys.argv[1:])))


if __name__ == "__main__":
    main()
