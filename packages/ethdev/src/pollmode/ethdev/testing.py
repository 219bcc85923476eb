# SPDX-License-Identifier: BSD-3-Clause
"""A device for tests: it does what it is told, remembers what was asked of it, and fails on request.

For tests of applications and of ethdev itself; a driver ships a model of its own other side.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import DeviceFault, PollmodeError
from pollmode.eal.jit import Callback, burst_callback

from .device import Device
from .port_filters import RssHash
from .types import BurstEntry, DeviceInfo, Link, PortConfig, QueueConfig, QueueCount, Stats

if TYPE_CHECKING:
    from pollmode.mbuf import Mempool

__all__ = ["ModelDevice", "constant"]


@functools.cache
def constant(count: int) -> Callback:
    """Return a burst function that touches nothing and returns `count`."""

    def model_constant(lcore: int, queue: int, burst: int, n: int) -> int:
        return count

    return burst_callback(model_constant, f"model_constant_{count}")


class ModelDevice(Device):
    """A device whose answers are attributes and whose calls are kept in `calls`, each as a tuple of name and values.

    `failing` maps a method's name to the error it raises. `entries` maps ("rx" or "tx", queue) to the function a queue
    has; a queue that is not there has `constant(1)`, receiving, and `constant(2)`, sending. `counts` maps them to how
    full their rings are.
    """

    def __init__(self, name: str = "model0", capabilities: DeviceInfo | None = None) -> None:
        super().__init__(name, "model", bytes.fromhex("020000000001"))
        self.capabilities = capabilities or DeviceInfo(max_rx_queues=4, max_tx_queues=4)
        self.calls: list[tuple[object, ...]] = []
        self.failing: dict[str, PollmodeError] = {}
        self.entries: dict[tuple[str, int], BurstEntry | None] = {}
        self.counted = Stats()
        self.own_xstats: dict[str, int] = {}
        self.counts: dict[tuple[str, int], QueueCount] = {}
        self.broken: list[DeviceFault] = []
        self.present_link = Link(up=True, speed=10000)
        self.hashing = RssHash(0, bytes(self.capabilities.hash_key_size))
        self.table = [0] * self.capabilities.reta_size

    def _called(self, method: str, *values: object) -> None:
        self.calls.append((method, *values))
        if method in self.failing:
            raise self.failing[method]

    def info(self) -> DeviceInfo:
        """Return `capabilities`."""
        return self.capabilities

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Remember it."""
        self._called("configure", rx_queues, tx_queues, config)

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Remember it."""
        self._called("setup_rx_queue", queue, descriptors)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Remember it."""
        self._called("setup_tx_queue", queue, descriptors)

    def release_rx_queue(self, queue: int) -> None:
        """Remember it."""
        self._called("release_rx_queue", queue)

    def release_tx_queue(self, queue: int) -> None:
        """Remember it."""
        self._called("release_tx_queue", queue)

    def start(self) -> None:
        """Remember it."""
        self._called("start")

    def stop(self) -> None:
        """Remember it."""
        self._called("stop")

    def close(self) -> None:
        """Remember it."""
        self._called("close")

    def reset(self) -> None:
        """Heal everything in `broken`."""
        self._called("reset")
        self.broken = []

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return what `entries` has."""
        return self.entries.get(("rx", queue), BurstEntry(constant(1), 0))

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return what `entries` has."""
        return self.entries.get(("tx", queue), BurstEntry(constant(2), 0))

    def link(self) -> Link:
        """Return `present_link`."""
        return self.present_link

    def stats(self) -> Stats:
        """Return `counted`."""
        return self.counted

    def reset_stats(self) -> None:
        """Remember it, and count from zero."""
        self._called("reset_stats")
        self.counted = Stats()

    def xstats(self) -> dict[str, int]:
        """Return `own_xstats`."""
        return self.own_xstats

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return what `counts` has."""
        return self.counts.get(("rx", queue))

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return what `counts` has."""
        return self.counts.get(("tx", queue))

    def set_promiscuous(self, enabled: bool) -> None:
        """Remember it."""
        self._called("set_promiscuous", enabled)

    def set_allmulticast(self, enabled: bool) -> None:
        """Remember it."""
        self._called("set_allmulticast", enabled)

    def set_mtu(self, mtu: int) -> None:
        """Remember it."""
        self._called("set_mtu", mtu)

    def set_mac(self, mac: bytes) -> None:
        """Remember it."""
        self._called("set_mac", mac)

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Remember it."""
        self._called("set_mac_list", tuple(macs))

    def set_vlan_filter(self, vlan: int, on: bool) -> None:
        """Remember it."""
        self._called("set_vlan_filter", vlan, on)

    def set_vlan_offload(self, offloads: int) -> None:
        """Remember it."""
        self._called("set_vlan_offload", offloads)

    def set_multicast(self, macs: Sequence[bytes]) -> None:
        """Remember it."""
        self._called("set_multicast", tuple(macs))

    def rss_hash(self) -> RssHash:
        """Return `hashing`."""
        return self.hashing

    def set_rss_hash(self, types: int, key: bytes | None) -> None:
        """Change `hashing`."""
        self._called("set_rss_hash", types, key)
        self.hashing = RssHash(types, key or self.hashing.key)

    def reta(self) -> list[int]:
        """Return `table`."""
        return list(self.table)

    def set_reta(self, table: Sequence[int]) -> None:
        """Change `table`."""
        self._called("set_reta", tuple(table))
        self.table = list(table)

    def set_link(self, up: bool) -> None:
        """Change `present_link`."""
        self._called("set_link", up)
        self.present_link = Link(up=up, speed=self.present_link.speed)

    def faults(self) -> list[DeviceFault]:
        """Return `broken`."""
        return list(self.broken)
