# SPDX-License-Identifier: BSD-3-Clause
"""A queue of ours on a ring of a modelled guest, without a socket: where every data-path test of net_vhost starts."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

from pollmode.mbuf import Burst, Mempool
from pollmode.net_vhost.layout import MAX_SEGMENTS
from pollmode.net_vhost.queue import RX, Direction, Queue
from pollmode.net_vhost.testing import GuestMemory, GuestRing
from pollmode.vhost.iotlb import Iotlb
from pollmode.vhost.mapping import MappedFile
from pollmode.vhost.memory import ACCESS_BOTH
from pollmode.vhost.virtqueue import (
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_EVENT_IDX,
    features,
    split_layout,
)
from support.mbuf_verbs import header

BURST = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)
LEGACY = 0
MODERN = features(VIRTIO_F_VERSION_1)
MERGEABLE = features(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF)
EVENTS = features(VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX)
PORT = 3


class Rig:
    """One queue bound to one ring; `run(n)` is one call of its callback."""

    def __init__(
        self, direction: Direction, lcore: int, pool: Mempool, features: int, num: int, regions: int, size: int
    ) -> None:
        self.lcore, self.pool = lcore, pool
        self.guest = GuestMemory(size, regions)
        self.ring = GuestRing(self.guest, num)
        self.queue = Queue(direction, 0)
        self.burst = np.zeros(512, np.int64)
        self._logs: list[MappedFile] = []
        self.miss_fd = -1
        self.header = 10 if features == LEGACY else 12
        if direction is RX:
            self.queue.use_pool(pool, PORT, MAX_SEGMENTS)
        self.features = features
        self.vring = self.ring.vring(self.queue.ring)
        self.queue.bind(self.vring, features)

    def run(self, n: int = 32) -> int:
        callback = self.queue.callback()
        assert callback is not None
        return int(BURST(callback.address)(self.lcore, self.queue.address, self.burst.ctypes.data, n))

    def log_writes(self, size: int, *, used: bool = True, address: int | None = None) -> MappedFile:
        """Have written pages marked in a log of `size` bytes; `used`: those of the used ring too (at `address`)."""
        with os.fdopen(os.memfd_create("log", os.MFD_CLOEXEC), "rb+") as file:
            file.truncate(mmap.PAGESIZE)
            log = MappedFile(file.fileno(), 0, size)
        self._logs.append(log)
        self.queue.unbind()
        if used:
            self.vring.log_address = self.ring.used if address is None else address
        self.queue.bind(self.vring, self.features, log)
        return log

    def behind_iommu(self) -> Iotlb:
        """Have I/O virtual addresses, equal to guest addresses, in the ring; only the ring itself is known yet."""
        self.queue.unbind()
        self.iotlb = Iotlb()
        self.miss_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.vring.user_addresses = self.ring.desc, self.ring.avail, self.ring.used
        self.know(self.ring.desc, split_layout(self.ring.num)[2])
        self.vring.place(self.guest.regions(), self.iotlb)
        self.queue.bind(self.vring, self.features, miss_fd=self.miss_fd)
        return self.iotlb

    def know(self, address: int, size: int, access: int = ACCESS_BOTH, *, at: int | None = None) -> None:
        """Tell a translation: to the same guest address, or to guest address `at`."""
        self.iotlb.update(address, size, self.guest.host(address if at is None else at), access)
        self.vring.forget_hit()
        missing = self.queue.missing()
        if missing is not None and address <= missing[0] < address + size:
            self.queue.resume()

    def misses(self) -> int:
        """How often the queue told of a missing translation since the last time."""
        try:
            return os.eventfd_read(self.miss_fd)
        except BlockingIOError:
            return 0

    def frames(self, count: int) -> list[bytes]:
        """The first `count` packets of the burst, which are freed."""
        found = [contents(int(m)) for m in self.burst[:count]]
        self.free(count)
        return found

    def free(self, count: int) -> None:
        Burst.of([int(m) for m in self.burst[:count]]).free()

    def load(self, *packets: tuple[bytes, ...]) -> int:
        """Fill the burst with packets, each of these segments; return how many."""
        for index, segments in enumerate(packets):
            self.burst[index] = chained(self.pool, segments)
        return len(packets)

    def buffer(self, data: bytes, *, region: int = 0) -> tuple[int, int]:
        """A guest buffer with these contents."""
        place = self.guest.allocate(len(data), region)
        self.guest.write(place, data)
        return place, len(data)

    def room(self, size: int) -> tuple[int, int]:
        """A guest buffer of 0xA5 of this size, with 64 more bytes behind it that nobody may touch."""
        return self.guest.allocate(size + 64), size

    @property
    def out(self) -> int:
        """Mbufs that are not in the pool."""
        audit = self.pool.audit()
        assert audit.out >= 0
        return audit.out

    def counts(self) -> dict[str, int]:
        return self.queue.counts()

    def close(self) -> None:
        """Unbind and free. Closing twice is harmless."""
        self.queue.unbind()
        while self._logs:
            self._logs.pop().close()
        if self.miss_fd >= 0:
            os.close(self.miss_fd)
            self.miss_fd = -1
        self.ring.close()
        self.guest.close()


def marked(log: MappedFile) -> set[int]:
    """The pages that are marked in a log, which is empty afterwards."""
    view = np.ctypeslib.as_array((ctypes.c_uint8 * mmap.PAGESIZE).from_address(log.address))  # what is mapped
    assert not view[log.size // 4 * 4 :].any(), "something was written behind the log"
    pages = {int(page) for page in np.flatnonzero(np.unpackbits(view, bitorder="little"))}
    view[:] = 0
    return pages


def pages(address: int, length: int) -> set[int]:
    """The pages that these bytes touch."""
    return set(range(address >> 12, ((address + length - 1) >> 12) + 1))


def contents(m: int) -> bytes:
    """The bytes of a packet, and a check that its header is consistent."""
    first, data, segments = header(m), b"", 0
    while m:
        mbuf = header(m)
        start = int(mbuf["buf_addr"]) + int(mbuf["data_off"])
        assert int(mbuf["data_off"]) + int(mbuf["data_len"]) <= int(mbuf["buf_len"])
        data += ctypes.string_at(start, int(mbuf["data_len"]))
        segments += 1
        m = int(mbuf["next"])
    assert (int(first["nb_segs"]), int(first["pkt_len"])) == (segments, len(data))
    assert int(first["ol_flags"]) == int(first["packet_type"]) == int(first["vlan_tci"]) == 0
    assert (int(first["port"]), int(first["refcnt"])) == (PORT, 1)
    return data


def chained(pool: Mempool, segments: tuple[bytes, ...]) -> int:
    """A packet of these segments; its address."""
    burst = Burst(len(segments))
    burst.alloc(pool, len(segments))
    addresses = [int(m) for m in burst.addresses]
    for m, data, following in zip(addresses, segments, [*addresses[1:], 0], strict=True):
        mbuf = header(m)
        ctypes.memmove(int(mbuf["buf_addr"]) + int(mbuf["data_off"]), data, len(data))
        mbuf["data_len"], mbuf["next"] = len(data), following
    header(addresses[0])["nb_segs"] = len(segments)
    header(addresses[0])["pkt_len"] = sum(map(len, segments))
    burst.drop(len(segments))
    return addresses[0]


def frame(size: int, seed: int = 0) -> bytes:
    """A unicast frame of `size` bytes, different for each seed."""
    return bytes([0x02, seed & 0xFF]) + bytes((7 * index + seed) & 0xFF for index in range(2, size))
