# SPDX-License-Identifier: BSD-3-Clause
"""The port: a vhost-user back end whose queues are an Ethernet device's (DPDK's net_vhost).

What a port receives is what the front end transmits. The port and its front end come and go independently: the socket
is served from probe to close, rings that the front end has made ready are kept, and a queue moves packets while both
its ring is ready and the port is started.

Two threads call in: the application's (the methods of `Device`) and the one that serves the session (the methods of
`Backend`). `_lock` is held while either changes a queue, and never while ethdev or the session is called.

Lcores take no lock. Whatever the front end changes, the session stops the rings it concerns first: their queues have
no callback then, ethdev takes the old one out of the dispatch table, and `Port.refresh` returns when no lcore is inside
it. An lcore that does not poll holds up nothing. Refused: a lock word in each queue, which costs a locked instruction a
burst and only repeats what the table does already.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pollmode.eal import logs
from pollmode.eal.environment import Environment
from pollmode.eal.errors import DeviceFault
from pollmode.ethdev import (
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
    TxOffload,
)
from pollmode.mbuf import Mempool
from pollmode.vhost.backend import DEFAULT_PROTOCOL_FEATURES, Backend
from pollmode.vhost.messages import Protocol
from pollmode.vhost.server import Connector, Listener
from pollmode.vhost.session import Session
from pollmode.vhost.virtqueue import (
    MAX_QUEUE_SIZE,
    VHOST_F_LOG_ALL,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_IN_ORDER,
    VIRTIO_F_IOMMU_PLATFORM,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_CTRL_MAC_ADDR,
    VIRTIO_NET_F_CTRL_RX,
    VIRTIO_NET_F_CTRL_VQ,
    VIRTIO_NET_F_GUEST_ANNOUNCE,
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_EVENT_IDX,
    VIRTIO_RING_F_INDIRECT_DESC,
    feature_names,
    features,
    has,
)
from pollmode.vhost.vring import Vring

from .iommu import Misses
from .layout import MAX_SEGMENTS, MIN_RX_ROOM, SIZE_BINS, VARIANT_MERGEABLE, VARIANT_MODERN
from .queue import RX, TX, Direction, Queue, callback_for

__all__ = ["FEATURES", "VhostDevice"]

# The control-queue bits cost us nothing: a front end that has a control queue serves it itself, and some offer their
# guests several queues only if the back end knows these bits.
FEATURES = features(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_IN_ORDER,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_CTRL_VQ,
    VIRTIO_NET_F_CTRL_RX,
    VIRTIO_NET_F_CTRL_MAC_ADDR,
    VIRTIO_NET_F_GUEST_ANNOUNCE,
    VIRTIO_RING_F_INDIRECT_DESC,
    VIRTIO_RING_F_EVENT_IDX,
    VHOST_F_LOG_ALL,
    VHOST_USER_F_PROTOCOL_FEATURES,
)
PROTOCOL_FEATURES = DEFAULT_PROTOCOL_FEATURES & ~features(Protocol.RARP) | features(Protocol.LOG_SHMFD)
# Memory by the slot has a handshake of its own in post-copy, which DPDK does not know either.
POSTCOPY_FEATURES = PROTOCOL_FEATURES & ~features(Protocol.CONFIGURE_MEM_SLOTS) | features(Protocol.PAGEFAULT)
SPEED = 10000  # Mbps, what DPDK's net_vhost tells
XSTATS = {
    "packets": "good_packets",
    "bytes": "good_bytes",
    "multicast": "multicast_packets",
    "broadcast": "broadcast_packets",
    **{name: name for name, _ in SIZE_BINS},
    "calls": "guest_notifications",
    "errors": "dropped_packets",
    "faults": "faults",
    "misses": "iotlb_misses",
}
"""Our counters and their names in the extended statistics; DPDK's where DPDK has one."""
OF_RX = {
    "nombuf": "mbuf_alloc_failed",
    "short": "short_errors",
    "long": "long_errors",
    "given_up": "broken_errors",
}
OF_TX = {"unfit": "unfit_errors", "missed": "missed_packets"}
"""Those of one direction: of a dropped packet the reason, of a missed one that it went back to the caller."""

log = logs.get("pmd.net.vhost")


