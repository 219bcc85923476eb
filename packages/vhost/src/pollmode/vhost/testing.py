# SPDX-License-Identifier: BSD-3-Clause
"""Peers for tests: a front end that says anything, and a back end that answers anything.

Both are models, honest until told otherwise, over a connected socket (`socket.socketpair()` or a path). Use them for a
driver of your own as this package's tests do:

    ours, theirs = socket.socketpair()
    front = ScriptedFrontend(theirs)
    FRONTEND_ATTACKS["memory file too short"](front)
    assert front.closed()

`FRONTEND_ATTACKS` and `BACKEND_ATTACKS` (attacks.py) hold what is known to have broken others.
"""

from __future__ import annotations

import array
import ctypes
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from pollmode.vhost.connection import Connection, Message
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout
from pollmode.vhost.frontend import MemoryRegion
from pollmode.vhost.mapping import MappedFile
from pollmode.vhost.messages import (
    FLAG_NEED_REPLY,
    HEADER,
    REPLY_FLAGS,
    RULES,
    U64,
    VERSION,
    VRING_ADDR,
    VRING_STATE,
    Protocol,
    RegionEntry,
    Request,
    pack_table,
)
from pollmode.vhost.virtqueue import (
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_VERSION_1,
    avail_size,
    desc_size,
    features,
    used_size,
)

__all__ = ["Answer", "GuestMemory", "RingPlaces", "ScriptedBackend", "ScriptedFrontend", "WAIT"]

WAIT = 20.0
"""Seconds a model waits for its peer before a test counts as failed: long, for machines under load."""
HONEST_FEATURES = features(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES)
EVERY_PROTOCOL_FEATURE = features(*Protocol)
_PAGE = 4096


@dataclass(frozen=True)
class RingPlaces:
    """Where a ring's parts are, as addresses in the front end."""

    num: int
    desc: int
    avail: int
    used: int


class GuestMemory:
    """A memfd of `size` bytes, mapped here, that stands at `guest_address` for the guest; `close` when done."""

    def __init__(self, size: int = 1 << 20, guest_address: int = 0x1000_0000) -> None:
        self.size = size
        self.guest_address = guest_address
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self._file = MappedFile(self.fd, 0, size)
        self.address = self._file.address
        self.bytes = memoryview((ctypes.c_ubyte * size).from_address(self.address)).cast("B")
        self._used = 0

    @property
    def region(self) -> MemoryRegion:
        """All of it, for `Frontend.set_mem_table`."""
        return MemoryRegion(self.address, self.size, self.fd, 0, self.guest_address)

    @property
    def entry(self) -> RegionEntry:
        """All of it, for a message."""
        return self.region.entry

    def take(self, size: int, align: int = _PAGE) -> int:
        """Return the address of `size` fresh bytes."""
        start = -(-self._used // align) * align
        if start + size > self.size:
            raise MemoryError(f"{size} bytes of guest memory after {start} of {self.size}")
        self._used = start + size
        return self.address + start

    def guest(self, address: int) -> int:
        """Return the guest address of an address here."""
        return address - self.address + self.guest_address

    def ring(self, num: int) -> RingPlaces:
        """Return places for a ring of `num` entries."""
        return RingPlaces(num, self.take(desc_size(num)), self.take(avail_size(num)), self.take(used_size(num)))

    def close(self) -> None:
        """Unmap and close. Nothing may use `bytes` any more."""
        self.bytes.release()
        self._file.close()
        os.close(self.fd)

    def __enter__(self) -> GuestMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ScriptedFrontend:
    """A front end that sends what it is told, checks nothing, and owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(WAIT)
        self.protocol_features = 0
        self.eventfds: list[int] = []

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes with descriptors; a peer that closed already is no error."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return

    def send(
        self,
        request: int,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        *,
        flags: int = VERSION,
        size: int | None = None,
    ) -> None:
        """Send a message; `size` is what the header says, the payload's true size unless told."""
        announced = len(payload) if size is None else size
        self.send_bytes(HEADER.pack(request & 0xFFFFFFFF, flags, announced & 0xFFFFFFFF) + payload, fds)

    def receive(self) -> bytes:
        """Return the payload of the next answer; b"" when the peer closed instead."""
        head = self._exactly(HEADER.size)
        return self._exactly(HEADER.unpack(head)[2]) if head else b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except ConnectionResetError:
                return b""
            if not more:
                return b""
            data += more
        return data

    def ask(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), *, flags: int = VERSION) -> bytes:
        """Send a message and return the payload of the answer."""
        self.send(request, payload, fds, flags=flags)
        return self.receive()

    def acknowledged(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """Send a message that asks for an acknowledgement; return it (0 is yes), or -1 when the peer closed."""
        answer = self.ask(request, payload, fds, flags=VERSION | FLAG_NEED_REPLY)
        return int(U64.unpack(answer)[0]) if answer else -1

    def closed(self) -> bool:
        """Wait until the peer has closed its end, whatever it answered before; False when it does not."""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True

    def negotiate(self, chosen: int = HONEST_FEATURES) -> None:
        """Do the honest start: owner, protocol features (all on offer), features."""
        self.send(Request.SET_OWNER)
        self.protocol_features = int(U64.unpack(self.ask(Request.GET_PROTOCOL_FEATURES))[0])
        self.send(Request.SET_PROTOCOL_FEATURES, U64.pack(self.protocol_features))
        offered = int(U64.unpack(self.ask(Request.GET_FEATURES))[0])
        self.send(Request.SET_FEATURES, U64.pack(offered & chosen))

    def share(self, *memories: GuestMemory) -> None:
        """Share memory honestly."""
        self.send(Request.SET_MEM_TABLE, pack_table([m.entry for m in memories]), [m.fd for m in memories])

    def eventfd(self) -> int:
        """Return a new eventfd that `close` will close."""
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.eventfds.append(fd)
        return fd

    def start_ring(self, index: int, places: RingPlaces, base: int = 0) -> tuple[int, int]:
        """Describe, kick and enable a ring honestly; return its kick and call eventfds."""
        call, kick = self.eventfd(), self.eventfd()
        self.send(Request.SET_VRING_CALL, U64.pack(index), [call])
        self.send(Request.SET_VRING_NUM, VRING_STATE.pack(index, places.num))
        self.send(Request.SET_VRING_BASE, VRING_STATE.pack(index, base))
        self.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(index, 0, places.desc, places.used, places.avail, 0))
        self.send(Request.SET_VRING_KICK, U64.pack(index), [kick])
        self.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(index, 1))
        return kick, call

    def close(self) -> None:
        """Close the socket and the eventfds."""
        self.sock.close()
        while self.eventfds:
            os.close(self.eventfds.pop())

    def __enter__(self) -> ScriptedFrontend:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Answer:
    """How a `ScriptedBackend` answers one kind of request; the defaults are an honest answer.

    `payload` replaces the honest payload; `size` is what the header says; `cut` bytes of the payload are sent before
    the end closes; `files` descriptors come along; `silent` sends nothing; `close` closes instead.
    """

    payload: bytes | None = None
    request: int | None = None
    flags: int = REPLY_FLAGS
    size: int | None = None
    cut: int | None = None
    files: int = 0
    silent: bool = False
    close: bool = False


