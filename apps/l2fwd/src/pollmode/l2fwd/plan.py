# SPDX-License-Identifier: BSD-3-Clause
"""Which port's packets go where, and which lcore polls which port. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError
from pollmode.l2fwd.options import Options

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """`destinations` maps each forwarding port to the port its packets leave by, `lcores` lcore ids to their ports.

    Every port is somebody's destination exactly once. `odd` says that the last port got itself as destination because
    no other was left.
    """

    destinations: dict[int, int]
    lcores: dict[int, list[int]]
    odd: bool

    def lcore_of(self, port: int) -> int:
        """Return the lcore that polls a port."""
        return next(lcore for lcore, ports in self.lcores.items() if port in ports)


def make_plan(options: Options, ports: Sequence[int], lcores: Sequence[int]) -> Plan:
    """Plan forwarding over the ports that exist, with the lcores that are enabled, both in ascending order.

    Raises ConfigError with DPDK's texts: no ports, a mask that names others, nothing enabled, a port map that does not
    fit, too few lcores.
    """
    enabled = _enabled(options.mask, ports)
    odd = False
    if options.portmap is None:
        destinations = _in_order(enabled)
        odd = len(enabled) % 2 == 1
    else:
        destinations = _mapped(options.portmap, enabled, ports)
    return Plan(destinations, _assign(sorted(destinations), lcores, options.queues), odd)


def _enabled(mask: int, ports: Sequence[int]) -> list[int]:
    if not ports:
        raise ConfigError("No Ethernet ports - bye; make some with --vdev, such as --vdev net_null0 --vdev net_null1")
    possible = sum(1 << port for port in ports)
    if mask & ~possible:
        raise ConfigError(f"Invalid portmask; possible (0x{possible:x}), -p is 0x{mask:x}")
    enabled = [port for port in ports if mask >> port & 1]
    if not enabled:
        raise ConfigError(f"All available ports are disabled. Please set portmask. All of them are -p 0x{possible:x}")
    return enabled


def _in_order(enabled: Sequence[int]) -> dict[int, int]:
    """Pair the first port with the second, the third with the fourth; an odd last one forwards to itself."""
    destinations: dict[int, int] = {}
    for first, second in zip(enabled[::2], enabled[1::2], strict=False):
        destinations[first], destinations[second] = second, first
    if len(enabled) % 2:
        destinations[enabled[-1]] = enabled[-1]
    return destinations


def _mapped(pairs: Sequence[tuple[int, int]], enabled: Sequence[int], ports: Sequence[int]) -> dict[int, int]:
    """Follow a port map; enabled ports that it does not name are left out, as DPDK leaves them."""
    destinations: dict[int, int] = {}
    for pair in pairs:
        for port in pair:
            if port not in ports:
                raise ConfigError(f"Invalid port pair config: port {port} is not present on the board")
            if port not in enabled:
                raise ConfigError(f"Invalid port pair config: port {port} is not enabled in port mask")
            if port in destinations:
                raise ConfigError(f"Invalid port pair config: port {port} is used in other port pairs")
        first, second = pair
        destinations[first], destinations[second] = second, first
    return destinations


def _assign(ports: Sequence[int], lcores: Sequence[int], each: int) -> dict[int, list[int]]:
    """Give each lcore in turn up to `each` ports."""
    if len(ports) > each * len(lcores):
        raise ConfigError(
            f"Not enough cores: {len(ports)} ports, {len(lcores)} lcores with -q {each} "
            f"{'port' if each == 1 else 'ports'} each; enable more lcores with -l, or raise -q"
        )
    given: dict[int, list[int]] = {}
    for at, port in enumerate(ports):
        given.setdefault(lcores[at // each], []).append(port)
    return given
