# SPDX-License-Identifier: BSD-3-Clause
"""What may be asked of and changed in a vmxnet3 device at any time: link, statistics, filters, RSS."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pollmode.eal.errors import ConfigError, PollmodeError
from pollmode.ethdev import SPEED_NONE, Device, Link, PortConfig, QueueCount, RssHash, RxOffload, Stats
from pollmode.mbuf.layout import HEADROOM

from .abilities import FRAME_OVERHEAD, SPEED, Variant
from .filters import Filters
from .layout import CMD_GET_STATS, CMD_UPDATE_FEATURE, MAX_MULTICAST
from .queue import Queue, RxQueue, TxQueue
from .rss import Rss
from .statistics import DeviceCounts
from .xstats import rx_xstats, stats, tx_xstats

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

    from .hardware import Hardware
    from .shared import Shared

__all__ = ["Settings"]

Q = TypeVar("Q", bound=Queue)


class Settings(Device):
    """The state of a device and what does not begin or end it. What is set holds when it starts again."""

    def __init__(self, name: str, hardware: Hardware, memory: Memory) -> None:
        super().__init__(name, "net_vmxnet3", hardware.mac())
        self._hw = hardware
        self._memory = memory
        self._config = PortConfig()
        self._variant = Variant.of(self._config, 1)
        self._filters = Filters()
        self._rss = Rss(hardware)
        self._counts = DeviceCounts()
        self._shared: Shared | None = None
        self._rx: dict[int, RxQueue] = {}
        self._tx: dict[int, TxQueue] = {}
        self._lock = threading.RLock()
        self._running = False

    def _require_shared(self) -> Shared:
        if self._shared is None:
            raise ConfigError(f"{self.name} was not configured")
        return self._shared

    def _queues(self) -> list[Queue]:
        return [*self._rx.values(), *self._tx.values()]

    def queues(self, direction: str) -> list[Queue]:
        """Return the queues ("rx" or "tx") in the order of their numbers, for tests and tools."""
        return list(by_number(self._rx) if direction == "rx" else by_number(self._tx))

    def _needs_body(self, pool: Mempool, mtu: int) -> bool:
        """Tell whether ring 1 is needed. Raises ConfigError when it is and nobody asked for scattered packets."""
        scatter = bool(self._config.rx_offloads & RxOffload.SCATTER)
        frame, room = mtu + FRAME_OVERHEAD, pool.data_room - HEADROOM
        if frame > room and not scatter and not self._variant.lro:
            raise ConfigError(
                f"{self.name}: frames of an MTU of {mtu} have up to {frame} bytes, an mbuf of pool {pool.name} holds "
                f"{room}; use the SCATTER offload, larger mbufs or a smaller MTU"
            )
        return scatter or self._variant.lro

    # Link and counters.

    def link(self) -> Link:
        """Return the link: what the device says while the port is started; 10 Gbps when it tells no speed."""
        if not self._running:
            return Link(False, SPEED_NONE)
        up, speed = self._hw.link()
        return Link(True, speed or SPEED) if up else Link(False, SPEED_NONE)

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many completions of a receive queue no lcore has looked at."""
        return self._rx[queue].count() if self._there else None

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many descriptors of a transmit queue the device has not completed."""
        return self._tx[queue].count() if self._there else None

    @property
    def _there(self) -> bool:
        return self._running and not self._hw.pci.gone

    def _read_counts(self) -> None:
        if self._there:
            self._hw.command(CMD_GET_STATS)
            self._counts.read(self._require_shared())

    def stats(self) -> Stats:
        """Return the basic statistics, by queue too; they go on over stop and start."""
        with self._lock:
            self._read_counts()
            return stats(by_number(self._rx), by_number(self._tx), self._counts)

    def reset_stats(self) -> None:
        """Set all statistics to zero."""
        with self._lock:
            self._read_counts()
            self._counts.reset()
            for queue in self._queues():
                queue.clear_counters()

    def xstats(self) -> dict[str, int]:
        """Return DPDK's extended statistics of a vmxnet3 port, ours, and the device's own by queue."""
        with self._lock:
            self._read_counts()
            found: dict[str, int] = {}
            for rx in by_number(self._rx):
                found |= rx_xstats(rx, self._counts)
            for tx in by_number(self._tx):
                found |= tx_xstats(tx, self._counts)
            return found

    # Filters and settings.

    def _apply_filters(self, groups: Sequence[bytes] | None = None) -> None:
        if self._running:
            self._filters.apply(self._require_shared(), self._hw.command, groups)
        elif groups is not None and self._shared is not None:
            self._shared.set_groups(groups)

    def set_promiscuous(self, enabled: bool) -> None:
        """Receive frames for any address and of any VLAN, or not."""
        with self._lock:
            self._filters.promiscuous = enabled
            self._apply_filters()

    def set_allmulticast(self, enabled: bool) -> None:
        """Receive every multicast frame, or not."""
        with self._lock:
            self._filters.allmulticast = enabled
            self._apply_filters()

    def set_multicast(self, macs: Sequence[bytes]) -> None:
        """Have the device's table let these groups in, which DPDK's driver never fills."""
        if len(macs) > MAX_MULTICAST:
            raise ConfigError(f"{self.name}: {len(macs)} multicast addresses, the device's table has {MAX_MULTICAST}")
        with self._lock:
            before, self._filters.groups = self._filters.groups, tuple(macs)
            try:
                self._apply_filters(self._filters.groups)
            except PollmodeError:
                self._filters.groups = before
                raise

    def set_vlan_filter(self, vlan: int, on: bool) -> None:
        """Let a VLAN id pass, or not. Frames without a tag always pass."""
        with self._lock:
            self._filters.let_vlan(vlan, on)
            self._apply_filters()

    def set_vlan_offload(self, offloads: int) -> None:
        """Strip and filter tags, or not, from now on."""
        with self._lock:
            kept = int(self._config.rx_offloads) & ~int(RxOffload.VLAN)
            self._config = replace(self._config, rx_offloads=kept | offloads)
            self._variant = Variant.of(self._config, len(self._rx) or 1)
            self._filters.vlan_filter = bool(offloads & RxOffload.VLAN_FILTER)
        strip = bool(offloads & RxOffload.VLAN_STRIP)
        if strip:  # the callback that knows of stripped tags takes others too: it is there before the device strips
            self.port.refresh()
        with self._lock:
            if self._running:
                self._require_shared().set_feature_bits(self._variant.features)
                self._hw.command(CMD_UPDATE_FEATURE)
            self._apply_filters()
        if not strip:
            self.port.refresh()

    def set_mtu(self, mtu: int) -> None:
        """Take an MTU, of which the device learns when the port starts. Raises ConfigError on a started port."""
        if self._running:
            raise ConfigError(f"{self.name}: the device takes another MTU only when it starts; stop the port first")
        for rx in self._rx.values():
            self._needs_body(rx.pool, mtu)
        self._config = replace(self._config, mtu=mtu)

    def set_mac(self, mac: bytes) -> None:
        """Set the device's address."""
        self._hw.set_mac(mac)

    def rss_hash(self) -> RssHash:
        """Return flow types and key."""
        return self._rss.hash

    def set_rss_hash(self, types: int, key: bytes | None) -> None:
        """Hash these flow types with this key from now on."""
        with self._lock:
            kept = key or self._rss.hash.key
            self._rss.change(self._require_shared(), self._running, types, kept, self._rss.table)

    def reta(self) -> list[int]:
        """Return the redirection table."""
        return list(self._rss.table)

    def set_reta(self, table: Sequence[int]) -> None:
        """Spread packets by this table from now on."""
        with self._lock:
            now = self._rss.hash
            self._rss.change(self._require_shared(), self._running, now.types, now.key, list(table))


def by_number(queues: dict[int, Q]) -> list[Q]:
    """Return queues in the order of their numbers."""
    return [queues[number] for number in sorted(queues)]