@dataclass(frozen=True)
class Heard:
    """One message a `ScriptedBackend` received."""

    request: int
    payload: bytes
    fds: int


@dataclass
class ScriptedBackend:
    """A back end in a thread of its own that answers as `answers` says, and honestly otherwise; owns the socket.

    `heard` lists what it received; all descriptors are closed at once. `join` waits for its end.
    """

    sock: socket.socket
    answers: dict[int, Answer] = field(default_factory=dict)
    features: int = HONEST_FEATURES
    protocol_features: int = EVERY_PROTOCOL_FEATURE
    queue_pairs: int = 1
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection = Connection(self.sock, lambda request, flags, size: None)
        self._acknowledges = False
        self._status = 0
        self._thread = threading.Thread(target=self._work, name="scripted back end", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while True:
                with self._connection.receive_within(WAIT) as message:
                    self.heard.append(Heard(message.request, message.payload, len(message.fds)))
                    if not self._respond(message):
                        return
        except (PeerGone, PeerTimeout, MalformedMessage):
            return
        finally:
            self._connection.close()

    def _respond(self, message: Message) -> bool:
        if message.request == Request.SET_STATUS:
            self._status = U64.unpack(message.payload)[0]
        replies = RULES[message.request].replies if message.request in RULES else False
        acknowledges = self._acknowledges and message.flags & FLAG_NEED_REPLY
        if message.request == Request.SET_PROTOCOL_FEATURES:
            self._acknowledges = bool(U64.unpack(message.payload)[0] >> Protocol.REPLY_ACK & 1)
        answer = self.answers.get(message.request)
        if answer is None:
            answer = Answer(silent=not (replies or acknowledges))
        if answer.payload is None:
            answer = replace(answer, payload=self._honest(message))
        return self._send(message, answer)

    def _honest(self, message: Message) -> bytes:
        values: dict[int, Callable[[], bytes]] = {
            Request.GET_FEATURES: lambda: U64.pack(self.features),
            Request.GET_PROTOCOL_FEATURES: lambda: U64.pack(self.protocol_features),
            Request.GET_QUEUE_NUM: lambda: U64.pack(self.queue_pairs),
            Request.GET_VRING_BASE: lambda: VRING_STATE.pack(VRING_STATE.unpack(message.payload)[0], 0),
            Request.GET_STATUS: lambda: U64.pack(self._status),
            Request.GET_MAX_MEM_SLOTS: lambda: U64.pack(8),
        }
        return values.get(message.request, lambda: U64.pack(0))()

    def _send(self, message: Message, answer: Answer) -> bool:
        if answer.close:
            return False
        if answer.silent:
            return True
        payload = answer.payload or b""
        request = message.request if answer.request is None else answer.request
        size = len(payload) if answer.size is None else answer.size
        data = HEADER.pack(request, answer.flags, size) + (payload if answer.cut is None else payload[: answer.cut])
        fds = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(answer.files)]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        finally:
            for fd in fds:
                os.close(fd)
        return answer.cut is None

    def join(self) -> None:
        """Wait until the front end has closed its end and the thread has ended."""
        self._thread.join(WAIT)
