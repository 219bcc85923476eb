# SPDX-License-Identifier: BSD-3-Clause
"""The command `telemetry-exporter`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from pollmode.eal import console
from pollmode.eal.errors import ConfigError
from pollmode.eal.stopper import Stopper
from pollmode.eal.telemetry_client import socket_path

__all__ = ["main"]

LOOPBACK, PORT = "127.0.0.1", 9876  # as DPDK's exporter

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def telemetry_exporter(
    prefix: Annotated[str, typer.Option("-f", "--file-prefix", metavar="PREFIX", help="of the process to ask")] = "rte",
    instance: Annotated[
        int, typer.Option("-i", "--instance", metavar="N", min=0, help="of several processes with one prefix")
    ] = 0,
    listen: Annotated[
        str, typer.Option("--listen", metavar="[ADDRESS:]PORT", help="where to answer Prometheus")
    ] = f"{LOOPBACK}:{PORT}",
    once: Annotated[bool, typer.Option("--once", help="print one page and exit")] = False,
) -> int:
    """Tell Prometheus the counters of a running process, ours or DPDK's: a client of its telemetry socket.

    The page is at http://ADDRESS:PORT/metrics until a signal comes. The process may come, go and come again meanwhile.
    """
    host, port = place(listen)
    path = socket_path(prefix, instance)
    from pollmode.telemetry_exporter.server import Server, page

    if once:
        print(page(path), end="")
        return 0
    with Stopper() as stopper, Server(host, port, path) as server:
        thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
        thread.start()
        print(f"counters of {path} at {server.url}", flush=True)
        stopper.wait()
        server.shutdown()
        thread.join()
    return 0


def place(text: str) -> tuple[str, int]:
    """Return address and port of `[ADDRESS:]PORT`; an IPv6 address stands in brackets. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF) or (":" in host and host[0] + host[-1] != "[]"):
        raise ConfigError(f"--listen: {text!r} is no [ADDRESS:]PORT, such as 9876 or 127.0.0.1:9876 or [::1]:9876")
    return host.strip("[]") or LOOPBACK, int(port)


def main(words: Sequence[str]) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: _command(words))


def _command(words: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(words), "telemetry-exporter", standalone_mode=False) or 0)
    except UsageError as error:
        raise ConfigError(f"{error.format_message()} (see telemetry-exporter --help)") from None
