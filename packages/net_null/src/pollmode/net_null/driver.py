# SPDX-License-Identifier: BSD-3-Clause
"""Probing net_null."""

from __future__ import annotations

from typing import Any

from pollmode.bus_vdev import ProbeContext, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, flag, integer

from .device import NullDevice, NullOptions
from .layout import DEFAULT_SIZE, MAX_SIZE
from .rx import make_rx, make_rx_none
from .tx import make_tx

__all__ = ["DRIVER"]


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> NullDevice:
    """Make a device from its devargs."""
    options = NullOptions(arguments["size"], arguments["copy"], arguments["no-rx"])
    return NullDevice(name, context.environment.memory, options)


DRIVER = VdevDriver(
    name="net_null",
    aliases=("eth_null",),
    parameters=Parameters(
        {
            "size": Parameter(integer(1, MAX_SIZE), DEFAULT_SIZE),
            "copy": Parameter(flag, False),
            "no-rx": Parameter(flag, False),
        }
    ),
    probe=probe,
    callbacks={"rx": make_rx, "rx_none": make_rx_none, "tx": make_tx},
)
