# SPDX-License-Identifier: BSD-3-Clause
"""The device of net_pcap: receive queues that replay capture files, transmit queues that write them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError
from pollmode.ethdev import BurstEntry, Device, DeviceInfo, Link, PortConfig, QueueConfig, Stats, TxOffload
from pollmode.net import mac, pcap

from .layout import MAX_QUEUES, SHORTEST
from .queues import RxQueue, TxQueue
from .rx import make_rx, make_rx_none
from .tx import make_tx, make_tx_drop
from .writer import CaptureFile, Writer

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory
    from pollmode.mbuf import Mempool

__all__ = ["PcapDevice", "PcapOptions"]

log = logs.get("pmd.net.pcap")


@dataclass(frozen=True)
class PcapOptions:
    """The devargs: one file for each receive and transmit queue, and whether what is received never ends."""

    rx_files: tuple[str, ...]
    tx_files: tuple[str, ...]
    infinite: bool


class PcapDevice(Device):
    """A port on capture files (DPDK's net_pcap).

    Files to be received are read into memory here; those to be sent into are made here and closed with the device.
    Raises ConfigError for a file that cannot be read or written, or is none.
    """

    promiscuous = True
    allmulticast = True

    def __init__(self, name: str, memory: Memory, options: PcapOptions) -> None:
        super().__init__(name, "net_pcap", mac.random_local())
        self.options = options
        self._memory = memory
        self._check()
        self._captures = [_replayable(name, path, options.infinite) for path in options.rx_files]
        self._files: list[CaptureFile] = []
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            for path in options.tx_files:
                self._files.append(CaptureFile(name, path))
            stack.pop_all()
        # As in DPDK: where one direction has no files, it has a queue for each of the other's.
        self._rx_queues = len(options.rx_files) or len(options.tx_files)
        self._tx_queues = len(options.tx_files) or len(options.rx_files)
        self._writer: Writer | None = None
        self._up = False
        self._rx: dict[int, RxQueue] = {}
        self._tx: dict[int, TxQueue] = {}

    def _check(self) -> None:
        options = self.options
        if not options.rx_files and not options.tx_files:
            raise ConfigError(f"{self.name}: neither rx_pcap nor tx_pcap; write {self.name},rx_pcap=FILE,tx_pcap=FILE")
        if options.infinite and not options.rx_files:
            raise ConfigError(f"{self.name}: infinite_rx=1 needs a file to receive: rx_pcap=FILE")
        for key, paths in (("rx_pcap", options.rx_files), ("tx_pcap", options.tx_files)):
            if len(paths) > MAX_QUEUES:
                raise ConfigError(f"{self.name}: {key} is given {len(paths)} times, at most {MAX_QUEUES}")
        seen = {os.path.realpath(path) for path in options.rx_files}
        for path in options.tx_files:
            if os.path.realpath(path) in seen and os.path.realpath(path) != os.path.realpath(os.devnull):
                raise ConfigError(f"{self.name}: tx_pcap={path} is another queue's file too; it would be overwritten")
            seen.add(os.path.realpath(path))

    def info(self) -> DeviceInfo:
        """Return the limits: a queue for each file."""
        return DeviceInfo(
            max_rx_queues=self._rx_queues,
            max_tx_queues=self._tx_queues,
            tx_offload_capa=TxOffload.MULTI_SEGS,
            speed_capa=(10000,),
            private_info={
                "rx files": ", ".join(self.options.rx_files) or "none",
                "tx files": ", ".join(self.options.tx_files) or "none",
            },
        )

    def configure(self, rx_queues: int, tx_queues: int, config: PortConfig) -> None:
        """Take anything that ethdev let through."""

    def setup_rx_queue(self, queue: int, descriptors: int, pool: Mempool, config: QueueConfig) -> None:
        """Tie the queue to its file."""
        capture = self._captures[queue] if self._captures else None
        self._rx[queue] = RxQueue(self._memory, f"{self.name}_rxq{queue}", capture, pool, self.port.id)

    def setup_tx_queue(self, queue: int, descriptors: int, config: QueueConfig) -> None:
        """Tie the queue to its file."""
        file = self._files[queue] if self._files else None
        self._tx[queue] = TxQueue(self._memory, f"{self.name}_txq{queue}", file)

    def release_rx_queue(self, queue: int) -> None:
        """Free the record."""
        self._rx.pop(queue).free()

    def release_tx_queue(self, queue: int) -> None:
        """Free the record."""
        self._tx.pop(queue).free()

    def start(self) -> None:
        """Begin the files to be received again, and writing the others."""
        for queue in self._rx.values():
            queue.rewind()
        if self._files:
            self._writer = Writer(self.name, list(self._tx.values()))
        self._up = True

    def stop(self) -> None:
        """Write everything that was sent."""
        self._up = False
        if self._writer is not None:
            self._writer.stop()
            self._writer = None

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._files = []

    def rx_entry(self, queue: int) -> BurstEntry:
        """Return the function of a queue with a file, or of one without."""
        callback = make_rx(self.options.infinite) if self._captures else make_rx_none()
        return BurstEntry(callback, self._rx[queue].address)

    def tx_entry(self, queue: int) -> BurstEntry:
        """Return the function of a queue with a file, or of one without."""
        return BurstEntry(make_tx() if self._files else make_tx_drop(), self._tx[queue].address)

    def link(self) -> Link:
        """Return a link of 10 Gbps that is up while the port is started."""
        return Link(up=self._up, speed=10000)

    def stats(self) -> Stats:
        """Return what the queues counted."""
        rx = [self._rx[n].counters.read() if n in self._rx else {} for n in range(max(self._rx, default=-1) + 1)]
        tx = [self._tx[n].counted() if n in self._tx else {} for n in range(max(self._tx, default=-1) + 1)]
        return Stats(
            ipackets=sum(each.get("received", 0) for each in rx),
            opackets=sum(each.get("sent", 0) for each in tx),
            ibytes=sum(each.get("bytes", 0) for each in rx),
            obytes=sum(each.get("bytes", 0) for each in tx),
            oerrors=sum(each.get("dropped", 0) for each in tx),
            rx_nombuf=sum(each.get("nombuf", 0) for each in rx),
            q_ipackets=tuple(each.get("received", 0) for each in rx),
            q_opackets=tuple(each.get("sent", 0) for each in tx),
            q_ibytes=tuple(each.get("bytes", 0) for each in rx),
            q_obytes=tuple(each.get("bytes", 0) for each in tx),
            q_errors=tuple(0 for _ in rx),
        )

    def xstats(self) -> dict[str, int]:
        """Return what happened to the files, by queue."""
        found: dict[str, int] = {}
        if self.options.infinite:
            for number, rx in sorted(self._rx.items()):
                found[f"rx_q{number}_file_rounds"] = rx.counters.read()["rounds"]
        for number, tx in sorted(self._tx.items()):
            counted = tx.counted()
            found[f"tx_q{number}_file_error_packets"] = counted["dropped"]
            found[f"tx_q{number}_cut_packets"] = counted["cut"]
            found[f"tx_q{number}_slow_file_bursts"] = counted["full"]
        return found

    def reset_stats(self) -> None:
        """Count from zero."""
        for rx in self._rx.values():
            rx.counters.reset()
        for tx in self._tx.values():
            tx.reset_counters()

    def set_mtu(self, mtu: int) -> None:
        """Take any MTU: nothing is cut."""

    def set_mac(self, mac: bytes) -> None:
        """Take any address: nothing is filtered."""

    def set_mac_list(self, macs: Sequence[bytes]) -> None:
        """Take any addresses: nothing is filtered."""


def _replayable(where: str, path: str, infinite: bool) -> pcap.Capture:
    """Read a file to be received, without what is too short to be a packet."""
    capture = pcap.read(path)
    kept = capture.packets[capture.packets["captured"] >= SHORTEST]
    if len(kept) < len(capture):
        log.warning(
            f"{where}: {path}: {len(capture) - len(kept)} of {len(capture)} packets are left out: "
            f"they have less than an Ethernet header's {SHORTEST} bytes"
        )
    if infinite and not len(kept):
        raise ConfigError(f"{where}: rx_pcap={path} holds no packet, and infinite_rx=1 needs one")
    return replace(capture, packets=kept)
