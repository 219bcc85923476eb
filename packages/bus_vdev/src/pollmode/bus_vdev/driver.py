# SPDX-License-Identifier: BSD-3-Clause
"""What a driver of virtual devices declares, and what its probe function is given.

A driver package names its `VdevDriver` in the entry-point group `pollmode.vdev`, under the driver's name:
`net_null = "pollmode.net_null.driver:DRIVER"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pollmode.eal.probing import AttachedPort, PortTable, ProbeContext, ProbedDevice

if TYPE_CHECKING:
    from pollmode.eal.devargs import Parameters

__all__ = ["AttachedPort", "Decoration", "PortTable", "ProbeContext", "ProbedDevice", "VdevDriver"]


@dataclass(frozen=True)
class Decoration:
    """What a driver puts around a port that is there, instead of a port of its own; `remove` takes it off again."""

    port: AttachedPort
    remove: Callable[[], None]


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
