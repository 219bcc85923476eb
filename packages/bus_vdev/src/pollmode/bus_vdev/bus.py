# SPDX-License-Identifier: BSD-3-Clause
"""The bus: from `--vdev` to ports, at start and while running.

Stricter than DPDK on purpose: a device that cannot be probed, or is named twice, is an error, and nothing of what was
asked together with it stays behind. DPDK goes on, and the application says later that there are no ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.eal import devargs, logs
from pollmode.eal.errors import ConfigError

from .driver import AttachedPort, Decoration, PortTable, ProbeContext
from .registry import Registry

if TYPE_CHECKING:
    from pollmode.eal.devargs import Devargs
    from pollmode.eal.environment import Environment

__all__ = ["VdevBus"]

log = logs.get("bus.vdev")


class VdevBus:
    """The virtual devices of a process. `ports` is where they become ports, an `ethdev.Ports`."""

    def __init__(self, environment: Environment, ports: PortTable, registry: Registry | None = None) -> None:
        self._context = ProbeContext(environment, ports)
        self._registry = registry or Registry()
        self._attached: dict[str, Any] = {}
        self._decorations: dict[str, Decoration] = {}

    def probe_all(self) -> list[Any]:
        """Probe the environment's `--vdev` devices in their order and return their ports, each once.

        Raises what the first device that fails raises, after detaching the others again. In a secondary process the
        devices are those that the primary has.
        """
        if self._context.environment.primary is not None:
            return [self._context.ports.by_name(device.name) for device in self._context.environment.vdevs]
        probed: list[Any] = []
        try:
            for device in self._context.environment.vdevs:
                port = self.attach(device)
                if port not in probed:
                    probed.append(port)
        except BaseException:
            for port in reversed(probed):
                self.detach(port)
            raise
        logs.warn_unmatched(self._context.environment.options.log_levels)
        return probed

    def attach(self, device: str | Devargs) -> Any:
        """Probe a device, given as "net_null0,size=64" or parsed, and return its port (rte_dev_probe).

        The port of what is put around one that is there ("net_fault0,port=net_null0") is that one.
        Raises ConfigError for a name no driver takes, a name that is attached, or devargs the driver doesn't take, and
        what the driver raises.
        """
        parsed = devargs.parse(device) if isinstance(device, str) else device
        primary = self._context.environment.primary
        if primary is not None:
            told = f"{parsed.name}: cannot be attached in a secondary process"
            raise ConfigError(f"{told}; do it in the primary process {primary.pid}")
        if parsed.bus != "vdev":
            raise ConfigError(f"{parsed.name} is on bus {parsed.bus}, not a virtual device")
        self._forget_removed()
        if parsed.name in self._attached:
            raise ConfigError(f"{parsed.name} is attached already; name the second one differently")
        driver = self._registry.find(parsed.name)
        made = driver.probe(self._context, parsed.name, driver.parameters.read(parsed))
        if isinstance(made, Decoration):
            self._attached[parsed.name], self._decorations[parsed.name] = made.port, made
            log.info(f"{parsed.name} is around port {made.port.id} ({made.port.name}), driver {driver.name}")
            return made.port
        made.devargs = parsed
        try:
            port = self._context.ports.add(made)
        except BaseException:
            made.close()
            raise
        self._attached[parsed.name] = port
        log.info(f"{parsed.name} is port {port.id}, driver {driver.name}")
        return port

    def detach(self, port: AttachedPort) -> None:
        """Close a port and remove its device (rte_dev_remove). Raises ConfigError while the port is started.

        Raises ConfigError too when the port's device is not on this bus.
        """
        if self._attached.get(port.name) is not port:
            raise ConfigError(f"port {port.id} ({port.name}) is not a device of the vdev bus, or was detached")
        self._context.ports.remove(port)
        del self._attached[port.name]

    def owns(self, port: AttachedPort) -> bool:
        """Tell whether a port's device is on this bus."""
        return self._attached.get(port.name) is port

    def is_around(self, name: str) -> bool:
        """Tell whether a device is one that is around a port, and has none of its own."""
        self._forget_removed()
        return name in self._decorations

    def take_off(self, name: str) -> None:
        """Take what is around a port off it; a started port goes on. Raises ConfigError when there is no such thing."""
        if not self.is_around(name):
            raise ConfigError(f"{name} is not around a port, or was taken off")
        self._decorations[name].remove()
        del self._decorations[name], self._attached[name]

    def _forget_removed(self) -> None:
        """Drop ports that were taken out of the table without `detach`."""
        there = self._context.ports
        self._attached = {name: port for name, port in self._attached.items() if port in there}
        self._decorations = {name: made for name, made in self._decorations.items() if name in self._attached}
