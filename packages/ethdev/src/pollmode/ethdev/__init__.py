# SPDX-License-Identifier: BSD-3-Clause
"""Ports, queues and the dispatch to the drivers' burst callbacks."""

from .device import Device
from .offloads import RxOffload, TxOffload
from .types import (
    SPEED_NONE,
    SPEED_UNKNOWN,
    BurstCallback,
    BurstEntry,
    DescriptorLimits,
    DeviceCapability,
    DeviceInfo,
    Event,
    Link,
    PortConfig,
    QueueConfig,
    Stats,
)

__all__ = [
    "SPEED_NONE",
    "SPEED_UNKNOWN",
    "BurstCallback",
    "BurstEntry",
    "DescriptorLimits",
    "Device",
    "DeviceCapability",
    "DeviceInfo",
    "Event",
    "Link",
    "PortConfig",
    "QueueConfig",
    "RxOffload",
    "Stats",
    "TxOffload",
]
