# SPDX-License-Identifier: BSD-3-Clause
"""What a driver of virtual devices declares, and what its probe function is given.

A driver package names its `VdevDriver` in the entry-point group `pollmode.vdev`, under the driver's name:
`net_null = "pollmode.net_null.driver:DRIVER"`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pollmode.eal.devargs import Parameters
    from pollmode.eal.environment import Environment
    from pollmode.ethdev import Device, Ports

__all__ = ["ProbeContext", "VdevDriver"]


@dataclass(frozen=True)
class ProbeContext:
    """What a probe function may use: memory, lcores and interrupts, and the ports that exist."""

    environment: Environment
    ports: Ports


@dataclass(frozen=True)
class VdevDriver:
    """A driver of virtual devices.

    It takes devices called `name` or one of `aliases` followed by a number ("net_null0"). `parameters` declares its
    devargs. `probe(context, name, arguments)` gets the devargs converted, and returns a device that is not yet a
    port; it leaves nothing behind when it raises.
    """

    name: str
    aliases: tuple[str, ...]
    parameters: Parameters
    probe: Callable[[ProbeContext, str, dict[str, Any]], Device]
