# SPDX-License-Identifier: BSD-3-Clause
"""A model of a front end, for tests of anything that is a vhost-user back end: polite by default, hostile on demand.

`GuestMemory` is the guest's memory in several regions, `GuestRing` one split ring in it, `FrontEnd` a whole front end
that connects to a socket. Every word of a ring can be written raw, so a test says exactly which lie it tells. Nothing
is compiled here, and nothing of the back end's own code is used: the model reads the specification for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType

from pollmode.eal.errors import HostError
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES, Frontend, MemoryRegion
from pollmode.vhost.memory import Region
from pollmode.vhost.server import connect
from pollmode.vhost.virtqueue import (
    AVAIL_IDX,
    AVAIL_RING,
    USED_IDX,
    USED_RING,
    VRING_AVAIL_F_NO_INTERRUPT,
    VRING_DESC_F_INDIRECT,
    VRING_DESC_F_NEXT,
    VRING_DESC_F_WRITE,
    VRING_DESC_SIZE,
    header_size,
    split_layout,
)
from pollmode.vhost.vring import Vring

__all__ = ["FrontEnd", "GuestMemory", "GuestRing"]

GUEST_BASE = 0x10_0000
FILL = 0xA5
DESCRIPTOR = struct.Struct("<QIHH")


class GuestMemory:
    """`regions` files of `size` bytes each, one behind the other for the guest, anywhere for the host.

    Filled with 0xA5, so that a byte nobody wrote shows.
    """

    def __init__(self, size: int = 1 << 20, regions: int = 1) -> None:
        self.size = size
        self._fds = [os.memfd_create(f"guest{number}", os.MFD_CLOEXEC) for number in range(regions)]
        self._maps: list[mmap.mmap] = []
        for fd in self._fds:
            os.ftruncate(fd, size)
            self._maps.append(mmap.mmap(fd, size))
            self._maps[-1][:] = bytes([FILL]) * size
        self._views = [_address(mapped) for mapped in self._maps]
        self._next = [self.start(number) for number in range(regions)]

    def start(self, region: int) -> int:
        """Return the guest address a region begins at."""
        return GUEST_BASE + region * self.size

    @property
    def end(self) -> int:
        """The guest address behind the last region."""
        return self.start(len(self._maps))

    def allocate(self, size: int, region: int = 0, align: int = 64) -> int:
        """Return the guest address of `size` unused bytes. Raises MemoryError when the region is full."""
        begin = -(-self._next[region] // align) * align
        if begin + size > self.start(region + 1):
            raise MemoryError(f"region {region} of the guest's memory is full")
        self._next[region] = begin + size
        return begin

    def write(self, address: int, data: bytes) -> None:
        """Write at a guest address; may run over into the next region."""
        for at, byte_range in self._pieces(address, len(data)):
            region, offset = at
            self._maps[region][offset : offset + len(byte_range)] = data[byte_range.start : byte_range.stop]

    def read(self, address: int, size: int) -> bytes:
        """Read from a guest address; may run over into the next region."""
        pieces = self._pieces(address, size)
        return b"".join(self._maps[r][offset : offset + len(part)] for (r, offset), part in pieces)

    def _pieces(self, address: int, size: int) -> list[tuple[tuple[int, int], range]]:
        pieces, done = [], 0
        while done < size:
            region, offset = divmod(address + done - GUEST_BASE, self.size)
            run = min(size - done, self.size - offset)
            pieces.append(((region, offset), range(done, done + run)))
            done += run
        return pieces

    def host(self, address: int) -> int:
        """Return where a guest address is in this process."""
        region, offset = divmod(address - GUEST_BASE, self.size)
        return self._views[region] + offset

    def regions(self) -> list[Region]:
        """Return the regions as a back end in this process would have mapped them."""
        return [Region(self.start(n), self.size, view, view) for n, view in enumerate(self._views)]

    def shared(self) -> list[MemoryRegion]:
        """Return the regions as they are shared over a socket."""
        return [
            MemoryRegion(view, self.size, fd, 0, self.start(number))
            for number, (view, fd) in enumerate(zip(self._views, self._fds, strict=True))
        ]

    def close(self) -> None:
        """Unmap and close. Closing twice is harmless."""
        while self._fds:
            os.close(self._fds.pop())
        while self._maps:
            self._maps.pop().close()


def _address(mapped: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))


class GuestRing:
    """One split ring of `num` entries in guest memory, as its driver sees it.

    `post` and `post_indirect` offer buffers the proper way. For anything else there are `descriptor`, `offer` and
    `set_avail_index`, which write what they are told.
    """

    def __init__(self, memory: GuestMemory, num: int = 8, *, region: int = 0) -> None:
        self.memory = memory
        self.num = num
        avail, used, size = split_layout(num)
        self.desc = memory.allocate(size, region, align=4096)
        self.avail, self.used = self.desc + avail, self.desc + used
        memory.write(self.desc, bytes(size))
        self._free = list(range(num))
        self._chains: dict[int, list[int]] = {}
        self._buffers: dict[int, list[tuple[int, int]]] = {}
        self._avail_index = 0
        self._used_index = 0
        self.call_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # --- words --------------------------------------------------------------------------------------------------

    def descriptor(self, index: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        """Write a descriptor of the table."""
        word = DESCRIPTOR.pack(address & (1 << 64) - 1, length, flags, following)
        self.memory.write(self.desc + VRING_DESC_SIZE * index, word)

    def offer(self, head: int) -> None:
        """Make an entry available: the ring slot, then the index."""
        slot = self._avail_index % self.num
        self.memory.write(self.avail + AVAIL_RING + 2 * slot, struct.pack("<H", head))
        self.set_avail_index(self._avail_index + 1)

    def set_avail_index(self, index: int) -> None:
        """Write the available index."""
        self._avail_index = index & 0xFFFF
        self.memory.write(self.avail + AVAIL_IDX, struct.pack("<H", self._avail_index))

    def set_avail_flags(self, *, interrupts: bool) -> None:
        """Ask for calls, or for none."""
        self.memory.write(self.avail, struct.pack("<H", 0 if interrupts else VRING_AVAIL_F_NO_INTERRUPT))

    def set_used_event(self, index: int) -> None:
        """Ask to be called when this used entry is written (VIRTIO_RING_F_EVENT_IDX)."""
        self.memory.write(self.avail + AVAIL_RING + 2 * self.num, struct.pack("<H", index & 0xFFFF))

    @property
    def used_index(self) -> int:
        """The used index as the back end wrote it."""
        return int(struct.unpack("<H", self.memory.read(self.used + USED_IDX, 2))[0])

    def used_entry(self, slot: int) -> tuple[int, int]:
        """Return id and length of a used slot."""
        identity, length = struct.unpack("<II", self.memory.read(self.used + USED_RING + 8 * (slot % self.num), 8))
        return identity, length

    def calls(self) -> int:
        """Return how often the back end called since the last time."""
        try:
            return os.eventfd_read(self.call_fd)
        except BlockingIOError:
            return 0

    # --- buffers ------------------------------------------------------------------------------------------------

    def post(self, buffers: Sequence[tuple[int, int]], *, writable: bool) -> int:
        """Offer a chain of (guest address, length); return its head."""
        chain = [self._free.pop(0) for _ in buffers]
        flags = VRING_DESC_F_WRITE if writable else 0
        for position, (address, length) in enumerate(buffers):
            last = position + 1 == len(buffers)
            following = 0 if last else chain[position + 1]
            self.descriptor(chain[position], address, length, flags | (0 if last else VRING_DESC_F_NEXT), following)
        return self._posted(chain, buffers)

    def post_indirect(self, buffers: Sequence[tuple[int, int]], *, writable: bool) -> int:
        """Offer a chain in an indirect table; return its head."""
        flags = VRING_DESC_F_WRITE if writable else 0
        table = b""
        for position, (address, length) in enumerate(buffers):
            last = position + 1 == len(buffers)
            chained = flags if last else flags | VRING_DESC_F_NEXT
            table += DESCRIPTOR.pack(address, length, chained, 0 if last else position + 1)
        place = self.memory.allocate(len(table), align=16)
        self.memory.write(place, table)
        head = self._free.pop(0)
        self.descriptor(head, place, len(table), VRING_DESC_F_INDIRECT)
        return self._posted([head], buffers)

    def _posted(self, chain: list[int], buffers: Sequence[tuple[int, int]]) -> int:
        self._chains[chain[0]], self._buffers[chain[0]] = chain, list(buffers)
        self.offer(chain[0])
        return chain[0]

    def collect(self) -> list[tuple[int, int, bytes]]:
        """Take back what was used: (head, used length, the buffers' whole contents) of each entry, in order."""
        taken = []
        while self._used_index != self.used_index:
            head, length = self.used_entry(self._used_index)
            self._used_index = (self._used_index + 1) & 0xFFFF
            self._free += self._chains.pop(head, [])
            contents = b"".join(self.memory.read(*buffer) for buffer in self._buffers.pop(head, []))
            taken.append((head, length, contents))
        return taken

    # --- handing over -------------------------------------------------------------------------------------------

    def vring(self, index: int) -> Vring:
        """Return the ring as a back end in this process gets it, without a socket."""
        ring = Vring(index)
        ring.num = self.num
        ring.call_fd = self.call_fd
        host = self.memory.host
        ring.user_addresses = host(self.desc), host(self.avail), host(self.used)
        ring.place(self.memory.regions())
        return ring

    def close(self) -> None:
        """Close the descriptors. Closing twice is harmless."""
        for fd in (self.call_fd, self.kick_fd):
            if fd >= 0:
                os.close(fd)
        self.call_fd = self.kick_fd = -1


class FrontEnd:
    """A front end with its own memory and `pairs` queue pairs, connected to the back end at `path`.

    Instead of a path it takes a socket that is connected.

    `rx[i]` is the ring it receives on, `tx[i]` the one it transmits on. `send` and `receive` move whole frames the
    polite way. `handshake=False` leaves the protocol to the test: `frontend` is the protocol's front end.
    """

    def __init__(
        self,
        path: str | socket.socket,
        features: int,
        *,
        pairs: int = 1,
        num: int = 64,
        regions: int = 1,
        buffer_size: int = 2048,
        handshake: bool = True,
        seconds: float = 20.0,
        protocol_features: int = DRIVER_PROTOCOL_FEATURES,
    ) -> None:
        self.header = header_size(features)
        self.memory = GuestMemory(pairs * 2 * (num * (buffer_size + 64) + (64 << 10)), regions)
        self.rx = [GuestRing(self.memory, num) for _ in range(pairs)]
        self.tx = [GuestRing(self.memory, num) for _ in range(pairs)]
        self._buffer_size = buffer_size
        self._protocol_features = protocol_features
        self._pieces: list[list[bytes]] = [[] for _ in range(pairs)]
        sock = _connect(path, seconds) if isinstance(path, str) else path
        self.frontend = Frontend(sock, name="model", timeout=seconds)
        if handshake:
            self.hand_over(features)
            for ring in self.rx:
                for _ in range(num):
                    ring.post([(self.memory.allocate(buffer_size), buffer_size)], writable=True)

    def hand_over(self, features: int) -> None:
        """Negotiate `features`, share the memory, start and enable every ring."""
        self.frontend.negotiate(self._protocol_features)
        self.frontend.set_features(features)
        self.frontend.set_mem_table(self.memory.shared())
        for index, ring in enumerate(self.rings()):
            self.start_ring(index, ring)
        for index in range(len(self.rings())):
            self.frontend.set_vring_enable(index, True)
        self.frontend.get_features()  # an answer: everything before it was served

    def start_ring(self, index: int, ring: GuestRing, *, logged: bool = False) -> None:
        """Tell everything about one ring; `logged` wants the writes to its used ring marked."""
        parts = [self.memory.host(part) for part in (ring.desc, ring.avail, ring.used)]
        self.frontend.set_vring_num(index, ring.num)
        self.frontend.set_vring_base(index, ring.used_index)
        self.frontend.set_vring_addr(
            index, desc=parts[0], avail=parts[1], used=parts[2], log_address=ring.used, flags=int(logged)
        )
        self.frontend.set_vring_call(index, ring.call_fd)
        self.frontend.set_vring_kick(index, ring.kick_fd)

    def rings(self) -> list[GuestRing]:
        """Return all rings by their number: receive and transmit of each pair in turn (virtio 1.2, 5.1.2)."""
        return [ring for pair in zip(self.rx, self.tx, strict=True) for ring in pair]

    def send(self, frame: bytes, pair: int = 0) -> None:
        """Offer a frame behind a zero header, in one buffer."""
        ring = self.tx[pair]
        ring.collect()
        data = bytes(self.header) + frame
        place = self.memory.allocate(len(data))
        self.memory.write(place, data)
        ring.post([(place, len(data))], writable=False)

    def receive(self, pair: int = 0) -> list[bytes]:
        """Return the frames that arrived, mergeable ones put together, and offer their buffers again."""
        ring, frames, pieces = self.rx[pair], [], self._pieces[pair]
        for _, length, contents in ring.collect():
            pieces.append(contents[:length])
            merged = struct.unpack_from("<H", pieces[0], 10)[0] if self.header == 12 else 1
            if len(pieces) == merged:
                frames.append(b"".join(pieces)[self.header :])
                pieces.clear()
            ring.post([(self.memory.allocate(self._buffer_size), self._buffer_size)], writable=True)
        return frames

    def close(self) -> None:
        """Hang up and free everything. Closing twice is harmless."""
        self.frontend.close()
        for ring in self.rings():
            ring.close()
        self.memory.close()

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(path: str, seconds: float) -> socket.socket:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(HostError):
            return connect(path)
        if time.monotonic() > deadline:
            return connect(path)
        time.sleep(0.01)
