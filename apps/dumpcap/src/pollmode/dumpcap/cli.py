# SPDX-License-Identifier: BSD-3-Clause
"""The command `dumpcap`, with dpdk-dumpcap's options."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pollmode.dumpcap.limits import limits
from pollmode.eal import console
from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.eal.stopper import Stopper
from pollmode.eal.telemetry_client import TelemetryClient, socket_path

if TYPE_CHECKING:
    from pollmode.dumpcap.recorder import Recording

__all__ = ["main"]

# click's UsageError, which typer has for a base whether it carries click inside or depends on it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def dumpcap(
    interfaces: Annotated[
        list[str] | None,
        typer.Option("-i", "--interface", metavar="PORT", help="port to capture, by number or name; several"),
    ] = None,
    show: Annotated[bool, typer.Option("-D", "--list-interfaces", help="print the ports and exit")] = False,
    output: Annotated[str, typer.Option("-w", metavar="FILE", help="file to write; - is standard output")] = "",
    count: Annotated[int, typer.Option("-c", metavar="N", min=0, help="end after N packets; 0: no limit")] = 0,
    autostop: Annotated[
        list[str] | None,
        typer.Option("-a", "--autostop", metavar="WHEN", help="end after duration:S, filesize:KIB or packets:N"),
    ] = None,
    snaplen: Annotated[
        int, typer.Option("-s", "--snapshot-length", metavar="N", min=0, help="bytes kept of a packet; 0: all")
    ] = 0,
    pcap: Annotated[bool, typer.Option("-P", help="write pcap instead of pcapng")] = False,
    pcapng: Annotated[bool, typer.Option("-n", help="write pcapng (default)")] = False,
    quiet: Annotated[bool, typer.Option("-q", help="do not print the count while capturing")] = False,
    queues: Annotated[
        list[int] | None, typer.Option("--queue", metavar="N", min=0, help="only this queue; several")
    ] = None,
    direction: Annotated[
        str, typer.Option("--direction", metavar="rx|tx|both", help="only what came or went")
    ] = "both",
    capture_filter: Annotated[str, typer.Option("-f", hidden=True)] = "",
    prefix: Annotated[str, typer.Option("--file-prefix", metavar="PREFIX", help="of the process")] = "rte",
    instance: Annotated[
        int, typer.Option("--instance", metavar="N", min=0, help="of several processes with one prefix")
    ] = 0,
) -> int:
    """Capture what the ports of a running process receive and send; the process is not stopped for it."""
    if pcap and pcapng:
        raise ConfigError("-P and -n exclude each other; -P writes pcap, -n pcapng")
    if direction not in ("rx", "tx", "both"):
        raise ConfigError(f"--direction {direction}: it is rx, tx or both")
    if capture_filter:
        way_out = "capture all, then: tcpdump -r FILE -w CHOSEN 'FILTER'"
        raise UnsupportedError(f"-f: packets are not filtered while they are captured; {way_out}")
    ends = limits(count, autostop or ())
    wanted: dict[str, object] = {}
    if snaplen:
        wanted["snaplen"] = snaplen
    if queues:
        wanted["queues"] = queues
    if direction != "both":
        wanted["directions"] = [direction]
    with TelemetryClient(socket_path(prefix, instance)) as client:
        if show:
            return list_interfaces(client)
        wanted["ports"] = interfaces or [_first(client)]
        from pollmode.dumpcap.recorder import Recording, ask
        from pollmode.net.pcapng import BlockFile

        with Stopper() as stopper:
            stream, names = ask(client, wanted)
            with stream:
                file = BlockFile(output or _default_path(names[0], pcap=pcap))
                progress = _count if not quiet and sys.stderr.isatty() else lambda packets: None
                print(f"File: {file.path}", f"Capturing on {_listed(names)}", sep="\n", file=sys.stderr, flush=True)
                recording = Recording(stream, file, ends, pcap, progress)
                try:
                    recording.run(stopper)
                finally:
                    file.close()
        return report(recording)


def list_interfaces(client: TelemetryClient) -> int:
    """Print number and name of each port."""
    for port in client.ask("/ethdev/list") or []:
        info = client.ask("/ethdev/info", port)
        if info is not None:  # it was detached meanwhile
            print(f"{port}. {info['name']}")
    return 0


def report(recording: Recording) -> int:
    """Tell what was captured. Raises HostError when the file or the process failed."""
    print(f"Packets captured: {recording.packets}", file=sys.stderr)
    for name, (received, dropped) in recording.counts.items():
        print(f"Packets received/dropped on interface '{name}': {received}/{dropped}", file=sys.stderr)
    if recording.error is not None:
        told = f"{recording.file.path}: {recording.error.strerror}; it ends after packet {recording.packets}"
        raise HostError(told, mend="make room, or write elsewhere with -w", errno=recording.error.errno)
    if not recording.complete:
        told = f"the process ended without telling its counts; {recording.file.path} has all that it sent"
        raise HostError(told, mend="look at its log")
    return 0


def _first(client: TelemetryClient) -> int:
    ports = client.ask("/ethdev/list")
    if not ports:
        raise ConfigError("the process has no port to capture")
    return int(ports[0])


def _default_path(name: str, *, pcap: bool) -> str:
    safe = "".join(letter if letter.isalnum() or letter in "_-.:" else "_" for letter in name)
    stamp = time.strftime("%Y%m%d%H%M%S")
    return str(Path(tempfile.gettempdir()) / f"dumpcap_{safe}_{stamp}.{'pcap' if pcap else 'pcapng'}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _count(packets: int) -> None:
    print(f"\rPackets captured: {packets} ", end="", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    """Run the command with the words behind its name; return the exit code."""
    return console.run(lambda: _command(words))


def _command(words: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(words), "pollmode-dumpcap", standalone_mode=False) or 0)
    except UsageError as error:
        raise ConfigError(f"{error.format_message()} (see pollmode-dumpcap --help)") from None
