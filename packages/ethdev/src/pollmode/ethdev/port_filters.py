# SPDX-License-Identifier: BSD-3-Clause
"""What a port lets through and spreads over its queues: VLAN ids, groups, receive-side scaling.

The words and the refusals are those of DPDK's rte_eth_dev_vlan_filter, rte_eth_dev_set_vlan_offload,
rte_eth_dev_set_mc_addr_list, rte_eth_dev_rss_reta_update and rte_eth_dev_rss_hash_update.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError, UnsupportedError

from .checks import MAC_LENGTH
from .offloads import RxOffload, check_offloads
from .port_settings import PortSettings
from .types import PortConfig

if TYPE_CHECKING:
    from .device import Device

__all__ = ["PortFilters", "RssHash"]

MAX_VLAN = 4095
VLAN_OFFLOADS = RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER | RxOffload.VLAN_EXTEND | RxOffload.QINQ_STRIP


@dataclass(frozen=True)
class RssHash:
    """How received packets are hashed (rte_eth_rss_conf): flow types as bits (RTE_ETH_RSS_*), and the key."""

    types: int
    key: bytes


class PortFilters(PortSettings):
    """What `Port` has of filters. What the device lacks is an UnsupportedError; a refusal changes nothing."""

    config: PortConfig

    def __init__(self, device: Device, where: str) -> None:
        super().__init__(device, where)
        self.multicast: tuple[bytes, ...] = ()

    @property
    @abstractmethod
    def rx_queues(self) -> int:
        """Receive queues configured."""

    # VLANs.

    def set_vlan_filter(self, vlan: int, on: bool) -> None:
        """Let frames with a VLAN id pass, or not; the port was configured with the VLAN_FILTER offload.

        Raises ConfigError for an id above 4095 and for a port without the offload.
        """
        self._require_alive("set a VLAN filter")
        if not self.config.rx_offloads & RxOffload.VLAN_FILTER:
            raise ConfigError(f"{self._where}: VLAN filtering is off; switch it on first", errno=errno.ENOSYS)
        if not 0 <= vlan <= MAX_VLAN:
            raise ConfigError(f"{self._where}: there is no VLAN id {vlan}; they are 0 to {MAX_VLAN}")
        self.device.set_vlan_filter(vlan, on)

    def set_vlan_offload(self, offload: RxOffload, on: bool) -> None:
        """Switch VLAN_STRIP, VLAN_FILTER, VLAN_EXTEND or QINQ_STRIP of a configured port, also while it runs."""
        self._require_alive("set a VLAN offload")
        if not offload or int(offload) & ~int(VLAN_OFFLOADS):
            raise ConfigError(f"{self._where}: {int(offload):#x} is no offload for VLANs")
        now = int(self.config.rx_offloads)
        wanted = now | int(offload) if on else now & ~int(offload)
        if wanted == now:
            return
        check_offloads(self._where, "Rx", wanted, self.device.info().rx_offload_capa)
        self.device.set_vlan_offload(wanted & int(VLAN_OFFLOADS))
        self.config = replace(self.config, rx_offloads=wanted)

    # Groups.

    def set_multicast(self, macs: Iterable[bytes]) -> None:
        """Receive frames for these groups and no others. Raises ConfigError for what is no group's address."""
        self._require_alive("set the multicast addresses")
        wanted = tuple(dict.fromkeys(macs))
        for mac in wanted:
            if len(mac) != MAC_LENGTH or not mac[0] & 1:
                raise ConfigError(f"{self._where}: {mac.hex(':') or 'nothing'} is not a multicast address")
        self.device.set_multicast(wanted)
        self.multicast = wanted

    # Receive-side scaling.

    def rss_hash(self) -> RssHash:
        """Return how packets are hashed. Raises UnsupportedError when the port does not hash."""
        self._require_rss()
        return self.device.rss_hash()

    def set_rss_hash(self, types: int, key: bytes | None = None) -> None:
        """Hash these flow types (RTE_ETH_RSS_*), with this key; None keeps the present one."""
        self._require_rss()
        info = self.device.info()
        if types & ~info.flow_type_rss_offloads:
            raise ConfigError(
                f"{self._where}: RSS hash functions 0x{types:x} are not among the device's "
                f"0x{info.flow_type_rss_offloads:x}; leave the others out"
            )
        if key is not None and len(key) != info.hash_key_size:
            raise ConfigError(f"{self._where}: an RSS key of {len(key)} bytes, the device takes {info.hash_key_size}")
        self.device.set_rss_hash(types, key)

    def reta(self) -> list[int]:
        """Return the redirection table: the queue for each value of the hash's low bits."""
        self._require_rss()
        return self.device.reta()

    def set_reta(self, entries: Mapping[int, int]) -> None:
        """Change entries of the redirection table: queue by index. Raises ConfigError outside the table or queues."""
        self._require_rss()
        size = self.device.info().reta_size
        for index, queue in entries.items():
            if not 0 <= index < size:
                raise ConfigError(f"{self._where}: there is no entry {index}; the redirection table has {size}")
            if not 0 <= queue < self.rx_queues:
                raise ConfigError(f"{self._where}: entry {index} names queue {queue}; it has 0 to {self.rx_queues - 1}")
        table = self.device.reta()
        for index, queue in entries.items():
            table[index] = queue
        self.device.set_reta(table)

    def _require_rss(self) -> None:
        self._require_alive("change RSS")
        if not self.config.rss_hf:
            raise UnsupportedError(
                f"{self._where}: multi-queue RSS is not enabled; configure it with RSS hash functions"
            )
