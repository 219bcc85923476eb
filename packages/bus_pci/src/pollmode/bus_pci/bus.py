# SPDX-License-Identifier: BSD-3-Clause
"""The bus: from the devices that are there to ports, at start and while running.

A device that was asked for by name (-a, --pci-host=qemu:...) and cannot be used is an error. One that was merely found
is left alone, with the reason in `PciBus.reasons`: a machine has devices that are somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.bus_pci.address import PciAddress
from pollmode.bus_pci.driver import PciDriver, Registry
from pollmode.bus_pci.host import Found, PciHost
from pollmode.bus_pci.hosts import choose_host
from pollmode.bus_pci.selection import Selection
from pollmode.eal import devargs, logs
from pollmode.eal.devargs import Devargs
from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.eal.probing import AttachedPort, PortTable, ProbeContext

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = ["PciBus"]

log = logs.get("bus.pci")


class PciBus:
    """The PCI devices of a process. `ports` is where they become ports, an `ethdev.Ports`.

    Make it before `ports.close` is registered with the environment: what has the devices ends behind the ports.
    `reasons` says of each device that was found at the last look and is no port, why it is none.
    """

    def __init__(
        self,
        environment: Environment,
        ports: PortTable,
        registry: Registry | None = None,
        host: PciHost | None = None,
    ) -> None:
        self._context = ProbeContext(environment, ports)
        self._registry = registry or Registry()
        self._attached: dict[PciAddress, AttachedPort] = {}
        self._host = host
        self.reasons: dict[PciAddress, str] = {}
        environment.on_close(self._close)

    @property
    def host(self) -> PciHost:
        """What has the devices, started at the first use. Raises PollmodeError when it can't be."""
        if self._host is None:
            self._host = choose_host(self._context.environment)
        return self._host

    def probe_all(self) -> list[Any]:
        """Make the devices that are there and that the command line wants ports, by address; return the ports.

        Raises what the first device that was named raises, after detaching the others again. A secondary process has
        the devices of its primary and probes none.
        """
        environment = self._context.environment
        if environment.options.no_pci or environment.primary is not None:
            return []
        selection = Selection(environment.options)
        there = self.host.scan()
        selection.check(found.address for found in there)
        self.reasons = {found.address: self._why_not(found, selection) for found in there}
        chosen = [found for found in there if not self.reasons[found.address]]
        self._check_named(there, selection)
        self.host.prepare(chosen)
        probed: list[Any] = []
        try:
            for found in chosen:
                probed += self._take(found, selection)
        except BaseException:
            for port in reversed(probed):
                self.detach(port)
            raise
        return probed

    def attach(self, device: str | Devargs) -> Any:
        """Make one device a port, "0000:03:00.0,key=value" or parsed, and return the port (rte_dev_probe).

        Raises ConfigError for a device that is not there or attached, and what its host and driver raise.
        """
        parsed = devargs.parse(device) if isinstance(device, str) else device
        if self._context.environment.options.no_pci:
            raise ConfigError(f"{parsed.name} is a PCI device, and --no-pci leaves those alone")
        if self._context.environment.primary is not None:
            raise ConfigError(f"{parsed.name}: cannot be attached in a secondary process; do it in the primary")
        address = PciAddress.parse(parsed.name)
        if address in self._ports():
            raise ConfigError(f"{address} is attached already")
        found = next((found for found in self.host.scan() if found.address == address), None)
        if found is None:
            raise ConfigError(f"{address}: there is no such device")
        driver = self._driver(found)
        self.host.prepare([found])
        return self._probe(found, driver, parsed)

    def detach(self, port: AttachedPort) -> None:
        """Close a port and give its device back (rte_dev_remove). Raises ConfigError while the port is started.

        Raises ConfigError too when the port's device is not on this bus.
        """
        address = next((address for address, known in self._ports().items() if known is port), None)
        if address is None:
            raise ConfigError(f"port {port.id} ({port.name}) is not a device of the pci bus, or was detached")
        self._context.ports.remove(port)
        del self._attached[address]

    def owns(self, port: AttachedPort) -> bool:
        """Tell whether a port's device is on this bus."""
        return any(known is port for known in self._ports().values())

    def _ports(self) -> dict[PciAddress, AttachedPort]:
        """Return the attached ports, without those that were taken out of the table otherwise."""
        there = self._context.ports
        self._attached = {address: port for address, port in self._attached.items() if port in there}
        return self._attached

    def _why_not(self, found: Found, selection: Selection) -> str:
        """Return why a device is not to be probed, or an empty text."""
        if refusal := selection.refusal(found):
            return refusal
        if self._registry.find(found.id) is None:
            return f"no driver for {found.id}; the drivers are {', '.join(self._registry.names()) or 'none'}"
        return found.why_not

    def _check_named(self, there: list[Found], selection: Selection) -> None:
        """Raise the reason of a device that was asked for by name and cannot be used."""
        for found in there:
            why = self.reasons[found.address]
            if why and not selection.refusal(found) and (self.host.asked_for or found.address in selection.allowed):
                raise UnsupportedError(f"{found.address} ({found.id}, {found.told}): {why}")

    def _take(self, found: Found, selection: Selection) -> list[Any]:
        """Probe a device; one that nobody asked for may fail."""
        try:
            return [self._probe(found, self._driver(found), selection.arguments(found.address))]
        except PollmodeError as error:
            if self.host.asked_for or found.address in selection.allowed:
                raise
            self.reasons[found.address] = f"{error}"
            log.error(f"{found.address} is not taken: {error}")
            return []

    def _driver(self, found: Found) -> PciDriver:
        """Return the driver of a device that can be opened."""
        driver = self._registry.find(found.id)
        if driver is None:
            raise UnsupportedError(f"{found.address}: no driver for {found.id}")
        if found.why_not:
            raise UnsupportedError(f"{found.address} ({found.id}, {found.told}): {found.why_not}")
        return driver

    def _probe(self, found: Found, driver: PciDriver, arguments: Devargs) -> Any:
        values = driver.parameters.read(arguments)
        made = self._open(found, driver, values)
        made.devargs = arguments
        try:
            port = self._context.ports.add(made)
        except BaseException:
            made.close()
            raise
        self._attached[found.address] = port
        self.reasons.pop(found.address, None)
        log.info(f"{found.address} is port {port.id}, driver {driver.name}, {found.told}")
        return port

    def _open(self, found: Found, driver: PciDriver, values: dict[str, object]) -> Any:
        device = self.host.open(found)
        try:
            return driver.probe(self._context, device, str(found.address), values)
        except BaseException:
            device.close()
            raise

    def _close(self) -> None:
        if self._host is not None:
            self._host.close()
