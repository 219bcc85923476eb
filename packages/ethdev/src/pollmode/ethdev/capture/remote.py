# SPDX-License-Identifier: BSD-3-Clause
"""Captures for other processes: the telemetry command `/ethdev/capture`.

The request carries a descriptor, one end of a socket pair; what is captured is sent there as pcapng, and the other
process writes the file. The pair is the life of the capture: when either process dies, however it dies, the kernel
closes its end and the other sees that. Nothing has a name, so nothing is left over.

The request's parameter is JSON: {"ports": [name or number], "queues": [...], "directions": [...], "snaplen": bytes,
"filter": text}, all but the first may be left out. The answer is {"ports": [names]} or {"error": text}.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any, Final

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, PollmodeError

from .sinks import SocketSink
from .tap import Selection, Tap

if TYPE_CHECKING:
    from pollmode.ethdev.ports import Ports

__all__ = ["COMMAND", "RemoteCaptures"]

log = logs.get("lib.ethdev.capture")

COMMAND: Final = "/ethdev/capture"
MAX_CAPTURES: Final = 8
"""Captures for others at a time: each queue in one has megabytes."""


class RemoteCaptures:
    """The captures that other processes asked for, until `close`."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        text = "Captures ports into the socket passed with the request. Parameters: JSON, see dumpcap"
        ports.environment.telemetry.register_handover(COMMAND, self.begin, text)

    def begin(self, parameters: str | None, descriptors: list[int]) -> dict[str, Any]:
        """Answer the request; takes the first of `descriptors` when it begins a capture."""
        try:
            if not descriptors or not _is_stream(descriptors[0]):
                raise ConfigError("a capture wants a stream socket with the request; ask with dumpcap")
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if self._ending.is_set() or len(self._threads) >= MAX_CAPTURES:
                raise ConfigError(f"{MAX_CAPTURES} captures are running; end one first")
            selection = _selection(self._ports, parameters)
            selection.places()
        except PollmodeError as error:
            return {"error": str(error)}
        sink = SocketSink(socket.socket(fileno=descriptors.pop(0)), self._ending)
        thread = threading.Thread(target=self._serve, args=(selection, sink), name="capture", daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"ports": [port.name for port in selection.ports]}

    def close(self) -> None:
        """End all captures; returns when their callbacks are out of the ports."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _serve(self, selection: Selection, sink: SocketSink) -> None:
        try:
            tap = Tap(selection, sink, self._ending, sink.hung_up)
            tap.attach()
        except (PollmodeError, OSError) as error:
            log.warning(f"a capture does not begin: {error}")
            sink.close()
            return
        tap.run()


def _is_stream(descriptor: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    with socket.socket(fileno=os.dup(descriptor)) as copied:
        return copied.family == socket.AF_UNIX and copied.type == socket.SOCK_STREAM


def _selection(ports: Ports, parameters: str | None) -> Selection:
    """Return what a request asks for. Raises ConfigError for everything that is not one."""
    try:
        asked = json.loads(parameters or "")
    except (ValueError, RecursionError):
        raise ConfigError(f"the parameters of {COMMAND} are no JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("ports"), list):
        raise ConfigError(f"the parameters of {COMMAND} are an object with a list of ports")
    chosen = tuple(_port(ports, each) for each in asked.pop("ports"))
    for name, kind in (("queues", int), ("directions", str)):
        if name in asked:
            asked[name] = _list_of(name, kind, asked[name])
    for name, kind in (("snaplen", int), ("filter", str)):
        if name in asked and type(asked[name]) is not kind:
            raise ConfigError(f"{name} of a capture is no {kind.__name__}: {asked[name]!r}")
    unknown = asked.keys() - {"queues", "directions", "snaplen", "filter"}
    if unknown:
        raise ConfigError(f"a capture has no {', '.join(sorted(unknown))}")
    return Selection(chosen, **asked)


def _list_of(name: str, kind: type, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list) or any(type(each) is not kind for each in value):
        raise ConfigError(f"{name} of a capture is no list of {kind.__name__}: {value!r}")
    return tuple(value)


def _port(ports: Ports, wanted: object) -> Any:
    if isinstance(wanted, str) and not wanted.isdecimal():
        return ports.by_name(wanted)
    if isinstance(wanted, (int, str)):
        return ports[int(wanted)]
    raise ConfigError(f"a port is a number or a name, not {wanted!r}")
