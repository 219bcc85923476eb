# SPDX-License-Identifier: BSD-3-Clause
"""The base class of every driver's device: what ethdev calls, in which order, and what it promises in return.

ethdev (`port.Port`) checks everything a caller asks before a method here is called: the order of calls, queue
numbers, descriptor limits, offloads, MTU, MAC. A driver checks only what its `info()` cannot express.

ethdev also keeps lcores and control plane apart. While a port is not started, or a queue is stopped, the queue's slot
in the dispatch table is a callback that does nothing; and `stop`, `reset`, `close` and the release of a queue are
called only when no lcore is inside one of the device's callbacks any more. The same holds for what a driver takes away
itself: once `self.port.refresh()` has returned, no lcore is inside a callback that `rx_entry` and `tx_entry` no longer
give (None for "the peer is away"). So a driver needs no lock against its own callbacks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import DeviceFault, UnsupportedError

from .types import BurstEntry, DeviceInfo, Link, PortConfig, QueueConfig, QueueCount, Recipe, Stats

if TYPE_CHECKING:
    from pollmode.eal.devargs import Devargs
    from pollmode.mbuf import Mempool

    from .port import Port
    from .port_filters import RssHash

__all__ = ["Device"]


class Device(ABC):
    """One device as its driver sees it.

    `name` is the device's name ("net_null0"), `driver_name` the driver's, `devargs` the text it was made from or
    None, `mac` its present address (6 bytes). `port` is set by `Ports.add`.
    """

    port: Port
    promiscuous = False
    """Whether the device receives frames for any address from the beginning."""
    allmulticast = False
    """Whether the device receives every multicast frame from the beginning."""

    def __init__(self, name: str, driver_name: str, mac: bytes, devargs: Devargs | None = None) -> None:
        self.name = name
        self.driver_name = driver_name
        self.mac = mac
        self.devargs = devargs

    @abstractmethod
    def info(self) -> DeviceInfo:
        """Return what the device can do; may change until `configure`, for instance when a peer arrives."""

    @abstractmethod
    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take the numbers of queues and the port's configuration. Called on a stopped port, as often as wanted.

        `config.mtu` is the MTU from now on, never 0; `set_mtu` is not called for it.
        Every queue has been released before, and is set up again afterwards.
        """

    @abstractmethod
    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Make receive queue `queue` with that many descriptors, filled from `pool`; again for a queue replaces it."""

    @abstractmethod
    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Make transmit queue `queue`; again for a queue replaces it."""

    def release_rx_queue(self, queue: int) -> None:  # noqa: B027 - not every queue owns something
        """Free what a receive queue holds; called for every queue that was set up before `close` or fewer queues."""

    def release_tx_queue(self, queue: int) -> None:  # noqa: B027 - not every queue owns something
        """Free what a transmit queue holds, unsent mbufs too; see `release_rx_queue`."""

    @abstractmethod
    def start(self) -> None:
        """Begin to move packets: every queue has been set up. A queue that was broken starts healed."""

    @abstractmethod
    def stop(self) -> None:
        """End moving packets. Posted and unsent mbufs go back to their pools here or at release."""

    @abstractmethod
    def close(self) -> None:
        """Give back everything; called once, on a stopped port whose queues have been released."""

    @abstractmethod
    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the receive function of a queue, or None while the queue cannot be used (the peer is away).

        Called when the port starts and by `self.port.refresh()`. Must not block, nor take a lock that is held
        where `refresh` is called.
        """

    @abstractmethod
    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the transmit function of a queue; see `rx_entry`."""

    def recipe(self, direction: str, queue: int) -> Recipe | None:
        """Return what the function of a queue ("rx" or "tx") is made of in a secondary process, None where it can't be.

        It can where the function uses nothing but the environment's memory, and leaves nothing there that its death in
        the midst of it would break: no claim on a ring that several use. The driver's `callbacks` has the factory.
        """
        return None

    @abstractmethod
    def link(self) -> Link:
        """Return the state of the link, now and without waiting."""

    @abstractmethod
    def stats(self) -> Stats:
        """Return the basic statistics since the start or the last `reset_stats`."""

    @abstractmethod
    def reset_stats(self) -> None:
        """Set all statistics, basic and extended, to zero."""

    def xstats(self) -> dict[str, int]:
        """Return the driver's own extended statistics in DPDK's grammar (`rx_q0_size_64_packets`).

        ethdev puts the generic ones (`rx_good_packets` ... `tx_q0_bytes`) before them.
        """
        return {}

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many packets wait in a receive queue's ring, None while that cannot be told.

        Must not wait: it is asked while lcores poll the queue, and counts one moment.
        """
        return None

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many packets of a transmit queue's ring the other side has not taken; see `rx_queue_count`."""
        return None

    def set_promiscuous(self, enabled: bool) -> None:
        """Receive frames for any address, or not. Raises UnsupportedError when the device cannot."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot switch promiscuous mode")

    def set_allmulticast(self, enabled: bool) -> None:
        """Receive every multicast frame, or not. Raises UnsupportedError when the device cannot."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot switch all-multicast mode")

    def set_mtu(self, mtu: int) -> None:
        """Set the MTU; `mtu` lies within `info()`'s bounds."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot set the MTU")

    def set_mac(self, mac: bytes) -> None:
        """Make `mac` (6 bytes, unicast, not zero) the device's address; ethdev updates `self.mac` afterwards."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot set the MAC address")

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Receive frames for `macs` too, beside `self.mac`; at most `info().max_mac_addrs` - 1 of them."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} takes no further MAC addresses")

    def set_vlan_filter(self, vlan: int, on: bool) -> None:
        """Let frames with a VLAN id (0 to 4095) pass, or not. What was set stays set when the device starts again."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot filter VLANs")

    def set_vlan_offload(self, offloads: int) -> None:
        """Make `offloads` (the VLAN bits of RxOffload) what is done with tags, also while the device runs."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot change VLAN offloads")

    def set_multicast(self, macs: Sequence[bytes]) -> None:
        """Receive frames for these groups and no others, beside what promiscuous and all-multicast mode let in."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} has no multicast filter")

    def rss_hash(self) -> RssHash:
        """Return how packets are hashed."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} does not tell its RSS hash")

    def set_rss_hash(self, types: int, key: bytes | None) -> None:
        """Hash these flow types, all among `info().flow_type_rss_offloads`; None keeps the key."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot change its RSS hash")

    def reta(self) -> list[int]:
        """Return the redirection table, `info().reta_size` queues."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} does not tell its RSS redirection table")

    def set_reta(self, table: Sequence[int]) -> None:
        """Set the whole redirection table."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot change its RSS redirection table")

    def set_link(self, up: bool) -> None:
        """Take the link up or down administratively."""
        raise UnsupportedError(f"{self.name}: driver {self.driver_name} cannot set the link")

    def faults(self) -> list[DeviceFault]:
        """Return one fault for each queue that is broken now; polled, so quick. ethdev reports each queue once."""
        return []

    def reset(self) -> None:
        """Heal every broken queue of a started device, losing no mbuf; it is started again on return.

        Called with all slots silent, so no callback runs.
        """
        self.stop()
        self.start()
