# SPDX-License-Identifier: BSD-3-Clause
"""Probing net_ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pollmode.bus_vdev import ProbeContext, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters

from . import rings
from .device import RingDevice
from .rx import make_rx
from .tx import make_tx

__all__ = ["DRIVER", "NodeAction"]

_ACTIONS = ("ATTACH", "CREATE")


@dataclass(frozen=True)
class NodeAction:
    """The devarg `nodeaction=name:node:action`: which rings, on which memory node, and whether to make them."""

    name: str
    node: int
    action: str

    @classmethod
    def parse(cls, text: str) -> NodeAction:
        """Read `name:node:ATTACH` or `name:node:CREATE`. Raises ValueError with what is allowed."""
        words = text.split(":")
        if len(words) != 3 or not words[0]:
            raise ValueError("it must be name:node:ATTACH or name:node:CREATE")
        name, node, action = words
        if not node.isdecimal():
            raise ValueError(f"the memory node {node!r} must be a number, 0 or greater")
        if action not in _ACTIONS:
            raise ValueError(f"the action {action!r} must be {' or '.join(_ACTIONS)}")
        return cls(name, int(node), action)


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> RingDevice:
    """Make a device on rings of its own, on named ones, or on those another device has created."""
    environment = context.environment
    node: NodeAction | None = arguments["nodeaction"]
    if node is None:
        found = rings.create(environment.memory, name, shared=False)
    elif node.action == "CREATE":
        found = rings.create(environment.memory, node.name, shared=True)
    else:
        found = rings.attach(environment.memory, node.name)
    return RingDevice(name, environment.memory, found, environment.lcores.control.address)


DRIVER = VdevDriver(
    name="net_ring",
    aliases=("eth_ring",),
    parameters=Parameters({"nodeaction": Parameter(NodeAction.parse)}),
    probe=probe,
    callbacks={"rx": make_rx, "tx": make_tx},
)
