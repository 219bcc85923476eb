# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user protocol, both sides. Names are taken from their modules on first use: facts cost no numba."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pollmode.vhost.backend import Backend
    from pollmode.vhost.backend_requests import BackendRequests
    from pollmode.vhost.dirty import mark_written
    from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout, RefusedMessage, WaitInterrupted
    from pollmode.vhost.frontend import Frontend, MemoryRegion
    from pollmode.vhost.memory import Region, RegionsRecord, translate
    from pollmode.vhost.messages import Protocol, Request
    from pollmode.vhost.server import Connector, Listener, connect
    from pollmode.vhost.session import Session
    from pollmode.vhost.vring import Vring

__all__ = [
    "Backend",
    "BackendRequests",
    "Connector",
    "Frontend",
    "Listener",
    "MalformedMessage",
    "MemoryRegion",
    "PeerGone",
    "PeerTimeout",
    "Protocol",
    "RefusedMessage",
    "Region",
    "RegionsRecord",
    "Request",
    "Session",
    "Vring",
    "WaitInterrupted",
    "connect",
    "mark_written",
    "translate",
]

_HOMES = {
    "backend": ("Backend",),
    "backend_requests": ("BackendRequests",),
    "dirty": ("mark_written",),
    "faults": ("MalformedMessage", "PeerGone", "PeerTimeout", "RefusedMessage", "WaitInterrupted"),
    "frontend": ("Frontend", "MemoryRegion"),
    "memory": ("Region", "RegionsRecord", "translate"),
    "messages": ("Protocol", "Request"),
    "server": ("Connector", "Listener", "connect"),
    "session": ("Session",),
    "vring": ("Vring",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
