# SPDX-License-Identifier: BSD-3-Clause
"""The model's registers and commands: what a driver tells the device, checked before any of it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.eal.memzone import array_at

from . import layout as at
from .testing_rings import MAX_PIECES, MODEL_QUEUE

if TYPE_CHECKING:
    from pollmode.bus_pci.testing import FakeDevice
    from pollmode.eal.memory import Memory

__all__ = ["ModelQueue", "Refused", "Registers", "Rss"]

FAILED = 1
UNKNOWN = 0xFFFFFFFF


class Refused(Exception):
    """What the driver configured cannot be; the text says why, the command's result is not 0."""


@dataclass(frozen=True)
class Rss:
    """An RSS configuration the driver handed over."""

    types: int
    func: int
    key: bytes
    table: list[int]


class ModelQueue:
    """One queue of the active device: its MODEL_QUEUE record, its descriptor in the driver's memory, its counts."""

    def __init__(self, shared: np.void) -> None:
        self._record = np.zeros(1, MODEL_QUEUE)
        self._pieces = np.zeros(4 * MAX_PIECES, np.int64)
        self.shared = shared
        self.counts: Counter[str] = Counter()
        self.record["pieces"] = self._pieces.ctypes.data

    @property
    def address(self) -> int:
        """The record's address."""
        return self._record.ctypes.data

    @property
    def record(self) -> np.void:
        """The record, writable."""
        record: np.void = self._record[0]
        return record


