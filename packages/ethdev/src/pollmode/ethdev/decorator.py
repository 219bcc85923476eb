# SPDX-License-Identifier: BSD-3-Clause
"""A device around another: what a port does is changed without its driver's or its application's knowledge.

`Port.put_around` and `Port.take_off` swap it in and out, also while lcores poll; see docs/decisions, "Decorators".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import DeviceFault

from .device import Device
from .types import BurstEntry, DeviceInfo, Link, PortConfig, QueueConfig, QueueCount, Recipe, Stats

if TYPE_CHECKING:
    from pollmode.mbuf import Mempool

    from .port_filters import RssHash

__all__ = ["Decorator"]


class Decorator(Device):
    """Passes everything on to `inner`, the device of a port. A subclass changes what it is for.

    A queue may be in use before the decorator comes: it learns of one by `rx_entry` and `tx_entry`.
    """

    def __init__(self, inner: Device) -> None:
        self.inner = inner
        super().__init__(inner.name, inner.driver_name, inner.mac, inner.devargs)
        self.port = inner.port

    @property
    def mac(self) -> bytes:
        """The present address."""
        return self.inner.mac

    @mac.setter
    def mac(self, mac: bytes) -> None:
        self.inner.mac = mac

    def taken_off(self) -> None:
        """Free what the decorator holds: the port is without it now, and no lcore is inside its functions."""

    def info(self) -> DeviceInfo:
        """Pass it on."""
        return self.inner.info()

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Pass it on."""
        self.inner.configure(rx_queues, tx_queues, config)

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Pass it on."""
        self.inner.setup_rx_queue(queue, descriptors, pool, config)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Pass it on."""
        self.inner.setup_tx_queue(queue, descriptors, config)

    def release_rx_queue(self, queue: int) -> None:
        """Pass it on."""
        self.inner.release_rx_queue(queue)

    def release_tx_queue(self, queue: int) -> None:
        """Pass it on."""
        self.inner.release_tx_queue(queue)

    def start(self) -> None:
        """Pass it on."""
        self.inner.start()

    def stop(self) -> None:
        """Pass it on."""
        self.inner.stop()

    def close(self) -> None:
        """Pass it on."""
        self.inner.close()

    def reset(self) -> None:
        """Pass it on."""
        self.inner.reset()

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Pass it on."""
        return self.inner.rx_entry(queue)

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Pass it on."""
        return self.inner.tx_entry(queue)

    def recipe(self, direction: str, queue: int) -> Recipe | None:
        """Return none: another process would go past the decorator."""
        return None

    def link(self) -> Link:
        """Pass it on."""
        return self.inner.link()

    def stats(self) -> Stats:
        """Pass it on."""
        return self.inner.stats()

    def reset_stats(self) -> None:
        """Pass it on."""
        self.inner.reset_stats()

    def xstats(self) -> dict[str, int]:
        """Pass it on."""
        return self.inner.xstats()

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Pass it on."""
        return self.inner.rx_queue_count(queue)

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Pass it on."""
        return self.inner.tx_queue_count(queue)

    def set_promiscuous(self, enabled: bool) -> None:
        """Pass it on."""
        self.inner.set_promiscuous(enabled)

    def set_allmulticast(self, enabled: bool) -> None:
        """Pass it on."""
        self.inner.set_allmulticast(enabled)

    def set_mtu(self, mtu: int) -> None:
        """Pass it on."""
        self.inner.set_mtu(mtu)

    def set_mac(self, mac: bytes) -> None:
        """Pass it on."""
        self.inner.set_mac(mac)

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Pass it on."""
        self.inner.set_mac_list(macs)

    def set_vlan_filter(self, vlan: int, on: bool) -> None:
        """Pass it on."""
        self.inner.set_vlan_filter(vlan, on)

    def set_vlan_offload(self, offloads: int) -> None:
        """Pass it on."""
        self.inner.set_vlan_offload(offloads)

    def set_multicast(self, macs: Sequence[bytes]) -> None:
        """Pass it on."""
        self.inner.set_multicast(macs)

    def rss_hash(self) -> RssHash:
        """Pass it on."""
        return self.inner.rss_hash()

    def set_rss_hash(self, types: int, key: bytes | None) -> None:
        """Pass it on."""
        self.inner.set_rss_hash(types, key)

    def reta(self) -> list[int]:
        """Pass it on."""
        return self.inner.reta()

    def set_reta(self, table: Sequence[int]) -> None:
        """Pass it on."""
        self.inner.set_reta(table)

    def set_link(self, up: bool) -> None:
        """Pass it on."""
        self.inner.set_link(up)

    def faults(self) -> list[DeviceFault]:
        """Pass it on."""
        return self.inner.faults()
