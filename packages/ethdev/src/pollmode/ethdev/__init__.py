# SPDX-License-Identifier: BSD-3-Clause
"""Ports, queues and the dispatch to the drivers' burst callbacks.

Applications use `Ports` and `Port`, their compiled loops `rx_burst` and `tx_burst`; drivers subclass `Device`.
"""

from .decorator import Decorator
from .device import Device
from .dispatch import rx_burst, tx_burst
from .entries import Added
from .events import EventCallback, Listener
from .layout import MAX_PORTS, MAX_QUEUES
from .offloads import RxOffload, TxOffload
from .port import Port, State
from .port_filters import RssHash
from .ports import Ports, open_ports
from .rss import RssType
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
    QueueCount,
    QueueInfo,
    Recipe,
    Stats,
)

__all__ = [
    "MAX_PORTS",
    "MAX_QUEUES",
    "SPEED_NONE",
    "SPEED_UNKNOWN",
    "Added",
    "BurstCallback",
    "BurstEntry",
    "Decorator",
    "DescriptorLimits",
    "Device",
    "DeviceCapability",
    "DeviceInfo",
    "Event",
    "EventCallback",
    "Link",
    "Listener",
    "Port",
    "PortConfig",
    "Ports",
    "QueueConfig",
    "QueueCount",
    "QueueInfo",
    "Recipe",
    "RssHash",
    "RssType",
    "RxOffload",
    "State",
    "Stats",
    "TxOffload",
    "open_ports",
    "rx_burst",
    "tx_burst",
]