class Registers:
    """BAR 1 of the model, and what its commands made of the driver's memory."""

    def __init__(self, memory: Memory, device: FakeDevice, revision: int, mac: bytes, speed: int) -> None:
        self._memory, self._device = memory, device
        region = memory.regions()[0]
        self._first = memory.iova(region.address)
        self._end, self._offset = self._first + region.size, region.address - self._first
        self.offered, self.revision, self.speed = revision, 0, speed
        self.mac = self.permanent_mac = mac
        self.limits = (at.EXT_MAX_QUEUES, at.EXT_MAX_QUEUES)
        self.wants_rx_doorbells, self.threshold, self.link_up = True, 1, True
        self.refused: dict[int, int] = {}
        self.commands: list[int] = []
        self.on_command: Callable[[int], None] | None = None
        self.why = ""
        self._address = self._events = self._answer = self._selected = 0
        self._queues: dict[tuple[str, int], ModelQueue] = {}
        self.deactivate()
        self.reset()
        device.bars[1].on_read = self._read
        device.bars[1].on_write = self._write

    def reset(self) -> None:
        """Do CMD_RESET: what was negotiated stays."""
        self.deactivate()
        self._events = self._answer = self._address = 0
        self.mac, self.rx_mode, self.multicast = self.permanent_mac, 0, frozenset[bytes]()
        self.vlans = [0xFFFFFFFF] * at.VFT_WORDS

    def deactivate(self) -> None:
        """Let go of the driver's memory."""
        self.active, self.features, self.rss_fields = False, 0, at.FIELD_TCP4 | at.FIELD_TCP6
        self.rss: Rss | None = None
        self.tx_queues = self.rx_queues = self.event_vector = 0
        self._shared: np.void | None = None
        self._queues = {}

    def queue(self, direction: str, number: int) -> ModelQueue:
        """Return a queue. Raises KeyError when the driver has not activated it."""
        return self._queues[direction, number]

    # Registers.

    def _read(self, offset: int, size: int) -> int:
        if offset == at.CMD:
            return self._answer
        return {
            at.VRRS: (1 << self.offered) - 1,
            at.UVRS: 1,
            at.MACL: int.from_bytes(self.mac[:4], "little"),
            at.MACH: int.from_bytes(self.mac[4:], "little"),
            at.DCR: at.CAP_UDP_RSS | at.CAP_ESP_RSS4 | at.CAP_ESP_RSS6 | at.CAP_LARGE_BAR | at.CAP_OUT_OF_ORDER,
            at.PTCR: at.DCR_ERROR,
        }.get(offset, 0)

    def _write(self, offset: int, value: int, size: int) -> None:
        if offset == at.CMD:
            self._answer = self._command(value)
        elif offset == at.VRRS:
            self.revision = value.bit_length() if value in [1 << bit for bit in range(self.offered)] else 0
        elif offset == at.DSAL:
            self._address = self._address >> 32 << 32 | value
        elif offset == at.DSAH:
            self._address = self._address & 0xFFFFFFFF | value << 32
        elif offset == at.MACL:
            self.mac = value.to_bytes(4, "little") + self.mac[4:]
        elif offset == at.MACH:
            self.mac = self.mac[:4] + (value & 0xFFFF).to_bytes(2, "little")
        elif offset == at.ECR:
            self._events &= ~value
            self._show_events()
        elif offset == at.DCR and self.revision >= 7:
            self._selected = value

    def raise_event(self, event: int) -> None:
        """Note an event (ECR_*) and interrupt the driver, unless it masked all interrupts."""
        self._events |= event
        self._show_events()
        if self.active and self._device.bars[0].read32(at.IMR + at.REGISTER_STRIDE * self.event_vector) == 0:
            self._device.raise_interrupt(self.event_vector)

    def _show_events(self) -> None:
        if self._shared is not None:
            self._shared["ecr"] = self._events

    def check_queues(self) -> None:
        """Tell the driver of queues that were stopped since."""
        for (direction, _), queue in self._queues.items():
            if queue.record["error"] and not queue.shared["stopped"]:
                queue.shared["stopped"], queue.shared["error"] = 1, int(queue.record["error"])
                self.raise_event(at.ECR_RQERR if direction == "rx" else at.ECR_TQERR)

    # Commands.

    def _command(self, command: int) -> int:
        self.commands.append(command)
        if self.on_command is not None:
            self.on_command(command)
        if command in self.refused:
            return self.refused[command]
        actions: dict[int, Callable[[], Any]] = {
            at.CMD_ACTIVATE: self._activate,
            at.CMD_QUIESCE: self.deactivate,
            at.CMD_RESET: self.reset,
            at.CMD_UPDATE_RX_MODE: self._update_rx_mode,
            at.CMD_UPDATE_MAC_FILTERS: self._update_mac_filters,
            at.CMD_UPDATE_VLAN_FILTERS: self._update_vlans,
            at.CMD_UPDATE_RSSIDT: self._update_rss,
            at.CMD_UPDATE_FEATURE: self._update_features,
            at.CMD_REGISTER_MEMREGS: lambda: self._needs(3),
            at.CMD_SET_RSS_FIELDS: self._set_rss_fields,
            at.CMD_SET_RING_BUFFER_SIZE: lambda: self._needs(7),
            at.CMD_GET_STATS: self._write_stats,
            at.CMD_GET_QUEUE_STATUS: self.check_queues,
            at.CMD_GET_LINK: lambda: self.speed << 16 | 1 if self.link_up else 0,
            at.CMD_GET_PERM_MAC_LO: lambda: int.from_bytes(self.permanent_mac[:4], "little"),
            at.CMD_GET_PERM_MAC_HI: lambda: int.from_bytes(self.permanent_mac[4:], "little"),
            at.CMD_GET_CONF_INTR: lambda: at.INTR_TYPE_MSIX,
            at.CMD_GET_TXDATA_DESC_SIZE: lambda: at.TX_DATA_SIZE if self.revision >= 3 else 0,
            at.CMD_GET_MAX_QUEUES_CONF: self._max_queues,
            at.CMD_GET_DCR0: lambda: self._selected,
        }
        if command not in actions:
            return UNKNOWN
        try:
            return int(actions[command]() or 0)
        except Refused as error:
            self.why = str(error)
            return FAILED

    def _needs(self, revision: int) -> None:
        if self.revision < revision or not self.active:
            raise Refused(f"a command of revision {revision}, {self.revision} was selected")

    def _max_queues(self) -> int:
        if self.revision < 6:
            return 0
        return self.limits[1] | self.limits[0] << 8

    def _at(self, address: int, dtype: np.dtype[Any], what: str, align: int = 1) -> np.void:
        """Return a structure in the driver's memory. Raises Refused when it is not there."""
        if not self._first <= address <= self._end - dtype.itemsize or address % align:
            raise Refused(f"{what} at {address:#x} is not in memory, or not aligned to {align}")
        structure: np.void = array_at(address + self._offset, dtype)[0]
        return structure

    def _activate(self) -> int:
        self.deactivate()
        if self.revision == 0:
            raise Refused("no revision was selected")
        shared = self._at(self._address, at.DRIVER_SHARED, "DriverShared", at.SHARED_ALIGN)
        misc = shared["misc"]
        if shared["magic"] != at.MAGIC:
            raise Refused("the magic number is wrong")
        self._check_counts(int(misc["tx_queues"]), int(misc["rx_queues"]))
        most = at.MAX_MTU_V6 if self.revision >= 6 else at.MAX_MTU
        if not at.MIN_MTU <= misc["mtu"] <= most:
            raise Refused(f"an MTU of {misc['mtu']}")
        self._shared, self.tx_queues, self.rx_queues = shared, int(misc["tx_queues"]), int(misc["rx_queues"])
        try:
            self._take_queues(int(misc["queue_desc_pa"]), self._interrupts(shared))
            self._update_features()
            self._update_rss()
        except Refused:
            self.deactivate()
            raise
        self._update_vlans()
        self._update_rx_mode()
        self.active = True
        return 0

    def _check_counts(self, tx: int, rx: int) -> None:
        most_rx, most_tx = self.limits if self.revision >= 6 else (at.MAX_RX_QUEUES, at.MAX_TX_QUEUES)
        if not 0 < tx <= most_tx or not 0 < rx <= most_rx:
            raise Refused(f"{tx} transmit and {rx} receive queues")
        if self.revision < 6 and rx & (rx - 1):
            raise Refused(f"{rx} receive queues are no power of two")

    def _interrupts(self, shared: np.void) -> int:
        extended = self.tx_queues > at.MAX_TX_QUEUES or self.rx_queues > at.MAX_RX_QUEUES
        conf = shared["intr_ext"] if extended else shared["intr"]
        count, self.event_vector = int(conf["interrupts"]), int(conf["event_index"])
        if not 0 < count <= (at.EXT_MAX_INTRS if extended else at.MAX_INTRS) or self.event_vector >= count:
            raise Refused(f"event interrupt {self.event_vector} of {count}")
        return count

    def _take_queues(self, start: int, interrupts: int) -> None:
        for number in range(self.tx_queues + self.rx_queues):
            sent = number < self.tx_queues
            address = start + at.QUEUE_DESC_SIZE * number
            kind = at.TX_QUEUE_DESC if sent else at.RX_QUEUE_DESC
            shared = self._at(address, kind, "a queue's descriptor", at.QUEUE_DESC_ALIGN)
            if shared["interrupt"] >= interrupts:
                raise Refused(f"interrupt {shared['interrupt']} of {interrupts}")
            queue = ModelQueue(shared)
            record = queue.record
            record["first"], record["end"], record["offset"] = self._first, self._end, self._offset
            record["comp"], record["comp_gen"], record["comp_size"] = (
                self._completions(shared, sent),
                1,
                shared["comp_size"],
            )
            if sent:
                self._take_ring(record, 0, int(shared["ring_pa"]), int(shared["ring_size"]), at.TXPROD, number)
                shared["threshold"] = self.threshold
            else:
                self._take_rx(record, shared, number - self.tx_queues)
            shared["stopped"], shared["error"] = 0, 0
            self._queues["tx" if sent else "rx", number if sent else number - self.tx_queues] = queue

    def _completions(self, shared: np.void, sent: bool) -> int:
        needed = int(shared["ring_size"]) if sent else int(shared["ring_size"].sum())
        if shared["comp_size"] < needed:
            raise Refused(f"{shared['comp_size']} completions for {needed} descriptors")
        return self._ring_memory(int(shared["comp_pa"]), int(shared["comp_size"]), 2 * at.MAX_RING)

    def _ring_memory(self, address: int, size: int, most: int) -> int:
        if not 0 < size <= most or size % at.RING_STEP:  # CVE-2021-20203
            raise Refused(f"a ring of {size}")
        self._at(address, np.dtype((np.uint8, at.DESC_SIZE * size)), "a ring", at.RING_ALIGN)
        return address + self._offset

    def _take_ring(self, record: np.void, which: int, address: int, size: int, register: int, number: int) -> None:
        ring = record[f"ring{which}"]
        ring["desc"], ring["size"], ring["gen"] = self._ring_memory(address, size, at.MAX_RING), size, 1
        bar = self._device.bars[0]
        bar.write32(register + at.REGISTER_STRIDE * number, 0)
        ring["producer"] = bar.mapped + register + at.REGISTER_STRIDE * number

    def _take_rx(self, record: np.void, shared: np.void, number: int) -> None:
        for which, register in ((0, at.RXPROD), (1, at.RXPROD2)):
            address, size = int(shared["ring_pa"][which]), int(shared["ring_size"][which])
            self._take_ring(record, which, address, size, register, number)
            ring = record[f"ring{which}"]
            ring["rqid"] = number + which * self.rx_queues
            ring["producer"] = ring["producer"] if self.wants_rx_doorbells else 0
        shared["update_prod"] = self.wants_rx_doorbells
        size, address = int(shared["data_desc_size"]), int(shared["data_pa"])
        if self.revision >= 3 and size and address:
            if size % at.DATA_STEP or size > at.RX_DATA_MAX:
                raise Refused(f"a receive data ring of {size} bytes a packet")
            self._at(address, np.dtype((np.uint8, size * int(shared["ring_size"][0]))), "a data ring", at.RING_ALIGN)
            record["data"], record["data_size"] = address + self._offset, size
            record["data_rqid"] = number + 2 * self.rx_queues

    # What can be changed while it is active.

    def _conf(self) -> np.void:
        if self._shared is None:
            raise Refused("the device is not active")
        return self._shared

    def _update_features(self) -> None:
        self.features = int(self._conf()["misc"]["upt_features"])

    def _update_rx_mode(self) -> None:
        self.rx_mode = int(self._conf()["filter"]["rx_mode"])

    def _update_mac_filters(self) -> None:
        table = self._conf()["filter"]
        length = int(table["mf_table_len"])
        if length % 6:
            raise Refused(f"a multicast table of {length} bytes")
        data = b""
        if length:
            data = self._at(int(table["mf_table_pa"]), np.dtype((np.void, length)), "the multicast table").tobytes()
        self.multicast = frozenset(data[start : start + 6] for start in range(0, length, 6))

    def _update_vlans(self) -> None:
        self.vlans = [int(word) for word in self._conf()["filter"]["vf_table"]]

    def _update_rss(self) -> None:
        shared = self._conf()
        self.rss = None
        if not self.features & at.F_RSS:
            return
        if int(shared["rss"]["length"]) < at.RSS_CONF.itemsize:
            raise Refused("the RSS configuration is too short")
        conf = self._at(int(shared["rss"]["pa"]), at.RSS_CONF, "the RSS configuration")
        size, key = int(conf["table_size"]), int(conf["key_size"])
        table = [int(queue) for queue in conf["table"][:size]]
        if not 0 < size <= at.RSS_MAX_TABLE or key > at.RSS_KEY_SIZE or any(q >= self.rx_queues for q in table):
            raise Refused("the RSS configuration cannot be")
        self.rss = Rss(int(conf["hash_type"]), int(conf["hash_func"]), bytes(conf["key"][:key]), table)

    def _set_rss_fields(self) -> None:
        self._needs(4)
        self.rss_fields = int(self._conf()["cmd_info"]["version"]) & at.FIELDS

    def _write_stats(self) -> None:
        for (direction, _), queue in self._queues.items():
            stats, counts = queue.shared["stats"], queue.counts
            for name in stats.dtype.names:
                stats[name] = counts[name]
            if direction == "rx":
                stats["out_of_buffers"] = int(queue.record["lost"])
