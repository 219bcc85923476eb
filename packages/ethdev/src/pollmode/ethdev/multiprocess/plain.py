# SPDX-License-Identifier: BSD-3-Clause
"""What ethdev tells about ports as plain values, and back: what the two sides of a multi-process pair say."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pollmode.eal.errors import ConfigError

from ..types import DescriptorLimits, DeviceInfo, Link, PortConfig, QueueConfig, QueueCount, Stats

if TYPE_CHECKING:
    from ..port import Port

__all__ = ["config_from", "count_from", "describe", "info_from", "info_of", "link_from", "stats_from"]

DIRECTIONS = ("rx", "tx")


def describe(port: Port) -> dict[str, Any]:
    """Return what a port is and how it is set up."""
    devargs, config = port.device.devargs, asdict(port.config)
    config["rss_key"] = port.config.rss_key.hex() if port.config.rss_key is not None else None
    return {
        "id": port.id,
        "name": port.name,
        "driver": port.device.driver_name,
        "devargs": devargs.text if devargs is not None else None,
        "state": port.state.value,
        "macs": [mac.hex() for mac in port.macs],
        "multicast": [mac.hex() for mac in port.multicast],
        "mtu": port.mtu,
        "promiscuous": port.promiscuous,
        "allmulticast": port.allmulticast,
        "config": config,
        "rx": [_queue(port, "rx", queue) for queue in range(port.rx_queues)],
        "tx": [_queue(port, "tx", queue) for queue in range(port.tx_queues)],
    }


def _queue(port: Port, direction: str, queue: int) -> dict[str, Any] | None:
    try:
        how = port.queue_info(direction, queue)
    except ConfigError:  # not set up yet
        return None
    pool = how.pool.name if how.pool is not None else None
    return {"descriptors": how.descriptors, "config": asdict(how.config), "pool": pool}


def config_from(told: dict[str, Any]) -> PortConfig:
    """Return the configuration of a port."""
    key = told.pop("rss_key")
    return PortConfig(**told, rss_key=bytes.fromhex(key) if key is not None else None)


def queue_config_from(told: dict[str, Any]) -> QueueConfig:
    """Return the configuration of a queue."""
    return QueueConfig(**told)


def info_of(info: DeviceInfo) -> dict[str, Any]:
    """Return what a device can do as a plain value."""
    return asdict(info) | {"private_info": dict(info.private_info)}


def info_from(told: dict[str, Any]) -> DeviceInfo:
    """Return what a device can do."""
    limits = {name: DescriptorLimits(**told.pop(name)) for name in ("rx_desc_lim", "tx_desc_lim")}
    return DeviceInfo(**told | limits | {"speed_capa": tuple(told["speed_capa"])})


def link_from(told: dict[str, Any]) -> Link:
    """Return the state of a link."""
    return Link(**told)


def stats_from(told: dict[str, Any]) -> Stats:
    """Return basic statistics."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Stats(**fields)


def count_from(told: list[int] | None) -> QueueCount | None:
    """Return how full a ring is."""
    return None if told is None else QueueCount(*told)
