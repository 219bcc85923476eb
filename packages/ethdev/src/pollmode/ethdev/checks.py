# SPDX-License-Identifier: BSD-3-Clause
"""What a caller asks of a port, held against what its device can do. A refusal is one line with the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError
from pollmode.mbuf import HEADROOM

from .layout import MAX_QUEUES
from .offloads import check_offloads
from .types import DescriptorLimits, DeviceInfo, PortConfig, QueueConfig

if TYPE_CHECKING:
    from pollmode.mbuf import Mempool

__all__ = ["check_config", "check_descriptors", "check_mac", "check_mtu", "check_pool", "check_queue_offloads"]

MAC_LENGTH = 6
_UINT16_MAX = 0xFFFF


def check_config(where: str, info: DeviceInfo, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
    """Check the numbers of queues and the configuration of a port."""
    for direction, asked, maximum in (("Rx", rx_queues, info.max_rx_queues), ("Tx", tx_queues, info.max_tx_queues)):
        most = min(maximum, MAX_QUEUES)
        if not 0 <= asked <= most:
            raise ConfigError(f"{where}: {asked} {direction} queues asked for, the device has 0 to {most}")
    if rx_queues + tx_queues == 0:
        raise ConfigError(f"{where}: configured with neither Rx nor Tx queues; ask for at least one")
    check_offloads(where, "Rx", config.rx_offloads, info.rx_offload_capa)
    check_offloads(where, "Tx", config.tx_offloads, info.tx_offload_capa)
    if config.mtu:
        check_mtu(where, info, config.mtu)
    if config.max_lro_pkt_size > info.max_lro_pkt_size:
        raise ConfigError(f"{where}: max_lro_pkt_size {config.max_lro_pkt_size} is above {info.max_lro_pkt_size}")
    if config.rss_hf & ~info.flow_type_rss_offloads:
        raise ConfigError(
            f"{where}: RSS hash functions 0x{config.rss_hf:x} are not among the device's "
            f"0x{info.flow_type_rss_offloads:x}; leave the others out"
        )
    if config.rss_key is not None and len(config.rss_key) != info.hash_key_size:
        raise ConfigError(f"{where}: an RSS key of {len(config.rss_key)} bytes, the device takes {info.hash_key_size}")
    for name, asked_for, capable in (("lsc", config.lsc, info.lsc), ("rmv", config.rmv, info.rmv)):
        if asked_for and not capable:
            raise ConfigError(f"{where}: the device has no {name} interrupt; configure without {name}")


def check_mtu(where: str, info: DeviceInfo, mtu: int) -> None:
    """Check an MTU against the device's bounds."""
    if not info.min_mtu <= mtu <= info.max_mtu:
        raise ConfigError(f"{where}: MTU {mtu} is not within {info.min_mtu} to {info.max_mtu}")


def check_descriptors(where: str, limits: DescriptorLimits, count: int, default: int) -> int:
    """Return the number of descriptors, the default for 0."""
    count = count or default
    maximum = limits.maximum or _UINT16_MAX
    if not max(limits.minimum, 1) <= count <= maximum or count % (limits.align or 1):
        raise ConfigError(
            f"{where}: {count} descriptors; the device takes {max(limits.minimum, 1)} to {maximum}"
            + (f" in steps of {limits.align}" if limits.align > 1 else "")
        )
    return count


def check_pool(where: str, info: DeviceInfo, pool: Mempool) -> None:
    """Check that the mbufs of a pool have room for what the device writes at once."""
    if pool.data_room == 0:
        raise ConfigError(f"{where}: pool {pool.name} has no data room; make it with mbuf.create_pool")
    if pool.data_room < HEADROOM + info.min_rx_bufsize:
        raise ConfigError(
            f"{where}: pool {pool.name} has a data room of {pool.data_room} bytes, the device needs "
            f"{HEADROOM + info.min_rx_bufsize} (headroom {HEADROOM} + {info.min_rx_bufsize})"
        )


def check_queue_offloads(where: str, direction: str, port: int, queue_capable: int, config: QueueConfig) -> None:
    """Check that what a queue asks beyond its port's offloads may differ from queue to queue."""
    check_offloads(f"{where} (beyond its port's)", direction, int(config.offloads) & ~int(port), queue_capable)


def check_mac(where: str, mac: bytes) -> None:
    """Check that an address can be a station's."""
    if len(mac) != MAC_LENGTH:
        raise ConfigError(f"{where}: a MAC address has {MAC_LENGTH} bytes, not {len(mac)}")
    if mac[0] & 1 or not any(mac):
        raise ConfigError(f"{where}: {mac.hex(':')} is not a unicast address")
