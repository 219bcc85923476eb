# SPDX-License-Identifier: BSD-3-Clause
"""The control plane of a port on a Linux interface: sockets, settings, link, statistics, removal.

The interface stays the kernel's: others use it too, and it may change or vanish at any time. A netlink socket tells of
it (`watch`); what is told is taken over here, in the interrupt thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, DeviceFault, HostError
from pollmode.ethdev import (
    SPEED_NONE,
    SPEED_UNKNOWN,
    BurstEntry,
    Device,
    DeviceInfo,
    Event,
    Link,
    PortConfig,
    QueueConfig,
    RxOffload,
    Stats,
    TxOffload,
)
from pollmode.mbuf import HEADROOM

from .host import Host, Linux, Rings
from .layout import ETHERNET_HEADER, FANOUT_MODES, RX_DATA, TX_DATA, VLAN_TAG
from .queues import RxQueue, TxQueue
from .rx import make_rx
from .sockets import Geometry
from .tx import make_tx

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment
    from pollmode.mbuf import Mempool

__all__ = ["AfPacketDevice", "AfPacketOptions"]

log = logs.get("pmd.net.af_packet")

CHECKSUMS = RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM


@dataclass(frozen=True)
class AfPacketOptions:
    """The devargs: the interface's name, queue pairs, the rings' sizes, how frames are sent and shared out."""

    iface: str
    pairs: int
    geometry: Geometry
    qdisc_bypass: bool
    fanout_mode: str


class AfPacketDevice(Device):
    """A port whose frames go through packet sockets on an interface (DPDK's net_af_packet).

    Raises ConfigError for an interface that is not there, HostError without the permission.
    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        options: AfPacketOptions,
        host: Host | None = None,
    ) -> None:
        self._host = host or Linux()
        self._memory = environment.memory
        self.options = options
        self._lock = threading.RLock()  # what the interrupt thread, statistics and the control thread share
        self._config = PortConfig()
        self._rings: Sequence[Rings] = ()
        self._rx: dict[int, RxQueue] = {}
        self._tx: dict[int, TxQueue] = {}
        self._further: tuple[bytes, ...] = ()
        self._gone = False
        self._told_up: bool | None = None
        self.interface = self._host.interface(name, options.iface)
        try:
            super().__init__(name, "net_af_packet", self.interface.mac())
            index = self.interface.index
            self._watch = self._host.watch(name, index, environment.interrupts, self._changed, self._vanished)
        except BaseException:
            self.interface.close()
            raise

    def info(self) -> DeviceInfo:
        """Return the limits: a frame of the ring holds the longest packet."""
        longest = self.options.geometry.frame_size - RX_DATA
        return DeviceInfo(
            max_rx_queues=self.options.pairs,
            max_tx_queues=self.options.pairs,
            max_mtu=min(longest - ETHERNET_HEADER - VLAN_TAG, 0xFFFF),
            max_rx_pktlen=longest,
            max_mac_addrs=64,
            rx_offload_capa=RxOffload.VLAN_STRIP | RxOffload.SCATTER | CHECKSUMS,
            tx_offload_capa=TxOffload.MULTI_SEGS | TxOffload.VLAN_INSERT,
            default_rx_ring_size=min(self.options.geometry.frames, 0xFFFF),
            default_tx_ring_size=min(self.options.geometry.frames, 0xFFFF),
            default_rx_burst_size=32,
            default_tx_burst_size=32,
            if_index=self.interface.index,
            lsc=True,
            rmv=True,
            private_info={"interface": self.interface.name},
        )

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take the offloads, and raise the interface's MTU where it is less; one that is more is left to its owner."""
        self._config = config
        if self.interface.mtu() < config.mtu:
            self.interface.set_mtu(config.mtu)

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Make the record. The ring's size is that of the devargs, as in DPDK.

        Raises ConfigError when the interface's frames do not fit into an mbuf and SCATTER was not asked for.
        """
        longest = min(self.interface.mtu() + ETHERNET_HEADER + VLAN_TAG, self.options.geometry.frame_size - RX_DATA)
        room = pool.data_room - HEADROOM
        if longest > room and not self._config.rx_offloads & RxOffload.SCATTER:
            raise ConfigError(
                f"{self.name}: frames of {self.interface.name} have up to {longest} bytes, an mbuf of pool {pool.name} "
                f"holds {room}; configure the port with the SCATTER offload"
            )
        made = RxQueue(
            self._memory, f"{self.name}_rxq{queue}", queue, pool, self.port.id, self.options.geometry.frame_size
        )
        with self._lock:
            self._rx[queue] = made

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Make the record."""
        made = TxQueue(self._memory, f"{self.name}_txq{queue}", queue, self.options.geometry.frame_size)
        made.set_longest(self.interface.mtu() + ETHERNET_HEADER)
        with self._lock:
            self._tx[queue] = made

    def release_rx_queue(self, queue: int) -> None:
        """Free the record."""
        with self._lock:
            self._rx.pop(queue).free()

    def release_tx_queue(self, queue: int) -> None:
        """Free the record."""
        with self._lock:
            self._tx.pop(queue).free()

    def start(self) -> None:
        """Open the sockets. Raises HostError for what the kernel refuses."""
        if self._gone:
            raise HostError(f"{self.name}: interface {self.interface.name} is gone", mend="close the port")
        options = self.options
        directions = [(pair in self._rx, pair in self._tx) for pair in sorted({*self._rx, *self._tx})]
        mode = FANOUT_MODES[options.fanout_mode]
        rings = self._host.rings(
            self.name, self.interface.index, options.geometry, directions, mode, options.qdisc_bypass
        )
        mtu, fits = self.interface.mtu(), options.geometry.frame_size - RX_DATA
        if mtu + ETHERNET_HEADER > fits:
            log.warning(
                f"{self.name}: the interface's MTU is {mtu}, and what is received longer than {fits} bytes is dropped; "
                "framesz and blocksz make the frames longer"
            )
        with self._lock:
            self._rings = rings
            for pair, each in enumerate(rings):
                if pair in self._rx:
                    self._rx[pair].tie(each.rx_frames)
                if pair in self._tx:
                    self._tx[pair].tie(each.tx_frames)
                    self._tx[pair].record["fd"] = each.fd
        self._told_up = self.link().up

    def stop(self) -> None:
        """Close the sockets; what the kernel has not sent until now is dropped and counted."""
        with self._lock:
            self._collect_missed()
            for pair, each in enumerate(self._rings):
                if pair in self._tx:
                    each.kick()
                    self._tx[pair].give_up_unsent()
            rings, self._rings = self._rings, ()
        for each in rings:
            each.close()

    def close(self) -> None:
        """Let go of the interface."""
        self._watch.close()
        self.interface.close()

    def rx_entry(self, queue: int) -> BurstEntry | None:
        """Return the receive function, none once the interface is gone."""
        if self._gone:
            return None
        offloads = self._config.rx_offloads
        scattering, strip = bool(offloads & RxOffload.SCATTER), bool(offloads & RxOffload.VLAN_STRIP)
        return BurstEntry(make_rx(scattering, strip, bool(offloads & CHECKSUMS)), self._rx[queue].address)

    def tx_entry(self, queue: int) -> BurstEntry | None:
        """Return the transmit function, none once the interface is gone."""
        return None if self._gone else BurstEntry(make_tx(), self._tx[queue].address)

    def link(self) -> Link:
        """Return whether the interface is up and has a carrier, and its speed where it knows one."""
        if self._gone or not self.interface.running():
            return Link(up=False, speed=SPEED_NONE)
        speed = self.interface.speed()
        return Link(up=True, speed=SPEED_UNKNOWN if speed is None else speed)

    def stats(self) -> Stats:
        """Return what the queues counted, and as missed what found a ring full (PACKET_STATISTICS)."""
        with self._lock:
            self._collect_missed()
            highest = max((*self._rx, *self._tx), default=-1) + 1
            rx = [self._rx[n].counters.read() if n in self._rx else {} for n in range(highest)]
            tx = [self._tx[n].counters.read() if n in self._tx else {} for n in range(highest)]
            missed = sum(queue.missed_since_reset() for queue in self._rx.values())
        return Stats(
            ipackets=sum(each.get("packets", 0) for each in rx),
            opackets=sum(each.get("packets", 0) for each in tx),
            ibytes=sum(each.get("bytes", 0) for each in rx),
            obytes=sum(each.get("bytes", 0) for each in tx),
            imissed=missed,
            ierrors=sum(each.get("too_long", 0) for each in rx),
            oerrors=sum(each.get(why, 0) for each in tx for why in ("too_long", "too_short", "unsent")),
            rx_nombuf=sum(each.get("nombuf", 0) for each in rx),
            q_ipackets=tuple(each.get("packets", 0) for each in rx),
            q_opackets=tuple(each.get("packets", 0) for each in tx),
            q_ibytes=tuple(each.get("bytes", 0) for each in rx),
            q_obytes=tuple(each.get("bytes", 0) for each in tx),
            q_errors=tuple(each.get("too_long", 0) for each in rx),
        )

    def xstats(self) -> dict[str, int]:
        """Return why packets were dropped, and how often a ring or a pool held things up, by queue."""
        found: dict[str, int] = {}
        with self._lock:
            self._collect_missed()
            for number, rx in sorted(self._rx.items()):
                counted = rx.counters.read()
                found[f"rx_q{number}_ring_full_packets"] = rx.missed_since_reset()
                found[f"rx_q{number}_too_long_packets"] = counted["too_long"]
                found[f"rx_q{number}_faults"] = counted["faults"]
            for number, tx in sorted(self._tx.items()):
                counted = tx.counters.read()
                for why in ("too_long", "too_short", "unsent"):
                    found[f"tx_q{number}_{why}_packets"] = counted[why]
                found[f"tx_q{number}_ring_full_bursts"] = counted["full"]
                found[f"tx_q{number}_refused_sends"] = counted["refused"]
                found[f"tx_q{number}_faults"] = counted["faults"]
        return found

    def reset_stats(self) -> None:
        """Count from zero."""
        with self._lock:
            self._collect_missed()
            for queue in (*self._rx.values(), *self._tx.values()):
                queue.reset_counters()

    def faults(self) -> list[DeviceFault]:
        """Return what broke queues."""
        with self._lock:
            queues = (*self._rx.values(), *self._tx.values())
            return [fault for queue in queues if (fault := queue.fault()) is not None]

    def set_promiscuous(self, enabled: bool) -> None:
        """Have the interface receive frames for any address, or not, as far as this port is concerned."""
        self.interface.promiscuous(enabled)

    def set_allmulticast(self, enabled: bool) -> None:
        """Have the interface receive every multicast frame, or not, as far as this port is concerned."""
        self.interface.all_multicast(enabled)

    def set_mtu(self, mtu: int) -> None:
        """Set the interface's MTU."""
        self.interface.set_mtu(mtu)
        self._take_mtu()

    def set_mac(self, mac: bytes) -> None:
        """Set the interface's address."""
        self.interface.set_mac(mac)

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Have the interface receive frames for these too."""
        for mac in macs:
            if mac not in self._further:
                self.interface.also(mac, True)
        for mac in self._further:
            if mac not in macs:
                self.interface.also(mac, False)
        self._further = tuple(macs)

    def set_link(self, up: bool) -> None:
        """Take the interface up or down."""
        self.interface.set_up(up)

    # In the interrupt thread.

    def _changed(self) -> None:
        try:
            self._take_mtu()
        except HostError:  # gone meanwhile: the next message says so
            return
        link = self.link()
        with self._lock:
            told, self._told_up = self._told_up, link.up
            if link.up and not told:  # what was refused while it was down
                for each in self._rings:
                    each.kick()
        if told is not None and told != link.up:
            self.port.notify(Event.INTR_LSC, link)

    def _vanished(self) -> None:
        if self._gone:
            return
        self._gone = True
        log.error(f"{self.name}: interface {self.interface.name} is gone; close the port")
        port = getattr(self, "port", None)  # it may go before it has become a port
        if port is not None:
            port.refresh()
            port.notify(Event.INTR_LSC, self.link())
            port.notify(Event.INTR_RMV)

    def _take_mtu(self) -> None:
        longest = self.interface.mtu() + ETHERNET_HEADER
        with self._lock:
            for queue in self._tx.values():
                queue.set_longest(longest)

    def _collect_missed(self) -> None:
        """Add what the kernel counted since the last time, which reading sets to zero."""
        for pair, each in enumerate(self._rings):
            if pair in self._rx:
                self._rx[pair].missed += each.drops()


assert TX_DATA < RX_DATA  # what fits to be received fits to be sent