class VhostDevice(Device, Backend):
    """A vhost-user back end at socket `path` with `queue_pairs` pairs; `client` connects instead of listening.

    `linear` drops received packets that need more than one mbuf, `iommu` offers VIRTIO_F_IOMMU_PLATFORM, `postcopy`
    post-copy migration. Raises ConfigError for a path where no socket can be or a live process listens.
    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        path: str,
        *,
        queue_pairs: int = 1,
        client: bool = False,
        linear: bool = False,
        iommu: bool = False,
        postcopy: bool = False,
    ) -> None:
        super().__init__(name, "net_vhost", b"VHOST\0")
        self.path = path
        self.queue_pairs = queue_pairs
        self.features = FEATURES | (features(VIRTIO_F_IOMMU_PLATFORM) if iommu else 0)
        self.protocol_features = POSTCOPY_FEATURES if postcopy else PROTOCOL_FEATURES
        self._segments_max = 1 if linear else MAX_SEGMENTS
        self._queues = {d: [Queue(d, number) for number in range(queue_pairs)] for d in (RX, TX)}
        self._active = {RX: 0, TX: 0}
        self._lock = threading.RLock()
        self._link = self._down = Link(False, SPEED)
        self._session: Session | None = None
        self._loop = environment.interrupts
        self._connector: Connector | None = None
        self._listener: Listener | None = None
        self._closed = self._paused = False
        everything = [queue for queues in self._queues.values() for queue in queues]
        self._misses = Misses(self._loop, everything, lambda: self._session) if iommu else None
        try:
            self._open(client)
        except BaseException:
            if self._misses is not None:
                self._misses.close()
            raise

    def _open(self, client: bool) -> None:
        if client:
            self._connector = Connector(self.path, self._loop, self._connected)
            self._connector.start()
        else:
            self._listener = Listener(self.path)
            self._listener.serve(self._loop, self._connected)

    # --- ethdev: life -------------------------------------------------------------------------------------------

    def info(self) -> DeviceInfo:
        """Return what the device can do."""
        limits = DescriptorLimits(maximum=MAX_QUEUE_SIZE, segments_max=MAX_SEGMENTS, mtu_segments_max=MAX_SEGMENTS)
        session = self._session
        negotiated = session.features if session is not None else None
        return DeviceInfo(
            max_rx_queues=self.queue_pairs,
            max_tx_queues=self.queue_pairs,
            min_rx_bufsize=MIN_RX_ROOM,
            rx_offload_capa=RxOffload.SCATTER,
            tx_offload_capa=TxOffload.MULTI_SEGS,
            rx_desc_lim=limits,
            tx_desc_lim=limits,
            lsc=True,
            private_info={
                "socket": self.path,
                "mode": "client" if self._connector else "server",
                "peer": "none" if session is None else "connected",
                "features": "none" if negotiated is None else feature_names(negotiated),
            },
        )

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take the numbers of queues; the front end decides how many of them it makes ready."""
        self._active = {RX: rx_queues, TX: tx_queues}
        self.mac = b"VHOST" + bytes([self.port.id])

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Receive into mbufs of `pool`; the ring's size is the front end's choice, not `descriptors`."""
        callback_for(RX, VARIANT_MODERN)
        self._queues[RX][queue].use_pool(pool, self.port.id, self._segments_max)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Make a transmit queue; the ring's size is the front end's choice, not `descriptors`."""
        callback_for(TX, VARIANT_MERGEABLE)

    def start(self) -> None:
        """Heal what is broken; a queue moves packets as soon as its ring is ready."""
        self.reset()

    def stop(self) -> None:
        """Do nothing: ethdev calls no queue any more, and none holds mbufs: every packet is copied within its burst."""

    def close(self) -> None:
        """End the session and give up the socket."""
        self._closed = True
        for end in (self._listener, self._connector):
            if end is not None:
                end.close()
        session = self._session
        if session is not None:
            session.close("the port was closed")
        if self._misses is not None:
            self._misses.close()

    def reset(self) -> None:
        """Go on with every broken ring behind what broke it."""
        with self._lock:
            for queue in self._configured():
                queue.heal()

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the callback for the ring as negotiated; None without a ring."""
        return self._entry(self._queues[RX][queue])

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the callback for the ring as negotiated; None without a ring."""
        return self._entry(self._queues[TX][queue])

    def _entry(self, queue: Queue) -> BurstEntry | None:
        callback = None if self._paused else queue.callback()
        return BurstEntry(callback, queue.address) if callback is not None else None

    def _configured(self) -> list[Queue]:
        return [queue for direction, count in self._active.items() for queue in self._queues[direction][:count]]

    # --- ethdev: state ------------------------------------------------------------------------------------------

    def link(self) -> Link:
        """Return the link: up while both rings of the first pair are ready."""
        return self._link

    def stats(self) -> Stats:
        """Return the basic statistics."""
        rx = [queue.counts() for queue in self._queues[RX][: self._active[RX]]]
        tx = [queue.counts() for queue in self._queues[TX][: self._active[TX]]]
        return Stats(
            ipackets=sum(counts["packets"] for counts in rx),
            opackets=sum(counts["packets"] for counts in tx),
            ibytes=sum(counts["bytes"] for counts in rx),
            obytes=sum(counts["bytes"] for counts in tx),
            ierrors=sum(counts["errors"] for counts in rx),
            oerrors=sum(counts["errors"] + counts["missed"] for counts in tx),
            rx_nombuf=sum(counts["nombuf"] for counts in rx),
            q_ipackets=tuple(counts["packets"] for counts in rx),
            q_opackets=tuple(counts["packets"] for counts in tx),
            q_ibytes=tuple(counts["bytes"] for counts in rx),
            q_obytes=tuple(counts["bytes"] for counts in tx),
            q_errors=tuple(counts["errors"] for counts in rx),
        )

    def reset_stats(self) -> None:
        """Set all statistics to zero."""
        for queue in self._configured():
            queue.reset_counts()

    def xstats(self) -> dict[str, int]:
        """Return the statistics of each ring."""
        named = {}
        for queue in self._configured():
            counts = queue.counts()
            prefix = f"{queue.direction.name}_q{queue.number}"
            names = XSTATS | (OF_RX if queue.direction is RX else OF_TX)
            named.update({f"{prefix}_{name}": counts[counter] for counter, name in names.items()})
        return named

    def rx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many packets of the front end wait in the ring, None without a ring."""
        return self._count(self._queues[RX][queue])

    def tx_queue_count(self, queue: int) -> QueueCount | None:
        """Return how many of the ring's buffers the front end has not given back, None without a ring."""
        return self._count(self._queues[TX][queue])

    def _count(self, queue: Queue) -> QueueCount | None:
        with self._lock:  # the ring's memory stays as long as it is held
            return None if self._paused else queue.count()

    def faults(self) -> list[DeviceFault]:
        """Return what broke each broken ring."""
        return [fault for queue in self._configured() if (fault := queue.fault()) is not None]

    def set_promiscuous(self, enabled: bool) -> None:
        """Accept either: a back end receives whatever its front end sends."""

    def set_allmulticast(self, enabled: bool) -> None:
        """Accept either: a back end receives whatever its front end sends."""

    def set_mtu(self, mtu: int) -> None:
        """Accept any: the buffers are the front end's, and a received packet takes as many mbufs as it needs."""

    # --- vhost --------------------------------------------------------------------------------------------------

    def _connected(self, sock: socket.socket) -> Session | None:
        session = Session(sock, self)
        self._session = session
        log.info(f"{self.name}: a front end connected at {self.path}")
        session.attach(self._loop)
        return session

    def preparation(self, session: Session, features: int) -> Callable[[], None] | None:
        """Return the compiling of what marks pages, for a migration that begins."""
        if not has(features, VHOST_F_LOG_ALL):
            return None
        first = [queues[0] for queues in self._queues.values()]

        def compile_all() -> None:
            for queue in first:
                queue.compile(features, logged=True)

        return compile_all

    @contextmanager
    def paused(self, session: Session) -> Iterator[None]:
        """Give no callbacks within; see `Backend.paused`."""
        try:
            with self._lock:
                self._paused = True
            self._refresh()
            yield
        finally:
            self._paused = False
            self._refresh()

    def on_translations(self, session: Session) -> None:
        """Let queues go on that waited for what was told."""
        if self._misses is not None and session.iotlb is not None:
            self._misses.resume(session.iotlb)

    def on_vring_ready(self, session: Session, vring: Vring) -> None:
        """Take a ring into use."""
        queue, word = self._queue_of(vring), session.features or 0
        log = session.dirty_log if has(word, VHOST_F_LOG_ALL) else None
        queue.compile(word, log is not None)  # seconds, in which the port may be stopped
        with self._lock:
            behind = self._misses is not None and has(word, VIRTIO_F_IOMMU_PLATFORM)
            queue.bind(vring, word, log, self._misses.fd if self._misses and behind else -1)
        self._tell(queue, True)

    def on_vring_file(self, session: Session, vring: Vring) -> None:
        """Take a ring's new call descriptor; nothing here waits for kicks, or tells errors by a descriptor."""
        with self._lock:
            self._queue_of(vring).use_call(vring.call_fd)

    def on_vring_stopped(self, session: Session, vring: Vring) -> int:
        """Leave a ring; no lcore is in it when this returns. Raises InternalError when one does not come out."""
        queue = self._queue_of(vring)
        with self._lock:
            queue.unbind()
        self._tell(queue, False)
        return queue.base

    def on_closed(self, session: Session, reason: str) -> None:
        """Wait for the next front end."""
        if self._session is session:
            self._session = None
        if self._connector is not None and not self._closed:
            self._connector.reconnect(served=session.served)

    def _queue_of(self, vring: Vring) -> Queue:
        direction: Direction = RX if vring.index % 2 else TX
        return self._queues[direction][vring.index // 2]

    def _refresh(self) -> None:
        """Have ethdev take the queues' functions again; no lcore is inside one that we don't give any more."""
        if hasattr(self, "port"):  # a front end may be faster than the port's registration
            self.port.refresh()

    def _tell(self, queue: Queue, ready: bool) -> None:
        """Have ethdev take the queue's function again, and tell what changed."""
        up = self._queues[RX][0].bound and self._queues[TX][0].bound
        changed = up != self._link.up
        if changed:
            self._link = Link(up, SPEED)
            log.info(f"{self.name}: link {'up' if up else 'down'}")
        self._refresh()
        if hasattr(self, "port"):
            self.port.notify(Event.QUEUE_STATE, (queue.direction.name, queue.number, ready))
            if changed:
                self.port.notify(Event.INTR_LSC, self._link)
