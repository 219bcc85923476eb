# SPDX-License-Identifier: BSD-3-Clause
"""What a driver of virtual devices declares, and what its probe function is given.

A driver package names its `VdevDriver` in the entry-point group `pollmode.vdev`, under the driver's name:
`net_null = "pollmode.net_null.driver:DRIVER"`.

This layer is below ethdev and knows its devices and ports only by the protocols here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pollmode.eal.devargs import Devargs, Parameters
    from pollmode.eal.environment import Environment

__all__ = ["AttachedPort", "Decoration", "PortTable", "ProbeContext", "ProbedDevice", "VdevDriver"]


class ProbedDevice(Protocol):
    """What a probe function makes: an `ethdev.Device`."""

    name: str
    devargs: Devargs | None

    def close(self) -> None:
        """Give back everything."""


class AttachedPort(Protocol):
    """What a device becomes: an `ethdev.Port`."""

    id: int
    name: str


class PortTable(Protocol):
    """Where devices become ports: `ethdev.Ports`."""

    def by_name(self, name: str) -> Any:
        """Return the port of a device. Raises ConfigError when no port has that name."""

    def __contains__(self, port: object) -> bool:
        """Tell whether a port is in the table."""

    def add(self, device: Any) -> Any:
        """Make a device a port."""

    def remove(self, port: Any) -> None:
        """Close a port and take it away."""


@dataclass(frozen=True)
class Decoration:
    """What a driver puts around a port that is there, instead of a port of its own; `remove` takes it off again."""

    port: AttachedPort
    remove: Callable[[], None]


@dataclass(frozen=True)
class ProbeContext:
    """What a probe function may use: memory, lcores and interrupts, and the ports that exist."""

    environment: Environment
    ports: PortTable


@dataclass(frozen=True)
class VdevDriver:
    """A driver of virtual devices.

    It takes devices called `name` or one of `aliases`, followed by a number ("net_null0"). `parameters` declares its
    devargs. `probe(context, name, arguments)` gets the devargs converted and returns a device that is not yet a port,
    or a Decoration of one; it leaves nothing behind when it raises. `callbacks` are the factories that a device's
    `recipe` names, by which a secondary process makes the functions of queues.
    """

    name: str
    aliases: tuple[str, ...]
    parameters: Parameters
    probe: Callable[[ProbeContext, str, dict[str, Any]], ProbedDevice | Decoration]
    callbacks: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
