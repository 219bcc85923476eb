# SPDX-License-Identifier: BSD-3-Clause
"""The front end's half of vhost-user: what a virtio-user driver says to a back end, and what it accepts as answers.

Requests wait for their answer with a time limit, so a Frontend belongs to a control thread, never to the interrupt
thread that may be serving the back end of the same process. Every error names the phase of the handshake that was
reached and the message. After an error the stream is out of step: the connection is closed, later calls say so.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.vhost.backend_requests import BackendRequests
from pollmode.vhost.connection import Connection, Watch
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout, RefusedMessage
from pollmode.vhost.memory import MAX_REGIONS
from pollmode.vhost.messages import (
    FLAG_NEED_REPLY,
    LOG_AREA,
    NEEDS,
    REPLY_FLAGS,
    U64,
    VERSION,
    VRING_ADDR,
    VRING_NO_FD,
    VRING_STATE,
    Protocol,
    RegionEntry,
    Request,
    describe,
    pack_region,
    pack_table,
    request_name,
)
from pollmode.vhost.virtqueue import VHOST_USER_F_PROTOCOL_FEATURES, feature_names, features, has

__all__ = ["DRIVER_PROTOCOL_FEATURES", "Frontend", "MemoryRegion"]

DRIVER_PROTOCOL_FEATURES = features(Protocol.MQ, Protocol.REPLY_ACK, Protocol.NET_MTU, Protocol.STATUS)
"""What a driver without further wishes asks for."""
DEFAULT_TIMEOUT = 10.0

log = logs.get("lib.vhost.config")


@dataclass(frozen=True)
class MemoryRegion:
    """Memory to share: `size` bytes at `address` here, `offset` in the file `fd`; `guest_address` as in descriptors."""

    address: int
    size: int
    fd: int
    offset: int
    guest_address: int

    @property
    def entry(self) -> RegionEntry:
        """The region as the wire has it."""
        return RegionEntry(self.guest_address, self.size, self.address, self.offset)


class Frontend:
    """One connection to a back end; owns the socket from its construction on.

    `name` stands in log lines and errors. Raises PeerGone when the back end went away, PeerTimeout when it does not
    answer within `timeout` seconds, MalformedMessage when its answer breaks the protocol, RefusedMessage when it
    answers "no", UnsupportedError for a request whose protocol feature was not negotiated.
    """

    def __init__(self, sock: socket.socket, *, name: str = "vhost-user", timeout: float = DEFAULT_TIMEOUT) -> None:
        self.name = name
        self.timeout = timeout
        self.phase = "connected"
        self.offered = 0
        self.features = 0
        self.protocol_features = 0
        self._connection = Connection(sock, self._check_header)
        self._awaited: tuple[int, int] | None = None
        self._limit: tuple[float, float] | None = None
        self._watch: Callable[[str], None] | None = None
        self._lock = threading.RLock()
        self._backend_requests: BackendRequests | None = None

    # --- life ---------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._connection.fileno()

    def alive(self) -> bool:
        """Tell whether the back end still holds its end open; asks nothing of it, waits for nobody."""
        return self._connection.alive()

    def close(self) -> None:
        """Close the connection and the back end's channel. Closing twice is harmless."""
        with self._lock:
            self._connection.close()
            if self._backend_requests is not None:
                self._backend_requests.close()

    @contextmanager
    def within(self, seconds: float, watch: Callable[[str], None] | None = None) -> Iterator[None]:
        """Have all requests of this block together take no longer than `seconds`; the one that would times out.

        `watch(request)` is called some ten times a second while one is waited for; what it raises ends the wait.
        """
        before = self._limit, self._watch
        self._limit, self._watch = (seconds, time.monotonic() + seconds), watch
        try:
            yield
        finally:
            self._limit, self._watch = before

    def give_up(self) -> bool:
        """End the wait for an answer in another thread: its request raises PeerGone. False when nobody waits."""
        waiting = self._awaited is not None
        if waiting:
            self._connection.shut_down()
        return waiting

    def negotiate(self, wanted_protocol_features: int = DRIVER_PROTOCOL_FEATURES) -> int:
        """Become the owner, read the features on offer, settle the protocol features. Return the features on offer.

        What the driver then chooses of them goes back with `set_features`.
        """
        self.set_owner()
        offered = self.get_features()
        if has(offered, VHOST_USER_F_PROTOCOL_FEATURES):
            self.set_protocol_features(self.get_protocol_features() & wanted_protocol_features)
        return offered

    # --- messages -----------------------------------------------------------------------------------------------

    def _fail(self, error: PollmodeError, text: str) -> PollmodeError:
        self.close()
        told = type(error)(f"{self.name}: {error}; phase: {self.phase}; message {text}")
        log.error(str(told))
        return told

    def _check_header(self, request: int, flags: int, size: int) -> None:
        awaited = self._awaited
        text = describe(request, flags, b"", 0)
        if awaited is None or request != awaited[0] or flags != REPLY_FLAGS:
            raise MalformedMessage(f"the back end says {text} (flags {flags:#x}), which nobody asked for", word=request)
        if size != awaited[1]:
            raise MalformedMessage(f"the answer has {size} bytes, not {awaited[1]}", word=size)

    def _request(self, request: Request, payload: bytes = b"", fds: Sequence[int] = (), reply_size: int = 0) -> bytes:
        """Send a request; wait for its answer of `reply_size` bytes, or for its acknowledgement where negotiated."""
        need = NEEDS.get(request)
        if need is not None and not has(self.protocol_features, need):
            raise UnsupportedError(f"{self.name}: {request.name} needs {need.name}, which the back end did not offer")
        ack = not reply_size and has(self.protocol_features, Protocol.REPLY_ACK)
        flags = VERSION | (FLAG_NEED_REPLY if ack else 0)
        text = describe(request, flags, payload, len(fds))
        with self._lock:
            if self.fileno() < 0:
                raise PeerGone(f"{self.name}: {request.name}: the connection is closed; phase reached: {self.phase}")
            log.debug(f"{self.name}: {self.phase}: sending {text}")
            try:
                self._connection.send(request, flags, payload, fds, self._patience(), self._watch_for(request))
                return self._answer(request, U64.size if ack else reply_size, ack)
            except RefusedMessage as error:
                raise RefusedMessage(f"{self.name}: {error}; phase: {self.phase}; message {text}") from error
            except PollmodeError as error:
                raise self._fail(error, text) from error

    def _patience(self) -> float:
        if self._limit is None:
            return self.timeout
        return min(self.timeout, max(self._limit[1] - time.monotonic(), 0))

    def _watch_for(self, request: Request) -> Watch | None:
        watch = self._watch
        return None if watch is None else lambda: watch(request.name)

    def _answer(self, request: Request, size: int, ack: bool) -> bytes:
        if not size:
            return b""
        self._awaited = (request, size)
        try:
            message = self._connection.receive_within(self._patience(), self._watch_for(request))
        except PeerTimeout:
            if self._limit is None or self.timeout < self._limit[0]:
                raise
            raise PeerTimeout(f"no answer within the {self._limit[0]:.3g} s of all requests together") from None
        finally:
            self._awaited = None
        with message:
            log.debug(f"{self.name}: {self.phase}: received {message}")
            if message.fds:
                raise MalformedMessage(f"{len(message.fds)} descriptors came with the answer; none belongs there")
            if ack and U64.unpack(message.payload)[0] != 0:
                raise RefusedMessage("the back end answered no")
            return message.payload

    def _get(self, request: Request) -> int:
        return int(U64.unpack(self._request(request, reply_size=U64.size))[0])

    def _set(self, request: Request, value: int) -> None:
        self._request(request, U64.pack(value))

    def _set_state(self, request: Request, index: int, value: int) -> None:
        self._request(request, VRING_STATE.pack(index, value))

    def _set_file(self, request: Request, index: int, fd: int) -> None:
        word = index if fd >= 0 else index | VRING_NO_FD
        self._request(request, U64.pack(word), [fd] if fd >= 0 else [])

    # --- features and device -------------------------------------------------------------------------------------

    def set_owner(self) -> None:
        """Start the session."""
        self._request(Request.SET_OWNER)
        self.phase = "owner set"

    def reset_owner(self) -> None:
        """Have the back end forget rings, memory and features (an old message; see `reset_device`)."""
        self._request(Request.RESET_OWNER)
        self.phase = "owner reset"

    def reset_device(self) -> None:
        """Have the back end reset its device state."""
        self._request(Request.RESET_DEVICE)
        self.phase = "device reset"

    def get_features(self) -> int:
        """Return the feature bits on offer."""
        self.offered = self._get(Request.GET_FEATURES)
        self.phase = "features read"
        return self.offered

    def set_features(self, word: int) -> None:
        """Choose features. Raises UnsupportedError, naming them, for bits that are not on offer."""
        missing = word & ~self.offered
        if missing:
            raise UnsupportedError(f"{self.name}: the back end does not offer {feature_names(missing)}")
        self._set(Request.SET_FEATURES, word)
        self.features = word
        self.phase = "features set"

    def get_protocol_features(self) -> int:
        """Return the protocol features on offer."""
        word = self._get(Request.GET_PROTOCOL_FEATURES)
        self.phase = "protocol features read"
        return word

    def set_protocol_features(self, word: int) -> None:
        """Choose protocol features; from here on REPLY_ACK counts, if it is among them."""
        self._set(Request.SET_PROTOCOL_FEATURES, word)
        self.protocol_features = word
        self.phase = "protocol features set"

    def get_queue_num(self) -> int:
        """Return how many queue pairs the back end has; 1 when it does not know MQ."""
        return self._get(Request.GET_QUEUE_NUM) if has(self.protocol_features, Protocol.MQ) else 1

    def set_status(self, status: int) -> bool:
        """Tell the device status; False when the back end does not take it (STATUS was not negotiated)."""
        if not has(self.protocol_features, Protocol.STATUS):
            return False
        self._set(Request.SET_STATUS, status)
        self.phase = f"device status {status:#x}"
        return True

    def get_status(self) -> int:
        """Return the device status as the back end has it."""
        return self._get(Request.GET_STATUS)

    def set_mtu(self, mtu: int) -> None:
        """Announce the MTU. Raises RefusedMessage when the back end does not take it (it acknowledges, if it can)."""
        self._set(Request.NET_SET_MTU, mtu)

    def send_rarp(self, mac: bytes) -> None:
        """Ask the back end to announce this address to the network."""
        if len(mac) != 6:
            raise ConfigError(f"a MAC address has 6 bytes, not {len(mac)}")
        self._set(Request.SEND_RARP, int.from_bytes(mac, "little"))

    # --- memory ---------------------------------------------------------------------------------------------------

    def set_mem_table(self, regions: Sequence[MemoryRegion]) -> None:
        """Share memory, one descriptor a region. Raises ConfigError for no region or more than eight."""
        if not 1 <= len(regions) <= MAX_REGIONS:
            raise ConfigError(
                f"{self.name}: {len(regions)} memory regions; a vhost-user back end takes 1 to {MAX_REGIONS}: "
                "use fewer, larger files (--single-file-segments)"
            )
        self._request(Request.SET_MEM_TABLE, pack_table([r.entry for r in regions]), [r.fd for r in regions])
        self.phase = "memory shared"

    def get_max_mem_slots(self) -> int:
        """Return how many regions `add_mem_region` may make."""
        return self._get(Request.GET_MAX_MEM_SLOTS)

    def add_mem_region(self, region: MemoryRegion) -> None:
        """Share one region more."""
        self._request(Request.ADD_MEM_REG, pack_region(region.entry), [region.fd])

    def remove_mem_region(self, region: MemoryRegion) -> None:
        """Take a region back."""
        self._request(Request.REM_MEM_REG, pack_region(region.entry))

    def set_log_base(self, fd: int, size: int, offset: int = 0) -> None:
        """Share the area in which the back end marks written pages."""
        self._request(Request.SET_LOG_BASE, LOG_AREA.pack(size, offset), [fd], reply_size=U64.size)

    # --- rings ----------------------------------------------------------------------------------------------------

    def set_vring_num(self, index: int, num: int) -> None:
        """Tell a ring's size."""
        self._set_state(Request.SET_VRING_NUM, index, num)
        self.phase = f"ring {index} sized"

    def set_vring_base(self, index: int, base: int) -> None:
        """Tell the available index a ring begins with."""
        self._set_state(Request.SET_VRING_BASE, index, base)

    def set_vring_addr(
        self, index: int, *, desc: int, avail: int, used: int, log_address: int = 0, flags: int = 0
    ) -> None:
        """Tell where a ring's parts are, as addresses in this process."""
        self._request(Request.SET_VRING_ADDR, VRING_ADDR.pack(index, flags, desc, used, avail, log_address))
        self.phase = f"ring {index} placed"

    def set_vring_kick(self, index: int, fd: int) -> None:
        """Give the eventfd of a ring's kicks, -1 for none (the back end polls); the ring starts."""
        self._set_file(Request.SET_VRING_KICK, index, fd)
        self.phase = f"ring {index} started"

    def set_vring_call(self, index: int, fd: int) -> None:
        """Give the eventfd of a ring's interrupts, -1 for none."""
        self._set_file(Request.SET_VRING_CALL, index, fd)

    def set_vring_err(self, index: int, fd: int) -> None:
        """Give the eventfd of a ring's errors, -1 for none."""
        self._set_file(Request.SET_VRING_ERR, index, fd)

    def set_vring_enable(self, index: int, enable: bool) -> None:
        """Enable or disable a ring; does nothing without protocol features, where rings start enabled."""
        if has(self.features, VHOST_USER_F_PROTOCOL_FEATURES):
            self._set_state(Request.SET_VRING_ENABLE, index, int(enable))
            self.phase = f"ring {index} {'enabled' if enable else 'disabled'}"

    def get_vring_base(self, index: int) -> int:
        """Stop a ring; return the available index that the back end would have taken next."""
        answer = self._request(Request.GET_VRING_BASE, VRING_STATE.pack(index, 0), reply_size=VRING_STATE.size)
        told, base = VRING_STATE.unpack(answer)
        if told != index or base > 0xFFFF:
            text = f"{request_name(Request.GET_VRING_BASE)}(index={index})"
            raise self._fail(MalformedMessage(f"the answer is ring {told}, base {base:#x}", queue=index), text)
        self.phase = f"ring {index} stopped"
        return int(base)

    # --- the back end's own requests --------------------------------------------------------------------------------

    def open_backend_requests(self) -> BackendRequests:
        """Give the back end a channel for its own requests; read it with the object returned."""
        ours, theirs = socket.socketpair()
        channel = BackendRequests(ours, self.name)
        try:
            self._request(Request.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        except BaseException:
            channel.close()
            raise
        finally:
            theirs.close()
        if self._backend_requests is not None:
            self._backend_requests.close()
        self._backend_requests = channel
        return channel
