# SPDX-License-Identifier: BSD-3-Clause
"""A client of the telemetry socket of any process, ours or DPDK's."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from pollmode.eal.errors import HostError
from pollmode.eal.runtime import runtime_base
from pollmode.eal.telemetry_server import SOCKET_NAME

__all__ = ["TelemetryClient", "socket_path"]

PATIENCE = 10.0
"""Seconds to wait for an answer."""

_MAX_GREETING = 1024
_LONGEST = 1 << 20  # bytes of an answer, whatever the other side promises


def socket_path(prefix: str = "rte", instance: int = 0) -> Path:
    """Return where the telemetry socket of a file prefix is; further processes of one prefix have an instance."""
    return runtime_base() / prefix / (f"{SOCKET_NAME}:{instance}" if instance else SOCKET_NAME)


class TelemetryClient:
    """A connection to the process that serves the socket at `path`; `info` is its greeting.

    Every method raises HostError when the process does not answer.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE)
        try:
            try:
                self._socket.connect(self._path)
            except OSError as error:
                told = f"no process answers at {self._path}: {error.strerror or error}"
                mend = "start one with telemetry, or name its file prefix"
                raise HostError(told, mend=mend, errno=error.errno) from error
            self.info = self._receive(_MAX_GREETING, "max_output_len")
            self._most = min(int(self.info["max_output_len"]), _LONGEST)
        except BaseException:
            self._socket.close()
            raise

    def ask(self, command: str, parameters: object = None, descriptor: int | None = None) -> Any:
        """Return the value a command is answered with, None when it is unknown or failed.

        The process is handed a copy of `descriptor`.
        """
        request = command if parameters is None else f"{command},{parameters}"
        try:
            socket.send_fds(self._socket, [request.encode()], [] if descriptor is None else [descriptor])
        except OSError as error:
            raise self._gone(error.strerror) from error
        return self._receive(self._most, command)[command]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> TelemetryClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, most: int, wanted: str) -> dict[str, Any]:
        """Return a message, an object that has the key `wanted`."""
        try:
            message = self._socket.recv(most)
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from error
        if not message:
            raise self._gone("it hung up; it serves ten clients at a time")
        try:
            answer = json.loads(message)
        except ValueError as error:
            raise self._gone(f"its answer is no JSON: {error}") from error
        if not isinstance(answer, dict) or wanted not in answer:
            raise self._gone(f"it answers something else than {wanted}")
        return answer

    def _gone(self, reason: str | None) -> HostError:
        return HostError(f"the process at {self._path} does not answer: {reason}")
