# SPDX-License-Identifier: BSD-3-Clause
"""A model of the host's side of a split ring, for tests of this driver and of programs on top of it.

It plays by the rules (`deliver`, `collect`) or breaks them on demand (`use`, `set_used_index`, headers of your own).
Plain Python on purpose: it moves packets for a test to look at, not fast ones.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_IDX,
    AVAIL_RING,
    HDR_MRG_SIZE,
    INDEX_MASK,
    USED_ELEM_SIZE,
    USED_FLAGS,
    USED_IDX,
    USED_RING,
    VRING_DESC_F_INDIRECT,
    VRING_DESC_F_NEXT,
    VRING_DESC_SIZE,
    VRING_USED_F_NO_NOTIFY,
)

__all__ = ["Buffer", "HostRing", "Sent", "net_header"]

_DESC = struct.Struct("<QIHH")
_USED = struct.Struct("<II")
_U2 = struct.Struct("<H")
_HEADER = struct.Struct("<BBHHHHH")

Translate = Callable[[int, int], int]


@dataclass(frozen=True)
class Buffer:
    """One descriptor's buffer: its address in this process, its length, its flags."""

    address: int
    length: int
    flags: int


@dataclass(frozen=True)
class Sent:
    """A packet the driver transmitted: descriptor, number of buffers it came in, virtio-net header, frame."""

    identity: int
    buffers: int
    header: bytes
    frame: bytes


def net_header(
    *,
    flags: int = 0,
    gso_type: int = 0,
    hdr_len: int = 0,
    gso_size: int = 0,
    csum_start: int = 0,
    csum_offset: int = 0,
    num_buffers: int = 1,
    size: int = HDR_MRG_SIZE,
) -> bytes:
    """Return a virtio-net header of `size` bytes, 10 or 12 (virtio 1.2, 5.1.6)."""
    return _HEADER.pack(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers)[:size]


class HostRing:
    """The device's side of one split ring of `entries` entries whose parts are at these addresses of this process.

    `translate(address, length)` turns a descriptor's address into one of this process; by default it is one.
    """

    def __init__(
        self, entries: int, desc: int, avail: int, used: int, *, translate: Translate = lambda address, _: address
    ) -> None:
        self.entries = entries
        self._desc, self._avail, self._used = desc, avail, used
        self._translate = translate
        self.next_avail = 0
        self.used_index = 0

    # What the driver offers.

    def available(self) -> int:
        """Return how many available entries were not taken yet."""
        return (_word(self._avail + AVAIL_IDX) - self.next_avail) & INDEX_MASK

    def take(self) -> int:
        """Take the next available entry; returns its descriptor. Raises IndexError when there is none."""
        if self.available() == 0:
            raise IndexError("no available entry is left")
        slot = self.next_avail % self.entries
        self.next_avail = (self.next_avail + 1) & INDEX_MASK
        return _word(self._avail + AVAIL_RING + AVAIL_ELEM_SIZE * slot)

    def chain(self, identity: int) -> list[Buffer]:
        """Return the buffers of the chain at a descriptor, through an indirect table too."""
        table, buffers = self._desc, []
        while True:
            address, length, flags, following = _DESC.unpack(
                ctypes.string_at(table + VRING_DESC_SIZE * identity, VRING_DESC_SIZE)
            )
            if flags & VRING_DESC_F_INDIRECT:
                table, identity = self._translate(address, length), 0
                continue
            buffers.append(Buffer(self._translate(address, length), length, flags))
            if not flags & VRING_DESC_F_NEXT:
                return buffers
            identity = following

    def want_kicks(self, wanted: bool) -> None:
        """Ask the driver to kick, or not to."""
        self._put(self._used + USED_FLAGS, _U2.pack(0 if wanted else VRING_USED_F_NO_NOTIFY))

    # By the rules.

    def deliver(self, frame: bytes, header: bytes | None = None) -> list[int]:
        """Put a frame into the driver's receive buffers, as many as it needs, and return their descriptors.

        `header` is the virtio-net header; num_buffers is filled in when none is given. Raises IndexError when the
        buffers on offer do not suffice.
        """
        rest = (header or net_header()) + frame
        first, used = 0, []
        while rest:
            identity = self.take()
            buffer = self.chain(identity)[0]
            self._put(buffer.address, rest[: buffer.length])
            first = first or buffer.address
            used.append((identity, len(rest[: buffer.length])))
            rest = rest[buffer.length :]
        if header is None:
            self._put(first, net_header(num_buffers=len(used)))
        self.use(used)
        return [identity for identity, _ in used]

    def collect(self, header: int = HDR_MRG_SIZE, *, limit: int | None = None) -> list[Sent]:
        """Take what the driver transmitted, return its descriptors to it, and return the packets, `limit` at most."""
        sent = []
        for _ in range(self.available() if limit is None else min(limit, self.available())):
            identity = self.take()
            buffers = self.chain(identity)
            data = b"".join(ctypes.string_at(buffer.address, buffer.length) for buffer in buffers)
            sent.append(Sent(identity, len(buffers), data[:header], data[header:]))
        self.use((packet.identity, 0) for packet in sent)
        return sent

    # Against them.

    def use(self, entries: Iterable[tuple[int, int]], *, publish: bool = True) -> None:
        """Write used entries (descriptor, length), whatever they say, and publish them."""
        for identity, length in entries:
            slot = self.used_index % self.entries
            self._put(self._used + USED_RING + USED_ELEM_SIZE * slot, _USED.pack(identity, length))
            self.used_index = (self.used_index + 1) & INDEX_MASK
        if publish:
            self.set_used_index(self.used_index)

    def set_used_index(self, index: int) -> None:
        """Publish this used index, whatever it says."""
        self._put(self._used + USED_IDX, _U2.pack(index & INDEX_MASK))

    def write(self, identity: int, data: bytes) -> None:
        """Write bytes to the start of a descriptor's buffer."""
        self._put(self.chain(identity)[0].address, data)

    @staticmethod
    def _put(address: int, data: bytes) -> None:
        ctypes.memmove(address, data, len(data))


def _word(address: int) -> int:
    return int(_U2.unpack(ctypes.string_at(address, _U2.size))[0])
