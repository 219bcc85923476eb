# SPDX-License-Identifier: BSD-3-Clause
"""The control plane of a vmxnet3 port: configure, start, stop, filters, link, statistics, faults, reset.

A device is activated when its port starts and silenced when it stops: between the two it reads and writes our memory.
Whatever it held goes back to its pools when it is silent, so no mbuf is lost, whoever ended it. The interrupt thread
comes in between (events), hence the lock; the callbacks never do, ethdev sees to that.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, DeviceFault, UnsupportedError
from pollmode.ethdev import (
    BurstEntry,
    DeviceInfo,
    Event,
    Link,
    PortConfig,
    QueueConfig,
    RxOffload,
)

from .abilities import Variant, info_of, ring_size
from .hardware import Hardware
from .layout import (
    BAR_PASS_THROUGH,
    CMD_GET_QUEUE_STATUS,
    CMD_SET_RING_BUFFER_SIZE,
    ECR_LINK,
    ECR_RQERR,
    ECR_TQERR,
    LAST_REVISION,
    REGISTER_STRIDE,
    RX_DATA_SIZE,
    RXPROD,
    RXPROD2,
    TXPROD,
)
from .parsed import parsed_table
from .queue import Queue, RxQueue, RxSettings, TxQueue
from .refill import tell
from .rx import make_rx, rx_name
from .settings import Settings
from .shared import EVENT_VECTOR, QUEUE_VECTOR, Shared
from .tx import make_tx

if TYPE_CHECKING:
    from pollmode.bus_pci import Interrupt, PciDevice
    from pollmode.eal.environment import Environment
    from pollmode.eal.jit import Callback
    from pollmode.mbuf import Mempool

__all__ = ["Vmxnet3"]

log = logs.get("pmd.net.vmxnet3.driver")

LOCK_PATIENCE = 0.01  # seconds
Q = TypeVar("Q", bound=Queue)

# One callback for all queues and ports of a variant.
_rx_callback = functools.cache(make_rx)
_tx_callback = functools.cache(make_tx)


class Vmxnet3(Settings):
    """A vmxnet3 device behind an open PCI device, which it closes.

    Raises UnsupportedError when it has no revision in common with us.
    """

    def __init__(self, name: str, pci: PciDevice, environment: Environment) -> None:
        super().__init__(name, Hardware(name, pci), environment.memory)
        self._interrupts = environment.interrupts
        self._lcore = environment.lcores.control.address
        self._doorbells: dict[int, int] = {}
        self._event: Interrupt | None = None
        self._serial = 0
        self._told_up = self._watched = False
        log.info(f"{name}: using device v{self._hw.revision}")

    # Configuration.

    def info(self) -> DeviceInfo:
        """Return what a device of this revision can do."""
        hw = self._hw
        private = {
            "revision": str(hw.revision),
            "tx_data_size": str(hw.tx_data_size),
            "rx_path": rx_name(self._variant.strip, self._variant.rss, self._data_size != 0),
        }
        return info_of(hw, private)

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take the configuration, reserve the shared area, compile the callbacks."""
        if not rx_queues or not tx_queues:
            raise ConfigError(
                f"{self.name}: the device needs a queue in each direction; ask for at least one Rx and one Tx"
            )
        if self._hw.revision < 6 and rx_queues & (rx_queues - 1):
            raise ConfigError(f"{self.name}: {rx_queues} Rx queues; revision {self._hw.revision} takes a power of two")
        self._close_shared()
        self._serial += 1
        self._shared = Shared(self._memory, f"{self.name}_shared{self._serial}", tx_queues, rx_queues)
        if self._filters.groups:
            self._shared.set_groups(self._filters.groups)
        self._config = config
        self._rss.configure(config, rx_queues)
        self._filters.vlan_filter = bool(config.rx_offloads & RxOffload.VLAN_FILTER)
        self._variant = Variant.of(config, rx_queues)
        if config.rss_hf and rx_queues == 1:
            log.notice(f"{self.name}: RSS is off while there is one Rx queue")
        log.info(f"{self.name}: using {self._rx_function().name} and {_tx_callback().name}")

    @property
    def _data_size(self) -> int:
        """Bytes of an entry of the receive data ring, 0 before revision 3."""
        return RX_DATA_SIZE if self._hw.revision >= 3 else 0

    def _rx_function(self) -> Callback:
        made = self._variant
        return _rx_callback(made.strip, made.rss, self._data_size != 0)

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Make a receive queue. Frames that don't fit one mbuf need the SCATTER offload."""
        size, threshold = self._ring_size("Rx", descriptors), config.free_threshold
        if threshold >= size:
            raise ConfigError(f"{self.name}: rx_free_thresh {threshold} must be less than the {size} descriptors")
        made = RxQueue(
            self._memory,
            self._zone_name("rx", queue),
            queue,
            size,
            pool,
            body=self._needs_body(pool, self._config.mtu),
            data_size=self._data_size,
            threshold=threshold,
        )
        self._rx[queue] = made

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Make a transmit queue."""
        size, threshold = self._ring_size("Tx", descriptors), config.free_threshold
        if threshold >= size:
            raise ConfigError(f"{self.name}: tx_free_thresh {threshold} must be less than the {size} descriptors")
        name, data_size = self._zone_name("tx", queue), self._hw.tx_data_size
        self._tx[queue] = TxQueue(self._memory, name, queue, size, data_size=data_size, threshold=threshold)

    def _ring_size(self, kind: str, descriptors: int) -> int:
        size = ring_size(descriptors, self._hw.revision)
        if size != descriptors:
            log.notice(f"{self.name}: {descriptors} {kind} descriptors are rounded down to {size}")
        return size

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
        """Fill the rings, describe everything, activate the device, take its events.

        Raises DeviceFault when the device refuses, HostError; then everything is as before.
        """
        with self._lock:
            if self._hw.pci.gone:
                raise UnsupportedError(f"{self.name}: the device is gone; detach the port")
            shared = self._require_shared()
            self._watch_removal()
            try:
                self._take_interrupt()
                self._begin_queues(shared)
                self._describe(shared)
                self._hw.pci.set_master(True)
                self._hw.set_mac(self.mac)
                self._hw.activate(shared.iova)
                self._after_activation(shared)
            except BaseException:
                self._end()
                raise
            self._running = True
            self._told_up = self._hw.link()[0]

    def _watch_removal(self) -> None:
        if not self._watched:
            self._watched = True
            self._hw.pci.on_removed(self._on_removed)

    def _begin_queues(self, shared: Shared) -> None:
        table = parsed_table(self._variant.checksums).ctypes.data
        for number, rx in self._rx.items():
            settings = RxSettings(
                port=self.port.id,
                queues=len(self._rx),
                table=table,
                lro=self._variant.lro,
                mtu=self._config.mtu,
                control=shared.control("rx", number),
                doorbells=(self._doorbell(RXPROD, number), self._doorbell(RXPROD2, number)),
            )
            posted = rx.begin(self._lcore, settings)
            if posted < rx.entries - 1:
                log.warning(
                    f"{self.name}: Rx queue {number} has {posted} of {rx.entries - 1} buffers: "
                    f"pool {rx.pool.name} is empty"
                )
        for number, tx in self._tx.items():
            tx.begin(shared.control("tx", number), self._doorbell(TXPROD, number))

    def _doorbell(self, register: int, queue: int) -> int:
        """Return the doorbell record of a queue's register; one is made once and kept until the device is closed."""
        offset = register + REGISTER_STRIDE * queue
        if offset not in self._doorbells:
            self._doorbells[offset] = self._hw.pci.doorbell(BAR_PASS_THROUGH, offset)
        return self._doorbells[offset]

    def _describe(self, shared: Shared) -> None:
        for tx in self._tx.values():
            shared.describe_tx(tx)
        for rx in self._rx.values():
            shared.describe_rx(rx)
        shared.clear_stats()
        body = max((rx.entries for rx in self._rx.values() if rx.body), default=0)
        shared.set_features(self._variant.features, self._config.mtu, body)
        shared.set_rx_mode(0)
        shared.set_vlans(self._filters.vlans)
        self._rss.describe(shared)
        shared.enable_interrupts(self._event is not None)

    def _after_activation(self, shared: Shared) -> None:
        self._rss.set_fields(shared)
        if self._hw.revision >= LAST_REVISION:
            room = min(rx.room for rx in self._rx.values())
            shared.set_buffer_sizes(room)
            self._hw.command(CMD_SET_RING_BUFFER_SIZE)
        for rx in self._rx.values():
            for ring in rx.rings if rx.body else rx.rings[:1]:
                tell(rx.address, ring.record_address)
        self._filters.apply(shared, self._hw.command)
        self._hw.mask(QUEUE_VECTOR, True)
        self._hw.mask(EVENT_VECTOR, self._event is None)

    def stop(self) -> None:
        """Silence the device and give every buffer back; what it counted is kept."""
        with self._lock:
            if self._running:
                self._read_counts()
            self._counts.save()
            self._end()

    def _end(self) -> None:
        self._running = False
        self._hw.mask(EVENT_VECTOR, True)
        self._hw.silence()
        self._drop_interrupt()
        for queue in self._queues():
            queue.end(self._lcore)

    def close(self) -> None:
        """Give back everything, the PCI device too."""
        with self._lock:
            self._drop_interrupt()
            self._close_shared()
            self._hw.pci.close()

    def _close_shared(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    # Events.

    def _take_interrupt(self) -> None:
        """Have link changes and queue errors raise an interrupt, where the host has interrupts."""
        if self._hw.pci.interrupt_limit == 0:
            return
        (self._event,) = self._hw.pci.interrupts(1)
        self._interrupts.register(self._event.fd, self._on_interrupt)

    def _drop_interrupt(self) -> None:
        event, self._event = self._event, None
        if event is not None:
            self._interrupts.unregister(event.fd)
            self._hw.pci.interrupts(0)

    def _on_interrupt(self) -> None:
        # Whoever holds the lock may be waiting for this function to end. The descriptor stays readable.
        if not self._lock.acquire(timeout=LOCK_PATIENCE):
            return
        try:
            if self._event is None or not self._running:
                return
            link = self._take_events()
            self._event.acknowledge()
            self._hw.mask(EVENT_VECTOR, False)
        finally:
            self._lock.release()
        self._tell(link)

    def _take_events(self) -> Link | None:
        """Act on the events since the last time: a queue that the device stopped is a broken one.

        Returns the link if it changed.
        """
        events = self._require_shared().ecr()
        self._hw.acknowledge(events)
        if events & (ECR_RQERR | ECR_TQERR):
            self._hw.command(CMD_GET_QUEUE_STATUS)
            shared = self._require_shared()
            for queue in self._queues():
                desc = shared.rx_desc(queue.index) if isinstance(queue, RxQueue) else shared.tx_desc(queue.index)
                if desc["stopped"]:
                    queue.stopped_by_device(int(desc["error"]))
        link = self.link() if events & ECR_LINK else None
        if link is None or link.up == self._told_up:
            return None
        self._told_up = link.up
        return link

    def _tell(self, link: Link | None) -> None:
        if link is not None:
            self.port.notify(Event.INTR_LSC, link)

    def _on_removed(self) -> None:
        self.port.refresh()
        self.port.notify(Event.INTR_RMV)

    def faults(self) -> list[DeviceFault]:
        """Return what broke queues. Also takes events where no interrupt tells of them."""
        link = None
        with self._lock:
            if self._running and self._require_shared().ecr():
                link = self._take_events()
            found = [fault for queue in self._queues() if (fault := queue.fault()) is not None]
        self._tell(link)
        return found

    # Callbacks and what they count.

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the receive function of a queue, None when the device is gone."""
        return None if self._hw.pci.gone else BurstEntry(self._rx_function(), self._rx[queue].address)

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the transmit function of a queue, None when the device is gone."""
        return None if self._hw.pci.gone else BurstEntry(_tx_callback(), self._tx[queue].address)
