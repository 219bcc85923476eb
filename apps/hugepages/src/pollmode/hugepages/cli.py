# SPDX-License-Identifier: BSD-3-Clause
"""The command `pollmode-hugepages`, with the options of dpdk-hugepages.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pollmode.eal import console
from pollmode.eal.errors import ConfigError, HostError

if TYPE_CHECKING:
    from pollmode.host_report import Host
    from pollmode.host_report.hugepage_counts import HugepageCount

__all__ = ["command_line", "main"]

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])
WRONG_USE = 2
"""Exit code after options that do not parse, as Python's argparse has it."""
DEFAULT = "Hugepagesize"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def hugepages(
    context: typer.Context,
    show: Annotated[bool, typer.Option("-s", "--show", help="show what is reserved and mounted")] = False,
    clear: Annotated[bool, typer.Option("-c", "--clear", help="give all reserved pages back")] = False,
    mount: Annotated[bool, typer.Option("-m", "--mount", help="mount the file system of hugepages")] = False,
    unmount: Annotated[bool, typer.Option("-u", "--unmount", help="unmount it")] = False,
    directory: Annotated[
        str, typer.Option("-d", "--directory", metavar="DIR", help="where it is mounted")
    ] = "/dev/hugepages",
    user: Annotated[str, typer.Option("-U", "--user", metavar="UID", help="owner of the mounted directory")] = "",
    group: Annotated[str, typer.Option("-G", "--group", metavar="GID", help="group of the mounted directory")] = "",
    node: Annotated[
        int | None, typer.Option("-n", "--node", metavar="NODE", help="this NUMA node alone, instead of each")
    ] = None,
    page_size: Annotated[
        str, typer.Option("-p", "--pagesize", metavar="SIZE", help="size of a page: 2M, 1G; the kernel's default")
    ] = "",
    reserve: Annotated[
        str, typer.Option("-r", "--reserve", metavar="SIZE", help="reserve pages, SIZE on each node; with K, M or G")
    ] = "",
    setup: Annotated[str, typer.Option("--setup", metavar="SIZE", help="clear, unmount, reserve SIZE, mount")] = "",
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> int:
    """Reserve hugepages, show them and mount their file system, as dpdk-hugepages.py does.

    For 2 GiB in pages of 1 GiB: pollmode-hugepages -p 1G --setup 2G. When a step fails, all before it is taken back.
    """
    if version:
        from importlib.metadata import version as version_of

        print(f"pollmode-hugepages {version_of('pollmode-hugepages')}")
        return 0
    changes = clear or mount or unmount or bool(reserve) or bool(setup)
    if not show and not changes:
        raise UsageError("no action specified; give --show, --setup, --reserve, --clear, --mount or --unmount")
    from pollmode.host_report import Host

    host: Host = context.obj or Host()
    counts = _counts(host, node)
    if setup and reserve:
        raise ConfigError(f"--setup {setup} reserves by itself; leave --reserve {reserve} out")
    if not directory:
        raise ConfigError("--directory names no directory; /dev/hugepages is usual")
    for option, owner in (("--user", user), ("--group", group)):
        if any(mark in owner for mark in ",= "):
            raise ConfigError(f"{option} {owner}: give one name or number; `id` tells a user's")
    if changes:
        from pollmode.hugepages.changing import Request, change
        from pollmode.hugepages.sizes import parse_size

        wanted = parse_size(setup or reserve) if setup or reserve else None
        size = parse_size(page_size) if page_size else _default_size(host)
        all_of = bool(setup)
        where = os.path.abspath(directory)
        request = Request(clear or all_of, unmount or all_of, wanted, mount or all_of, size, where, user, group)
        change(host, counts, request)
    if show:
        from pollmode.hugepages.mounts import Mounts
        from pollmode.hugepages.showing import show as lines

        for line in lines(_counts(host, node), Mounts(host)):
            print(line)
    return 0


def _counts(host: Host, node: int | None) -> list[HugepageCount]:
    """Return the counts of all nodes, or of one. Raises ConfigError when it is not there."""
    from pollmode.host_report.hugepage_counts import hugepage_counts

    counts = hugepage_counts(host)
    if node is None:
        return counts
    if all(count.node is None for count in counts):
        raise ConfigError("NUMA node requested but not supported; leave --node out")
    nodes = sorted({count.node for count in counts if count.node is not None})
    if node not in nodes:
        raise ConfigError(f"--node {node}: this machine has nodes {', '.join(map(str, nodes))}")
    return [count for count in counts if count.node == node]


def _default_size(host: Host) -> int:
    """Return the KiB of the kernel's default page. Raises HostError."""
    size = host.fields("/proc/meminfo").get(DEFAULT, "").removesuffix("kB").strip()
    if not size.isdecimal():
        raise HostError(f"'\"{DEFAULT}\" not found in /proc/meminfo'", mend="say the size: --pagesize 2M")
    return int(size)


def command_line(words: Sequence[str], host: Host | None = None) -> int:
    """Run the command with the words behind its name and return its exit code. Raises PollmodeError."""
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(words), "pollmode-hugepages", standalone_mode=False, obj=host) or 0)
    except UsageError as error:
        print(f"Error: {error.format_message()} (see pollmode-hugepages --help)", file=sys.stderr)
        return WRONG_USE


def main(words: Sequence[str], host: Host | None = None) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: command_line(words, host), form="Error: {}")
