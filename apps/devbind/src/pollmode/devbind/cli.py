# SPDX-License-Identifier: BSD-3-Clause
"""The command `pollmode-devbind`, with the options of dpdk-devbind.py."""

from __future__ import annotations

import grp
import pwd
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pollmode.eal import console
from pollmode.eal.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pollmode.devbind.binding import Request
    from pollmode.host_report import Host

__all__ = ["command_line", "main"]

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])
WRONG_USE = 2
"""Exit code after options that do not parse, as Python's argparse has it."""
LARGEST_ID = (1 << 32) - 2  # of a user or group; the one above means "leave it" to chown

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def devbind(
    context: typer.Context,
    devices: Annotated[
        list[str] | None,
        typer.Argument(metavar="DEVICE", help='"domain:bus:slot.func", "bus:slot.func", a pattern of these, eth1'),
    ] = None,
    status: Annotated[bool, typer.Option("-s", "--status", help="show all known devices")] = False,
    status_dev: Annotated[
        str, typer.Option("--status-dev", metavar="KIND", help="show devices of one kind: net, crypto, ...")
    ] = "",
    driver: Annotated[
        str, typer.Option("-b", "--bind", metavar="DRIVER", help='driver to bind to; "none" unbinds')
    ] = "",
    unbind: Annotated[bool, typer.Option("-u", "--unbind", help='the same as "-b none"; device dpdk: all')] = False,
    no_iommu: Annotated[
        bool, typer.Option("--noiommu-mode", help="let VFIO go without an IOMMU where there is none")
    ] = False,
    uid: Annotated[str, typer.Option("-U", "--uid", metavar="USER", help="owner of the VFIO groups")] = "",
    gid: Annotated[str, typer.Option("-G", "--gid", metavar="GROUP", help="group of the VFIO groups")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="also devices that routes go over: their connections are lost")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> int:
    """Bind PCI devices to drivers of the kernel and show what they are bound to, as dpdk-devbind.py does."""
    if version:
        from importlib.metadata import version as version_of

        print(f"pollmode-devbind {version_of('pollmode-devbind')}")
        return 0
    if driver and unbind:
        raise UsageError("argument -u/--unbind: not allowed with argument -b/--bind")
    if not driver and not unbind and not status and not status_dev:
        told = "No action specified for devices. Please give a --bind, --ubind or --status option"
        raise ConfigError(f"{told} (see pollmode-devbind --help)")
    if (driver or unbind) and not devices:
        raise ConfigError("No devices specified. pollmode-devbind --status lists them")
    from pollmode.devbind.binding import Request
    from pollmode.host_report import Host

    kinds = _kinds(status, status_dev)
    request = Request(force, no_iommu, _user(uid), _group(gid))
    host: Host = context.obj or Host()
    code = _change(host, devices or [], "none" if unbind else driver, request) if driver or unbind else 0
    if kinds:
        _show(host, kinds)
    return code


def _kinds(status: bool, status_dev: str) -> list[str]:
    from pollmode.host_report.pci_devices import KINDS

    if status_dev and status_dev not in KINDS:
        known = ", ".join(sorted(KINDS))
        told = f"argument --status-dev: invalid choice: '{status_dev}' (choose from {known})"
        raise UsageError(told + nearest(status_dev, KINDS))
    return list(KINDS) if status else [status_dev] if status_dev else []


def _change(host: Host, devices: Sequence[str], driver: str, request: Request) -> int:
    from pollmode.devbind import binding
    from pollmode.devbind.inventory import Inventory
    from pollmode.host_report.mending import load_module

    inventory = Inventory(host)
    if not inventory.passthrough:
        told = f"no supported DPDK kernel modules are loaded; {load_module(host, 'vfio-pci')}"
        binding.say("Warning", told)
    if driver in ("none", "None"):
        return binding.unbind(inventory, devices, request)
    return binding.bind(inventory, devices, driver, request)


def _show(host: Host, kinds: Sequence[str]) -> None:
    from pollmode.devbind.inventory import Inventory
    from pollmode.devbind.status import status

    for line in status(Inventory(host), kinds):
        print(line)


def _user(name: str) -> int:
    return _number(name, "--uid", "user", lambda known: pwd.getpwnam(known).pw_uid)


def _group(name: str) -> int:
    return _number(name, "--gid", "group", lambda known: grp.getgrnam(known).gr_gid)


def _number(name: str, option: str, what: str, look_up: Callable[[str], int]) -> int:
    """Return the number of a user or group, given by name or number; -1 when none is given."""
    if not name:
        return -1
    try:
        number = int(name) if name.isdecimal() else look_up(name)
        if number > LARGEST_ID:
            raise ConfigError(f"{option} {name}: the largest number of a {what} is {LARGEST_ID}")
        return number
    except KeyError:
        raise ConfigError(f"{option} {name}: there is no such {what}; give a name or a number") from None


def command_line(words: Sequence[str], host: Host | None = None) -> int:
    """Run the command with the words behind its name and return its exit code. Raises PollmodeError."""
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(words), "pollmode-devbind", standalone_mode=False, obj=host) or 0)
    except UsageError as error:
        print(f"Error: {error.format_message()} (see pollmode-devbind --help)", file=sys.stderr)
        return WRONG_USE


def main(words: Sequence[str], host: Host | None = None) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: command_line(words, host), form="Error: {}")
