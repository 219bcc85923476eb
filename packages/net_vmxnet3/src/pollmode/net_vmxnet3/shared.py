# SPDX-License-Identifier: BSD-3-Clause
"""The memory that driver and device share beside the rings: configuration, filters, RSS, a descriptor each queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.mbuf.layout import CACHE_LINE

from .layout import (
    DRIVER_SHARED,
    DRIVER_VERSION,
    GOS_64_BITS,
    GOS_LINUX,
    HASH_TOEPLITZ,
    INTR_DISABLE_ALL,
    MAGIC,
    MAX_RX_QUEUES,
    MAX_SEGMENTS,
    MAX_TX_QUEUES,
    QUEUE_DESC_ALIGN,
    QUEUE_DESC_SIZE,
    RSS_CONF,
    RSS_KEY_SIZE,
    RX_QUEUE_DESC,
    SHARED_ECR,
    TX_QUEUE_DESC,
)

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

    from .queue import RxQueue, TxQueue

__all__ = ["EVENT_VECTOR", "QUEUE_VECTOR", "Shared"]

EVENT_VECTOR, QUEUE_VECTOR, VECTORS = 0, 1, 2
U1 = np.dtype("u1")


class Shared:
    """The shared area for so many queues. Raises HostError when memory is short; `close` gives it back."""

    def __init__(self, memory: Memory, name: str, tx_queues: int, rx_queues: int) -> None:
        self.tx_queues, self.rx_queues = tx_queues, rx_queues
        self._memory, self._name = memory, name
        self._rss_offset = -(-DRIVER_SHARED.itemsize // CACHE_LINE) * CACHE_LINE
        end = self._rss_offset + RSS_CONF.itemsize
        self._queues_offset = -(-end // QUEUE_DESC_ALIGN) * QUEUE_DESC_ALIGN
        size = self._queues_offset + QUEUE_DESC_SIZE * (tx_queues + rx_queues)
        self._zone: Memzone | None = memory.reserve(name, size, QUEUE_DESC_ALIGN)
        self._groups: Memzone | None = None
        self._tables = 0
        self._begin()

    @property
    def _memzone(self) -> Memzone:
        assert self._zone is not None, "the area was given back"
        return self._zone

    @property
    def iova(self) -> int:
        """The device's address of the area."""
        return self._memory.iova(self._memzone.address)

    @property
    def record(self) -> np.void:
        """The DRIVER_SHARED structure, writable."""
        record: np.void = self._memzone.array(DRIVER_SHARED)[0]
        return record

    @property
    def rss(self) -> np.void:
        """The RSS_CONF structure, writable."""
        record: np.void = self._memzone.array(RSS_CONF, offset=self._rss_offset)[0]
        return record

    def ecr(self) -> int:
        """Return the events the device has written."""
        return int(self._memzone.array("<u4", offset=SHARED_ECR)[0])

    def tx_desc(self, queue: int) -> np.void:
        """Return a transmit queue's descriptor."""
        return self._desc(TX_QUEUE_DESC, queue)

    def rx_desc(self, queue: int) -> np.void:
        """Return a receive queue's descriptor; they follow those of all transmit queues."""
        return self._desc(RX_QUEUE_DESC, self.tx_queues + queue)

    def control(self, direction: str, queue: int) -> int:
        """Return the address of a queue's descriptor."""
        index = queue if direction == "tx" else self.tx_queues + queue
        return self._memzone.address + self._queues_offset + QUEUE_DESC_SIZE * index

    def _desc(self, kind: np.dtype[Any], index: int) -> np.void:
        record: np.void = self._memzone.array(kind, offset=self._queues_offset + QUEUE_DESC_SIZE * index)[0]
        return record

    def _begin(self) -> None:
        shared = self.record
        shared["magic"], shared["size"] = MAGIC, DRIVER_SHARED.itemsize
        misc = shared["misc"]
        misc["driver_version"], misc["gos"] = DRIVER_VERSION, GOS_64_BITS | GOS_LINUX
        misc["revisions"] = misc["upt_versions"] = 1
        misc["queue_desc_pa"] = self.iova + self._queues_offset
        misc["queue_desc_len"] = QUEUE_DESC_SIZE * (self.tx_queues + self.rx_queues)
        misc["tx_queues"], misc["rx_queues"] = self.tx_queues, self.rx_queues
        self._intr["interrupts"], self._intr["event_index"] = VECTORS, EVENT_VECTOR
        self._intr["auto_mask"] = 0
        self.enable_interrupts(False)

    @property
    def _intr(self) -> np.void:
        """Where the device looks for the interrupt configuration: elsewhere with more queues than revision 5 has."""
        extended = self.tx_queues > MAX_TX_QUEUES or self.rx_queues > MAX_RX_QUEUES
        intr: np.void = self.record["intr_ext" if extended else "intr"]
        return intr

    def enable_interrupts(self, on: bool) -> None:
        """Let the device interrupt at all, or not."""
        self._intr["control"] = 0 if on else INTR_DISABLE_ALL

    def set_features(self, features: int, mtu: int, body_buffers: int) -> None:
        """Set F_* features, MTU, and how many body buffers a received packet may have."""
        misc = self.record["misc"]
        misc["upt_features"], misc["mtu"] = features, mtu
        misc["max_rx_sg"] = min(1 + body_buffers, MAX_SEGMENTS + 1)

    def set_feature_bits(self, features: int) -> None:
        """Change F_* features of an active device; CMD_UPDATE_FEATURE hands them over."""
        self.record["misc"]["upt_features"] = features

    def set_rss(self, types: int, key: bytes, table: Sequence[int]) -> None:
        """Set hash types (HASH_*), key and redirection table."""
        conf = self.rss
        conf["hash_type"], conf["hash_func"] = types, HASH_TOEPLITZ
        conf["key_size"], conf["table_size"] = RSS_KEY_SIZE, len(table)
        conf["key"][:] = np.frombuffer(key, U1)
        conf["table"][: len(table)] = table
        where = self.record["rss"]
        where["version"], where["length"] = 1, RSS_CONF.itemsize
        where["pa"] = self.iova + self._rss_offset

    def set_rss_fields(self, fields: int) -> None:
        """Set what CMD_SET_RSS_FIELDS hands over (FIELD_*)."""
        self.record["cmd_info"]["version"] = fields  # the command's own first word

    def set_buffer_sizes(self, room: int) -> None:
        """Set what CMD_SET_RING_BUFFER_SIZE hands over: the size of head and of body buffers."""
        info = self.record["cmd_info"]
        info["version"], info["length"] = room, room  # 16 bits each: heads, bodies of ring 0, bodies of ring 1

    def set_vlans(self, words: np.ndarray[Any, np.dtype[np.uint32]]) -> None:
        """Set the VLAN table, a bit an id."""
        self.record["filter"]["vf_table"][:] = words

    def set_rx_mode(self, mode: int) -> None:
        """Set the receive mode (RXM_*)."""
        self.record["filter"]["rx_mode"] = mode

    def set_groups(self, macs: Sequence[bytes]) -> None:
        """Set the multicast table. Raises HostError when memory is short; then nothing has changed."""
        data, zone = b"".join(macs), None
        if data:
            self._tables += 1
            zone = self._memory.reserve(f"{self._name}_groups{self._tables}", len(data))
            zone.array(U1, len(data))[:] = np.frombuffer(data, U1)
        table = self.record["filter"]
        table["mf_table_pa"] = 0 if zone is None else self._memory.iova(zone.address)
        table["mf_table_len"] = 6 * len(macs)
        self._groups, old = zone, self._groups
        if old is not None:
            self._memory.free(old)

    def clear_stats(self) -> None:
        """Zero what the device counts: it begins afresh when it is activated."""
        for desc in (*map(self.tx_desc, range(self.tx_queues)), *map(self.rx_desc, range(self.rx_queues))):
            for name in desc["stats"].dtype.names:
                desc["stats"][name] = 0

    def describe_tx(self, queue: TxQueue) -> None:
        """Write a transmit queue's descriptor."""
        desc = self.tx_desc(queue.index)
        desc["deferred"], desc["threshold"] = 0, 1
        desc["ring_pa"], desc["ring_size"] = queue.rings[0].iova, queue.entries
        desc["comp_pa"], desc["comp_size"] = queue.comp_iova, queue.comp_size
        desc["data_pa"], desc["data_size"] = queue.data_iova, queue.entries
        desc["data_desc_size"], desc["interrupt"] = queue.data_size, QUEUE_VECTOR
        desc["stopped"] = desc["error"] = 0

    def describe_rx(self, queue: RxQueue) -> None:
        """Write a receive queue's descriptor."""
        desc = self.rx_desc(queue.index)
        desc["update_prod"] = 0
        desc["ring_pa"][:] = [ring.iova for ring in queue.rings]
        desc["ring_size"][:] = [ring.size for ring in queue.rings]
        desc["comp_pa"], desc["comp_size"] = queue.comp_iova, queue.comp_size
        desc["data_pa"], desc["data_desc_size"] = queue.data_iova, queue.data_size
        desc["interrupt"] = QUEUE_VECTOR
        desc["stopped"] = desc["error"] = 0

    def close(self) -> None:
        """Give the memory back. Closing twice is harmless."""
        for zone in (self._groups, self._zone):
            if zone is not None:
                self._memory.free(zone)
        self._groups = self._zone = None
