# SPDX-License-Identifier: BSD-3-Clause
"""The virtual device bus: devices named by --vdev."""

from .bus import VdevBus
from .driver import AttachedPort, Decoration, PortTable, ProbeContext, ProbedDevice, VdevDriver
from .registry import GROUP, Registry

__all__ = [
    "GROUP",
    "AttachedPort",
    "Decoration",
    "PortTable",
    "ProbeContext",
    "ProbedDevice",
    "Registry",
    "VdevBus",
    "VdevDriver",
]
