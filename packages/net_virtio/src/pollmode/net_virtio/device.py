# SPDX-License-Identifier: BSD-3-Clause
"""The control plane of a virtio-user port: negotiate, configure, start, stop, link, statistics, faults, reset.

The rings live only while the port is started and a back end is there. They are begun afresh each time either comes, and
whatever the device held goes back to its pool each time either goes: no mbuf is lost with a peer, and a new peer needs
to know nothing of the old one. ethdev sees to it that no lcore is inside a callback when rings end (`Port.refresh`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, DeviceFault
from pollmode.ethdev import (
    SPEED_NONE,
    SPEED_UNKNOWN,
    BurstEntry,
    DescriptorLimits,
    Device,
    DeviceInfo,
    Event,
    Link,
    PortConfig,
    QueueConfig,
    QueueCount,
    RxOffload,
    Stats,
)
from pollmode.mbuf.layout import HEADROOM
from pollmode.net import mac
from pollmode.vhost.virtqueue import HDR_MRG_SIZE, VIRTIO_NET_F_MRG_RXBUF, feature_names, features

from .features import ALL_FEATURES, Variant, choose, rx_offloads, tx_offloads, variant, wanted
from .layout import MAX_RX_PKTLEN, MAX_SEGMENTS, MIN_FRAME, MIN_RING, MIN_RX_BUFSIZE, VLAN_TAG_SIZE
from .queue import RxVirtQueue, TxVirtQueue, VirtQueue
from .rx import make_rx
from .tx import make_tx
from .user import Transport, check_pairs
from .xstats import rx_xstats, tx_xstats

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.eal.jit import Callback
    from pollmode.mbuf import Mempool

__all__ = ["VirtioUser"]

log = logs.get("pmd.net.virtio.init")

# One callback for all queues and ports of a variant.
_rx_callback = functools.cache(make_rx)
_tx_callback = functools.cache(make_tx)


class VirtioUser(Device):
    """A virtio-user device; made by `driver.probe` with the devargs read.

    Raises ConfigError and HostError when the back end can't be reached, UnsupportedError when it lacks what is needed.
    """

    def __init__(self, environment: Environment, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(name, "net_virtio_user", arguments["mac"] or mac.random_local())
        self._memory = environment.memory
        self._lcore = environment.lcores.control.address
        self._pairs: int = arguments["queues"]
        self._queue_size: int = arguments["queue_size"]
        self._mergeable: bool = arguments["mrg_rxbuf"]
        self._speed: int = arguments["speed"] or SPEED_UNKNOWN
        self._config = PortConfig()
        self._started = self._running = self._told_up = False
        self._rx: dict[int, RxVirtQueue] = {}
        self._tx: dict[int, TxVirtQueue] = {}
        self._serial = 0
        self._negotiated = 0
        self._rx_callback: Callback | None = None
        self._tx_callback: Callback | None = None
        self._transport = Transport(
            name,
            arguments["path"],
            arguments["server"],
            on_peer=self._on_peer,
            on_lost=self._on_lost,
            on_change=self._on_change,
        )
        try:
            self._check_peer()
        except BaseException:
            self._transport.close()
            raise

    # What it can do.

    @property
    def _offered(self) -> int:
        """The features on offer, as far as this device takes them; everything while no back end was seen."""
        peer = self._transport.peer
        offered = ALL_FEATURES if peer is None else peer.features & ALL_FEATURES
        return offered if self._mergeable else offered & ~features(VIRTIO_NET_F_MRG_RXBUF)

    def info(self) -> DeviceInfo:
        """Return the limits of DPDK's driver; offloads are those that the present back end makes possible."""
        limits = DescriptorLimits(maximum=32768, minimum=MIN_RING, segments_max=MAX_SEGMENTS)
        overhead = MIN_FRAME + VLAN_TAG_SIZE + HDR_MRG_SIZE
        return DeviceInfo(
            max_rx_queues=self._pairs,
            max_tx_queues=self._pairs,
            max_mtu=MAX_RX_PKTLEN - overhead,
            min_rx_bufsize=MIN_RX_BUFSIZE,
            max_rx_pktlen=MAX_RX_PKTLEN,
            max_lro_pkt_size=MAX_RX_PKTLEN,
            max_mac_addrs=64,
            rx_offload_capa=rx_offloads(self._offered),
            tx_offload_capa=tx_offloads(self._offered),
            rx_desc_lim=limits,
            tx_desc_lim=limits,
            default_rx_ring_size=self._queue_size,
            default_tx_ring_size=self._queue_size,
            lsc=True,
            private_info={
                "guest_features": f"{self._negotiated:#x} ({feature_names(self._negotiated)})",
                "vtnet_hdr_size": str(self._variant().header),
                "max_queue_pairs": str(self._pairs),
                "rx_path": self._rx_callback.name if self._rx_callback else "none yet",
                "tx_path": self._tx_callback.name if self._tx_callback else "none yet",
            },
        )

    def _choose(self) -> int:
        return choose(self.name, self._offered, wanted(self._config, self._pairs), self._mergeable)

    def _variant(self) -> Variant:
        return variant(self._negotiated or self._offered, self._config)

    # Configuration.

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take the configuration and compile the callbacks it needs with the present back end."""
        with self._transport.lock:
            self._config = config
            self._negotiated = self._choose()
            self._compile()

    def _compile(self) -> None:
        made = self._variant()
        rx, tx = self._rx_callback, self._tx_callback
        self._rx_callback = _rx_callback(made.mergeable, made.header, made.rx_offload, made.strip)
        self._tx_callback = _tx_callback(made.header, made.tx_offload, made.indirect, made.any_layout)
        if (rx, tx) != (self._rx_callback, self._tx_callback):
            log.info(f"{self.name}: using {self._rx_callback.name} and {self._tx_callback.name}")

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Make a receive queue; `queue_size` is its largest ring. Frames that don't fit one mbuf need mrg_rxbuf=1."""
        room = pool.data_room - HEADROOM
        frame = self._config.mtu + MIN_FRAME + VLAN_TAG_SIZE
        if not self._mergeable and self._config.mtu > 1500 and frame > room:
            raise ConfigError(
                f"{self.name}: frames of an MTU of {self._config.mtu} have up to {frame} bytes, an mbuf of pool "
                f"{pool.name} holds {room}; use mrg_rxbuf=1, larger mbufs or a smaller MTU"
            )
        size, threshold = self._ring_size(descriptors), config.free_threshold
        if threshold and (threshold % 4 or threshold >= size):
            raise ConfigError(
                f"{self.name}: rx_free_thresh {threshold} must be a multiple of 4 and less than the {size} descriptors"
            )
        made = RxVirtQueue(self._memory, self._zone_name("rx", queue), 2 * queue, size, pool, threshold)
        self._rx[queue] = made

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Make a transmit queue; `queue_size` is its largest ring."""
        size, threshold = self._ring_size(descriptors), config.free_threshold
        if threshold and threshold >= size - 3:
            raise ConfigError(
                f"{self.name}: tx_free_thresh {threshold} must be less than the {size} descriptors less 3"
            )
        self._tx[queue] = TxVirtQueue(self._memory, self._zone_name("tx", queue), 2 * queue + 1, size, threshold)

    def _ring_size(self, descriptors: int) -> int:
        if descriptors > self._queue_size:
            log.notice(
                f"{self.name}: {descriptors} descriptors are more than queue_size={self._queue_size}, which holds"
            )
        return min(descriptors, self._queue_size)

    def _zone_name(self, direction: str, queue: int) -> str:
        self._serial += 1
        return f"{self.name}_{direction}{queue}_{self._serial}"

    def release_rx_queue(self, queue: int) -> None:
        """Free a receive queue."""
        if queue in self._rx:
            self._rx.pop(queue).close()

    def release_tx_queue(self, queue: int) -> None:
        """Free a transmit queue."""
        if queue in self._tx:
            self._tx.pop(queue).close()

    # Life.

    def start(self) -> None:
        """Bring the device up with the present back end; in server mode without one, as soon as it comes.

        In client mode a back end that went away is connected to again. Raises HostError when it is not there.
        """
        with self._transport.lock:
            self._transport.connect()
            if self._transport.alive():
                self._check_peer()
                self._bring_up()
            else:
                log.notice(f"{self.name}: started, waiting for a vhost back end at {self._transport.path!r}")
            self._started, self._told_up = True, self._running

    def stop(self) -> None:
        """Stop the rings and give every buffer back; a back end that does not answer is dropped after 2 s."""
        with self._transport.ending():
            self._started = self._told_up = False
            self._bring_down()

    def reset(self) -> None:
        """Begin the rings afresh. A back end that is lost meanwhile is a change of the link, and told."""
        told_up = self._told_up
        super().reset()
        self._told_up = told_up
        self._on_change()

    def close(self) -> None:
        """Close the connection, or stop listening."""
        self._transport.close()

    def _check_peer(self) -> None:
        peer = self._transport.peer
        if peer is not None:
            check_pairs(self.name, peer, self._pairs)

    def _queues(self) -> list[VirtQueue]:
        return sorted([*self._rx.values(), *self._tx.values()], key=lambda queue: queue.index)

    def _bring_up(self) -> None:
        self._negotiated = self._choose()
        self._compile()
        header = self._variant().header
        for number, rx in self._rx.items():
            posted = rx.begin(self._lcore, header, self.port.id)
            if posted < rx.entries:
                log.warning(
                    f"{self.name}: Rx queue {number} has {posted} of {rx.entries} buffers: pool {rx.pool.name} is empty"
                )
        for tx in self._tx.values():
            tx.begin()
        try:
            self._transport.bring_up(self._negotiated, self._memory, self._queues())
        except BaseException:
            self._transport.drop()
            self._end_rings()
            raise
        self._running = True

    def _bring_down(self) -> None:
        if self._running:
            self._running = False
            self._transport.bring_down(self._queues())
            self._end_rings()

    def _end_rings(self) -> None:
        for queue in (*self._rx.values(), *self._tx.values()):
            queue.end(self._lcore)

    # The back end comes and goes; on the transport's thread, with its lock held.

    def _on_peer(self) -> None:
        self._check_peer()
        if self._started:
            self._bring_up()
            self.port.refresh()
            log.notice(f"{self.name}: a vhost back end is connected, the link is up")

    def _on_lost(self) -> None:
        if self._running:
            self._running = False
            self.port.refresh()
            self._end_rings()

    def _on_change(self) -> None:
        if self._started and self._told_up != self._running:
            self._told_up = self._running
            self.port.notify(Event.INTR_LSC, self.link())

    # Callbacks and what they count.

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the receive function of a queue, None while no back end is there."""
        if not self._running or self._rx_callback is None:
            return None
        return BurstEntry(self._rx_callback, self._rx[queue].address)

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the transmit function of a queue, None while no back end is there."""
        if not self._running or self._tx_callback is None:
            return None
        return BurstEntry(self._tx_callback, self._tx[queue].address)

    def link(self) -> Link:
        """Return the link: up while the port is started and a back end is there."""
        return Link(True, self._speed) if self._running else Link(False, SPEED_NONE)

    def stats(self) -> Stats:
        """Return the basic statistics, by queue too."""
        rx = [self._rx[queue].counters() for queue in sorted(self._rx)]
        tx = [self._tx[queue].counters() for queue in sorted(self._tx)]
        return Stats(
            ipackets=sum(c.packets for c in rx),
            opackets=sum(c.packets for c in tx),
            ibytes=sum(c.bytes for c in rx),
            obytes=sum(c.bytes for c in tx),
            ierrors=sum(c.errors for c in rx),
            oerrors=sum(c.errors for c in tx),
            rx_nombuf=sum(c.nombuf for c in rx),
            q_ipackets=tuple(c.packets for c in rx),
            q_opackets=tuple(c.packets for c in tx),
            q_ibytes=tuple(c.bytes for c in rx),
            q_obytes=tuple(c.bytes for c in tx),
            q_errors=tuple(c.errors for c in rx),
        )

    def reset_stats(self) -> None:
        """Set all statistics to zero."""
        for queue in self._queues():
            queue.clear_counters()

    def xstats(self) -> dict[str, int]:
        """Return DPDK's extended statistics of a virtio port, `rx_q0_good_packets` and so on."""
        found: dict[str, int] = {}
        for number in sorted(self._rx):
            found |= rx_xstats(number, self._rx[number].counters())
        for number in sorted(self._tx):
            found |= tx_xstats(number, self._tx[number].counters())
        return found

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many received packets wait in the ring, None while no back end is there."""
        return self._rx[queue].count() if self._running else None

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many packets the back end has not sent yet, None while no back end is there."""
        return self._tx[queue].count() if self._running else None

    def faults(self) -> list[DeviceFault]:
        """Return what broke queues."""
        return [fault for queue in self._queues() if (fault := queue.fault()) is not None]

    # Settings. A vhost-user back end filters nothing and knows no address: the port receives whatever is sent to it.

    def set_promiscuous(self, enabled: bool) -> None:
        """Accept; the port receives every frame either way."""

    def set_allmulticast(self, enabled: bool) -> None:
        """Accept; the port receives every frame either way."""

    def set_mtu(self, mtu: int) -> None:
        """Accept an MTU. Raises ConfigError when its frames need several mbufs and the device may not use them."""
        frame = mtu + MIN_FRAME + VLAN_TAG_SIZE
        for rx in self._rx.values():
            room = rx.pool.data_room - HEADROOM
            if frame > room and not self._config.rx_offloads & RxOffload.SCATTER and mtu > 1500:
                raise ConfigError(
                    f"{self.name}: frames of an MTU of {mtu} have up to {frame} bytes, an mbuf holds {room}; "
                    "configure the port with the SCATTER offload"
                )

    def set_mac(self, mac: bytes) -> None:
        """Accept; ethdev keeps the address."""

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Accept; the port receives every frame either way."""
