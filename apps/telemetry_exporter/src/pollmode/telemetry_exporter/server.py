# SPDX-License-Identifier: BSD-3-Clause
"""The pages: one for each request, asked of the process at that moment."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import Metric

from pollmode.eal.errors import HostError
from pollmode.eal.telemetry_client import TelemetryClient
from pollmode.telemetry_exporter.metrics import collect

__all__ = ["Server", "page"]


class _Snapshot:
    """Metrics as the library wants them; what was collected once."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _registry(path: Path) -> CollectorRegistry:
    with TelemetryClient(path) as client:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(collect(client)))
        return registry


def page(path: Path) -> str:
    """Return one page in Prometheus' text format. Raises HostError when nobody answers at `path`."""
    return generate_latest(_registry(path)).decode()


class _Request(WSGIRequestHandler):
    timeout = 10.0  # seconds for a client to say what it wants

    def log_message(self, format: str, *words: Any) -> None:
        """Say nothing: Prometheus asks every few seconds."""


class Server(ThreadingMixIn, WSGIServer):
    """An HTTP server at `host` and `port` (0: any free one) for the process whose telemetry socket is at `path`.

    Raises HostError when it cannot listen there. A process that does not answer is an answer too: 503 and the reason.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, path: Path) -> None:
        self._path = path
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Request)
        except OSError as error:
            told = f"cannot listen at {_shown(host)}:{port}: {error.strerror or error}"
            raise HostError(told, mend="choose another place with --listen", errno=error.errno) from error
        self.set_app(self._answer)

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self.server_address[:2]
        return f"http://{_shown(str(host))}:{port}/metrics"

    def server_bind(self) -> None:
        """Bind without a question to the name service, which the library's own server asks for a name of the host."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            registry = _registry(self._path)
        except HostError as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]
        pages: Iterable[bytes] = make_wsgi_app(registry)(environ, start_response)
        return pages


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
