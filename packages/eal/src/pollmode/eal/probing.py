# SPDX-License-Identifier: BSD-3-Clause
"""What every bus gives a driver's probe function, and what it makes of the answer; several buses as one.

Buses are below ethdev and know its devices and ports only by the protocols here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pollmode.eal import devargs
from pollmode.eal.errors import ConfigError

if TYPE_CHECKING:
    from pollmode.eal.devargs import Devargs
    from pollmode.eal.environment import Environment

__all__ = ["AttachedPort", "Bus", "Buses", "PortTable", "ProbeContext", "ProbedDevice"]


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
class ProbeContext:
    """What a probe function may use: memory, lcores and interrupts, and the ports that exist."""

    environment: Environment
    ports: PortTable


class Bus(Protocol):
    """One kind of devices."""

    def probe_all(self) -> list[Any]:
        """Make the devices of the command line ports, and return the ports."""

    def attach(self, device: Devargs) -> Any:
        """Make a device a port, and return the port."""

    def detach(self, port: Any) -> None:
        """Close a port and give its device back."""

    def owns(self, port: Any) -> bool:
        """Tell whether a port's device is on this bus."""


class Buses:
    """The buses of a process by name, in the order in which they are probed.

    Virtual devices come last: they may refer to the ports of the others.
    """

    def __init__(self, buses: Mapping[str, Bus]) -> None:
        self._buses = dict(buses)

    def probe_all(self) -> list[Any]:
        """Make the devices of the command line ports, bus by bus, and return the ports."""
        return [port for bus in self._buses.values() for port in bus.probe_all()]

    def attach(self, text: str) -> Any:
        """Make a device a port, given as on the command line, and return the port. Raises what its bus raises."""
        device = devargs.parse(text)
        if device.bus not in self._buses:
            raise ConfigError(f"{device.name} is on bus {device.bus}, there are {', '.join(self._buses)}")
        return self._buses[device.bus].attach(device)

    def detach(self, port: AttachedPort) -> None:
        """Close a port and give its device back. Raises ConfigError for a port of no bus, and what its bus raises."""
        for bus in self._buses.values():
            if bus.owns(port):
                bus.detach(port)
                return
        raise ConfigError(f"port {port.id} ({port.name}) is not a device of any bus, or was detached")
