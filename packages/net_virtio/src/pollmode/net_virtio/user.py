# SPDX-License-Identifier: BSD-3-Clause
"""virtio-user's transport: a vhost-user connection as client or server, and a virtio device brought up over it.

Each device has one thread that waits for a peer to come (server) and to go. It is not the interrupt thread: a request
waits for its answer, and in a process that holds both ends the interrupt thread is who answers.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError, HostError, PollmodeError, UnsupportedError
from pollmode.eal.stopper import stop_requested
from pollmode.vhost.faults import PeerTimeout, WaitInterrupted
from pollmode.vhost.frontend import Frontend, MemoryRegion
from pollmode.vhost.server import Listener, connect
from pollmode.vhost.virtqueue import (
    STATUS_ACKNOWLEDGE,
    STATUS_DRIVER,
    STATUS_DRIVER_OK,
    STATUS_FEATURES_OK,
    STATUS_RESET,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_NET_F_MQ,
    features,
    has,
)

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Region

    from .queue import VirtQueue

__all__ = ["Peer", "Transport", "check_pairs"]

log = logs.get("pmd.net.virtio.driver")

_START_SECONDS = 10.0  # for all answers of a back end together: when it is met, and when the port starts
_TELL_SECONDS = 1.0
_PATIENCE = 2.0  # seconds that a back end which does not answer may hold up who stops or closes the port
_JOIN_SECONDS = 20.0  # for what is under way beside requests: functions that are being compiled
_PAUSE_MS = 1000


@dataclass(frozen=True)
class Peer:
    """What a back end offers: feature bits, and how many queue pairs it has."""

    features: int
    pairs: int


class Transport:
    """The vhost-user connection of one device.

    `lock` guards it and whoever uses it. On the transport's thread `on_peer()` and `on_lost()` are called with the lock
    held, when a back end has come (server mode) and when it has gone, and `on_change()` after either, without the lock.
    `peer` is the present back end, or None. Raises ConfigError and HostError when nobody listens at `path` (client) or
    the path can't be listened at (server).
    """

    def __init__(
        self,
        name: str,
        path: str,
        server: bool,
        *,
        on_peer: Callable[[], None],
        on_lost: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self.lock = threading.RLock()
        self.name = name
        self.path = path
        self.server = server
        self.peer: Peer | None = None
        self._on_peer, self._on_lost, self._on_change = on_peer, on_lost, on_change
        self._frontend: Frontend | None = None
        self._closing = False
        self._listener = Listener(path) if server else None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        try:
            if not server:
                self.connect()
            else:
                log.info(f"{name}: waiting for a vhost back end to connect to {path!r}")
            self._thread.start()
        except BaseException:
            os.close(self._wake)
            raise

    # The connection.

    def connect(self) -> None:
        """Connect to the back end again, unless it is there. Raises HostError when nobody listens (client mode)."""
        if self.peer is not None and self._frontend is not None and self._frontend.alive():
            return
        if self.server:
            return
        self.drop()
        try:
            sock = connect(self.path)
        except HostError as error:
            way_out = "or use server=1, which waits for it"
            raise HostError(f"{self.name}: {error}, {way_out}", errno=error.errno) from None
        self._adopt(sock)

    def _adopt(self, sock: socket.socket) -> None:
        frontend = self._frontend = Frontend(sock, name=self.name)
        try:
            with self._starting(frontend):
                offered = frontend.negotiate()
                frontend.set_status(STATUS_RESET)
                frontend.set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER)
                self.peer = Peer(offered, frontend.get_queue_num())
        except BaseException:
            self.drop()
            raise
        os.eventfd_write(self._wake, 1)

    @contextmanager
    def _starting(self, frontend: Frontend) -> Iterator[None]:
        """Wait for the answers of a start: 10 s for all, told after a second, ended by a signal."""
        began = time.monotonic()
        told = False

        def watch(awaited: str) -> None:
            nonlocal told
            where = f"the vhost back end at {self.path!r} to answer {awaited}"
            if stop_requested():
                raise WaitInterrupted(f"told to stop while waiting for {where}")
            if not told and time.monotonic() - began >= _TELL_SECONDS:
                told = True
                log.notice(f"{self.name}: waiting for {where}, {_START_SECONDS:g} s at most")

        try:
            with frontend.within(_START_SECONDS, watch):
                yield
        except PeerTimeout as error:
            raise PeerTimeout(f"{error}; is what listens at {self.path!r} a vhost-user back end?") from None

    def alive(self) -> bool:
        """Tell whether a back end is connected."""
        return self.peer is not None

    def drop(self) -> None:
        """Close the connection, if there is one."""
        frontend, self._frontend, self.peer = self._frontend, None, None
        if frontend is not None:
            frontend.close()
            os.eventfd_write(self._wake, 1)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Hold `lock` to stop the rings. A back end whose answer the lock's holder awaits is dropped after 2 s."""
        while not self.lock.acquire(timeout=_PATIENCE):
            self._give_up()
        try:
            yield
        finally:
            self.lock.release()

    def _give_up(self) -> None:
        frontend = self._frontend
        if frontend is not None and frontend.give_up():
            log.warning(
                f"{self.name}: the vhost back end at {self.path!r} did not answer within {_PATIENCE:g} s "
                "while the port is to stop; it is dropped"
            )

    def close(self) -> None:
        """Close everything and end the thread. Closing twice is harmless. Not while holding what callbacks lock."""
        if self._closing:
            return
        self._closing = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)
            self._give_up()
            self._thread.join(_JOIN_SECONDS)
        if self._listener is not None:
            self._listener.close()
        with self.lock:
            self.drop()
        if not self._thread.is_alive():
            os.close(self._wake)

    # The thread.

    def _watch(self) -> None:
        while not self._closing:
            frontend = self._frontend
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            fd = frontend.fileno() if frontend is not None else -1
            if fd >= 0:
                poll.register(fd, select.POLLRDHUP)
            elif self._listener is not None:
                poll.register(self._listener.fileno(), select.POLLIN)
            ready = {number for number, _ in poll.poll()}
            if self._wake in ready:
                os.eventfd_read(self._wake)
            elif fd < 0 and ready:
                self._welcome()
            elif ready and frontend is not None:
                self._lose(frontend)

    def _lose(self, frontend: Frontend) -> None:
        way_out = "waiting for it to come back"
        if not self.server:
            way_out = (
                "client mode does not connect again: start the back end, then stop and start the port, or use server=1"
            )
        with self.lock:
            if self._frontend is not frontend:
                return
            log.warning(f"{self.name}: the vhost back end at {self.path!r} went away; {way_out}")
            self._on_lost()
            self.drop()
        self._on_change()

    def _welcome(self) -> None:
        sock = self._listener.accept(0) if self._listener is not None else None
        if sock is None:
            # Out of descriptors, most likely. The connection stays in the queue and would wake this thread for ever.
            pause = select.poll()
            pause.register(self._wake, select.POLLIN)
            pause.poll(_PAUSE_MS)
            return
        with self.lock:
            try:
                self._adopt(sock)
                self._on_peer()
            except PollmodeError as error:
                log.error(f"{self.name}: the vhost back end that came is sent away: {error}")
                self._on_lost()
                self.drop()
        self._on_change()

    # The device.

    def bring_up(self, chosen: int, memory: Memory, queues: Sequence[VirtQueue]) -> None:
        """Choose features, share memory, start the rings and let the device run. Raises what the peer answers."""
        frontend = self._present()
        if has(frontend.offered, VHOST_USER_F_PROTOCOL_FEATURES):
            chosen |= features(VHOST_USER_F_PROTOCOL_FEATURES)
        status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK
        with self._starting(frontend):
            frontend.set_features(chosen)
            frontend.set_status(status)
            frontend.set_mem_table([_shared(region) for region in memory.regions()])
            for queue in queues:
                frontend.set_vring_num(queue.index, queue.entries)
                frontend.set_vring_base(queue.index, 0)
                frontend.set_vring_addr(queue.index, desc=queue.desc, avail=queue.avail, used=queue.used)
                frontend.set_vring_call(queue.index, queue.call_fd)
                frontend.set_vring_kick(queue.index, queue.kick_fd)
            for queue in queues:
                frontend.set_vring_enable(queue.index, True)
            frontend.set_status(status | STATUS_DRIVER_OK)

    def bring_down(self, queues: Sequence[VirtQueue]) -> None:
        """Stop the rings, so that the device touches no buffer any more. A peer that fails in it, or takes longer
        than 2 s, is dropped.
        """
        frontend = self._frontend
        if frontend is None:
            return
        try:
            with frontend.within(_PATIENCE):
                for queue in queues:
                    frontend.set_vring_enable(queue.index, False)
                for queue in queues:
                    frontend.get_vring_base(queue.index)
                frontend.set_status(STATUS_RESET)
                frontend.set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER)
        except PollmodeError as error:
            log.warning(f"{self.name}: the vhost back end did not stop its rings: {error}")
            self.drop()

    def _present(self) -> Frontend:
        if self._frontend is None:
            raise HostError(f"{self.name}: no vhost back end is connected at {self.path!r}")
        return self._frontend


def _shared(region: Region) -> MemoryRegion:
    # virtio-user's guest addresses are this process's own (DPDK does the same), so a descriptor holds a plain address.
    return MemoryRegion(region.address, region.size, region.fd, region.fd_offset, region.address)


def check_pairs(name: str, peer: Peer, wanted: int) -> None:
    """Raise UnsupportedError or ConfigError when the back end can't have that many queue pairs."""
    if wanted <= 1:
        return
    if not has(peer.features, VIRTIO_NET_F_MQ):
        raise UnsupportedError(
            f"{name}: queues={wanted} needs VIRTIO_NET_F_MQ (bit {VIRTIO_NET_F_MQ}), which the back end does not offer"
        )
    if wanted > peer.pairs:
        raise ConfigError(f"{name}: queues={wanted}, but the back end has {peer.pairs} queue pairs; give it as many")
