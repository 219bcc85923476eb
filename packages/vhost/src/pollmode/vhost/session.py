# SPDX-License-Identifier: BSD-3-Clause
"""One front end, served: its socket, its memory, its rings, and the driver that is told about them.

A message is checked in three steps before anything changes: the header before its payload is read, the message
against the negotiated features, its contents in its handler (`handlers.py`). What breaks the protocol closes the
session with a log line that decodes the message; the process and every other session go on.

A ring runs when its size and addresses lie in the front end's memory, features are chosen, its kick was given and it
is enabled. Whatever changes one of these stops it first; a ring that still may run is started again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.vhost.backend import Backend
from pollmode.vhost.connection import Connection, Message
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout, RefusedMessage
from pollmode.vhost.handlers import HANDLERS, preparation
from pollmode.vhost.iotlb import Iotlb, Unknown, ask
from pollmode.vhost.mapping import MappedFile, MappedRegion, unmap
from pollmode.vhost.messages import (
    FLAG_NEED_REPLY,
    FLAG_REPLY,
    NEEDS,
    REFUSED,
    REFUSED_RULE,
    REPLY_FLAGS,
    RULES,
    U64,
    VERSION,
    BackendRequest,
    Protocol,
    describe,
    request_name,
)
from pollmode.vhost.patience import Loop, Patience
from pollmode.vhost.postcopy import PostCopy
from pollmode.vhost.preparing import prepare
from pollmode.vhost.virtqueue import (
    MAX_QUEUE_PAIRS,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_RING_PACKED,
    has,
)
from pollmode.vhost.vring import Vring

__all__ = ["HANDSHAKE_SECONDS", "MESSAGE_SECONDS", "Session"]

HANDSHAKE_SECONDS = 10.0
MESSAGE_SECONDS = 10.0
"""How long a message may take from its first byte to its last."""
_BURST = 64  # messages of one front end before the others have their turn

log = logs.get("lib.vhost.config")


class Session:
    """The protocol's state for one connected front end; owns the socket from its construction on.

    `attach` has an event loop serve it; without, call `receive` whenever the socket is readable. `close` may be
    called from any thread, also from the owner's callbacks. Raises ConfigError or UnsupportedError when the owner
    offers what cannot be offered; the socket is closed then.
    """

    def __init__(self, sock: socket.socket, owner: Backend) -> None:
        self._connection = Connection(sock, self._check_header)
        try:
            _check_offer(owner)
        except PollmodeError:
            self._connection.close()
            raise
        self.owner = owner
        self.name = owner.name
        self.features: int | None = None
        self.protocol_features = 0
        self.status = 0
        self.mtu = 0
        self.vrings: dict[int, Vring] = {}
        self.memory: list[MappedRegion] = []
        self.dirty_log: MappedFile | None = None
        self.iotlb: Iotlb | None = None  # only with VIRTIO_F_IOMMU_PLATFORM
        self.postcopy = PostCopy()
        self.served = False  # whether a ring ever ran
        self.closed = False
        self._backend_channel: Connection | None = None
        self._lock = threading.RLock()
        self._loop: Loop | None = None
        self._patience = Patience(self._lock, lambda error: self._fail(error, ""))
        self._aside: Message | None = None  # it waits for what is prepared
        self._prepared: Message | None = None  # it is the next to be served
        self._entangled = False  # the owner could not leave a ring: a thread of its may be in its memory for ever

    # --- life ---------------------------------------------------------------------------------------------------

    def attach(
        self, loop: Loop, handshake_seconds: float = HANDSHAKE_SECONDS, message_seconds: float = MESSAGE_SECONDS
    ) -> None:
        """Have `loop` serve this session.

        A peer that says nothing for `handshake_seconds`, or half a message for `message_seconds`, is sent away.
        """
        with self._lock:
            self._loop = loop
            self._patience.begin(loop, handshake_seconds, message_seconds)
            loop.register(self._connection.fileno(), self.receive)

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._connection.fileno()

    def alive(self) -> bool:
        """Tell whether the front end still holds its end; a session whose peer went away is closed by asking."""
        if not self.closed and not self._connection.alive():
            self.receive()
            self.close("the peer closed its end")
        return not self.closed

    def close(self, reason: str = "closed by us") -> None:
        """Stop every ring, unmap the memory, close every descriptor, tell the owner. Closing twice is harmless.

        Waits for a message that is being served: hold no lock that the owner's callbacks take.
        """
        self.postcopy.release()  # before the lock: its holder may wait for a page
        with self._lock:
            if self.closed:
                return
            self.closed = True
            loop, self._loop = self._loop, None
        if loop is not None:
            # Outside the lock: this waits for a call of `receive` that is under way, which may wait for the lock.
            loop.unregister(self._connection.fileno())
            self._patience.end()
        with contextlib.ExitStack() as last:  # each step is done, whatever one before it raised
            last.callback(self.owner.on_closed, self, reason)
            last.callback(log.info, f"{self.name}: vhost-user session ended: {reason}")
            last.enter_context(self._lock)
            last.callback(self._connection.close)
            last.callback(self._release)

    def _release(self) -> None:
        """Give back all that the front end gave; what is given back already is left alone."""
        with contextlib.ExitStack() as last:
            last.callback(self.set_backend_channel, None)
            last.callback(self.postcopy.close)
            last.callback(self.replace_log, None)
            last.callback(self.replace_memory, [])
            last.callback(self.reset_rings)

    # --- messages -----------------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Serve the messages that have arrived. Raises nothing for what a front end may do: it closes the session."""
        with self._lock:
            try:
                for _ in range(_BURST):
                    if self.closed or not self._receive_one():
                        return
            finally:
                if self.closed:  # by a callback within a message, which may have brought more since
                    self._release()

    def _receive_one(self) -> bool:
        text = ""
        try:
            message = self._next()
            if message is None:
                return False
            with message:
                text = str(message)
                log.debug(f"{self.name}: received {text}")
                with self.postcopy.patience():
                    self._serve(message)
        except PollmodeError as error:
            if isinstance(error, PeerGone) and not self._connection.partial:
                self.close(str(error))
            else:
                self._fail(error, text)
        except BaseException:
            self.close(f"an error of ours while serving {text}")
            raise
        return not self.closed

    def _next(self) -> Message | None:
        """Return the message to be served next; None while it is not there, or set aside."""
        if self._aside is not None:
            return None
        message, self._prepared = self._prepared, None
        if message is None:
            message = self._connection.receive()
            self._patience.note(whole=message is not None, partial=self._connection.partial)
            work = preparation(self, message) if message is not None else None
            if work is not None and self._loop is not None:
                self._loop.unregister(self._connection.fileno())
                self._aside, message = message, None
                prepare(work, self._loop, self._go_on)
        return message

    def _go_on(self) -> None:
        """Serve the message that was set aside, and those behind it."""
        with self._lock:
            self._prepared, self._aside = self._aside, None
            if self._loop is None:
                return
            self._loop.register(self._connection.fileno(), self.receive)
        self.receive()

    def _fail(self, error: PollmodeError, text: str) -> None:
        log.error(f"{self.name}: vhost-user front end sent away: {error}" + (f"; message {text}" if text else ""))
        self.close(str(error))

    def _check_header(self, request: int, flags: int, size: int) -> None:
        text = describe(request, flags, b"", 0)
        if request not in RULES and request not in REFUSED:
            raise MalformedMessage(f"{text} is no vhost-user message", word=request)
        if flags & FLAG_REPLY:
            raise MalformedMessage(f"{text} is marked as a reply", word=flags)
        rule = RULES.get(request, REFUSED_RULE)
        sizes = (U64.size,) if self.postcopy.told is not None else rule.sizes
        if sizes and size not in sizes:
            allowed = " or ".join(map(str, sizes))
            raise MalformedMessage(f"{request_name(request)} has a payload of {size} bytes, not {allowed}", word=size)

    def _serve(self, message: Message) -> None:
        wants_ack = bool(message.flags & FLAG_NEED_REPLY) and has(self.protocol_features, Protocol.REPLY_ACK)
        rule = RULES.get(message.request, REFUSED_RULE)
        if len(message.fds) > rule.fds:
            raise MalformedMessage(f"{len(message.fds)} descriptors; this message brings at most {rule.fds}")
        try:
            self._check_negotiated(message)
            reply = HANDLERS[message.request](self, message)
        except RefusedMessage as error:
            if not wants_ack or rule.replies:
                raise
            log.error(f"{self.name}: refused {message}: {error}")
            self._reply(message, U64.pack(1))
            return
        if isinstance(reply, tuple):
            self._reply(message, *reply)
        elif reply is not None:
            self._reply(message, reply)
        elif wants_ack:
            self._reply(message, U64.pack(0))

    def _check_negotiated(self, message: Message) -> None:
        name = request_name(message.request)
        if message.request in REFUSED:
            raise RefusedMessage(f"{name}: {REFUSED[message.request]} is not supported")
        self.postcopy.check(message)
        need = NEEDS.get(message.request)
        if need is not None and not has(self.protocol_features, need):
            raise MalformedMessage(f"{name} needs protocol feature {need.name}, which was not negotiated")

    def _reply(self, message: Message, payload: bytes, fds: Sequence[int] = ()) -> None:
        if self.closed:  # by a callback, while the message was served
            return
        log.debug(f"{self.name}: answering {describe(message.request, REPLY_FLAGS, payload, len(fds))}")
        self._connection.send(message.request, REPLY_FLAGS, payload, fds)

    # --- rings and memory, for the handlers -----------------------------------------------------------------------

    def vring(self, index: int) -> Vring:
        """Return ring `index`, made on first use. Raises MalformedMessage when the owner has no such ring."""
        limit = 2 * self.owner.queue_pairs
        if index >= limit:
            raise MalformedMessage(
                f"ring {index} does not exist: {self.owner.queue_pairs} queue pairs make {limit} rings", queue=index
            )
        return self.vrings.setdefault(index, Vring(index))

    def stop_ring(self, vring: Vring) -> None:
        """Stop a ring if it runs; its base is then where the owner left off."""
        if vring.running:
            vring.running = False
            try:
                vring.base = self.owner.on_vring_stopped(self, vring) & 0xFFFF
            except BaseException:
                self._entangled = True
                vring.lose_call()
                raise
            finally:
                vring.displace()
            log.info(f"{self.name}: {vring} stopped")

    def start_ring(self, vring: Vring) -> None:
        """Start a ring that may run. Raises MalformedMessage when all is there but its addresses are wrong."""
        enabled = vring.enable
        if enabled is None:  # without protocol features there is no SET_VRING_ENABLE: rings start enabled
            enabled = self.features is not None and not has(self.features, VHOST_USER_F_PROTOCOL_FEATURES)
        complete = vring.num and vring.user_addresses and vring.kicked and self.memory and self.features is not None
        if vring.running or not enabled or not complete:
            return
        try:
            vring.place([mapped.region for mapped in self.memory], self.iotlb)
        except Unknown as unknown:  # its translation will start it
            ask(self, unknown.address, unknown.access)
            return
        vring.running = self.served = True
        log.info(f"{self.name}: {vring} ready")
        self.owner.on_vring_ready(self, vring)

    def stop_rings(self) -> None:
        """Stop every ring that runs, also when stopping one of them raises."""
        with contextlib.ExitStack() as stops:
            for vring in reversed(self.vrings.values()):
                stops.callback(self.stop_ring, vring)

    def start_rings(self) -> None:
        """Start every ring that may run; one whose addresses are outside the memory of now waits, with a warning."""
        for vring in list(self.vrings.values()):
            try:
                self.start_ring(vring)
            except MalformedMessage as error:
                log.warning(f"{self.name}: a ring waits: {error}")

    def reset_rings(self) -> None:
        """Stop and forget every ring; their descriptors are closed."""
        try:
            self.stop_rings()
        finally:
            for vring in self.vrings.values():
                vring.forget()
            self.vrings.clear()

    def replace_memory(self, regions: list[MappedRegion]) -> None:
        """Take these regions as the front end's memory; what is not among them is unmapped. Rings must be stopped."""
        kept = {id(region.file) for region in regions}
        old, self.memory = self.memory, regions
        if self.iotlb is not None:
            self.iotlb.clear()  # of addresses that lie elsewhere now
        try:
            self.postcopy.watch(regions)
        finally:
            unmap([region for region in old if id(region.file) not in kept], entangled=self._entangled)

    def replace_log(self, area: MappedFile | None) -> None:
        """Take this area as the dirty log; the one before is unmapped. Rings must be stopped."""
        old, self.dirty_log = self.dirty_log, area
        if old is not None:
            old.close(entangled=self._entangled)

    # --- requests of ours -----------------------------------------------------------------------------------------

    def set_backend_channel(self, channel: Connection | None) -> None:
        """Take a socket to the front end for our own requests; the one before is closed."""
        old, self._backend_channel = self._backend_channel, channel
        if old is not None:
            old.close()

    def notify_config_change(self) -> bool:
        """Tell the front end that the device's configuration changed; False when it gave us no channel for that."""
        return self.tell_front_end(BackendRequest.CONFIG_CHANGE_MSG)

    def tell_front_end(self, request: BackendRequest, payload: bytes = b"") -> bool:
        """Send a request of ours that has no answer; False when the front end gave us no channel for that."""
        with self._lock:
            if self._backend_channel is None:
                return False
            try:
                self._backend_channel.send(request, VERSION, payload)
            except (PeerGone, PeerTimeout) as error:
                log.warning(f"{self.name}: the channel for our requests is lost: {error}")
                self.set_backend_channel(None)
                return False
            return True


def _check_offer(owner: Backend) -> None:
    if not 1 <= owner.queue_pairs <= MAX_QUEUE_PAIRS:
        raise ConfigError(f"{owner.name}: queue pairs are 1 to {MAX_QUEUE_PAIRS}, not {owner.queue_pairs}")
    if has(owner.protocol_features, Protocol.PAGEFAULT) and has(owner.protocol_features, Protocol.CONFIGURE_MEM_SLOTS):
        raise UnsupportedError(f"{owner.name}: PAGEFAULT is not supported together with CONFIGURE_MEM_SLOTS")
    if has(owner.features, VIRTIO_F_RING_PACKED):
        raise UnsupportedError(f"{owner.name}: packed rings (VIRTIO_F_RING_PACKED) are not supported by this back end")
