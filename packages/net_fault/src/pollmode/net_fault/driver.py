# SPDX-License-Identifier: BSD-3-Clause
"""Putting net_fault around a port."""

from __future__ import annotations

from typing import Any

from pollmode.bus_vdev import Decoration, ProbeContext, VdevDriver
from pollmode.eal.errors import ConfigError

from .options import PARAMETERS, FaultOptions

__all__ = ["DRIVER"]


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> Decoration:
    """Put faults around the port that the devargs name. Raises ConfigError when it is not there."""
    from .device import FaultDevice  # what it imports compiles; a driver that is not used should not wait for it

    try:
        port = context.ports.by_name(arguments["port"])
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}; the device of a port comes before its faults") from None
    if isinstance(port.device, FaultDevice):
        raise ConfigError(f"{name}: {port.device.fault_name} is around {port.name} already; take it off first")
    device = FaultDevice(name, port.device, context.environment, FaultOptions.read(arguments))
    port.put_around(device)
    return Decoration(port, lambda: port.take_off(device))


DRIVER = VdevDriver(name="net_fault", aliases=(), parameters=PARAMETERS, probe=probe)
