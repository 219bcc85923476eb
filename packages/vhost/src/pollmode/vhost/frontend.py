# SPDX-License-Identifier: BSD-3-Clause
"""The front end's half of vhost-user: what a virtio-user driver says to a back end, and what it accepts as answers.

Requests wait for their answer with a time limit, so a Frontend belongs to a control thread, never to the interrupt
thread that may be serving the back end of the same process. Every error names the phase of the handshake that was
reached and the message. After an error the stream is out of step: the connection is closed, later calls say so.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.vhost.asking import DEFAULT_TIMEOUT, Asker
from pollmode.vhost.backend_requests import BackendRequests
from pollmode.vhost.faults import MalformedMessage, RefusedMessage
from pollmode.vhost.memory import MAX_REGIONS
from pollmode.vhost.messages import (
    LOG_AREA,
    U64,
    VRING_ADDR,
    VRING_NO_FD,
    VRING_STATE,
    Protocol,
    RegionEntry,
    Request,
    pack_region,
    pack_table,
    request_name,
    unpack_table,
)
from pollmode.vhost.virtqueue import VHOST_USER_F_PROTOCOL_FEATURES, feature_names, features, has

__all__ = ["DRIVER_PROTOCOL_FEATURES", "Frontend", "MemoryRegion"]

DRIVER_PROTOCOL_FEATURES = features(Protocol.MQ, Protocol.REPLY_ACK, Protocol.NET_MTU, Protocol.STATUS)
"""What a driver without further wishes asks for."""


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


class Frontend(Asker):
    """What a driver says to a back end; owns the socket from its construction on. `Asker` tells what it raises."""

    def __init__(self, sock: socket.socket, *, name: str = "vhost-user", timeout: float = DEFAULT_TIMEOUT) -> None:
        super().__init__(sock, name=name, timeout=timeout)
        self.offered = 0
        self.features = 0
        self._backend_requests: BackendRequests | None = None

    def close(self) -> None:
        """Close the connection and the back end's channel. Closing twice is harmless."""
        with self._lock:
            super().close()
            if self._backend_requests is not None:
                self._backend_requests.close()

    def negotiate(self, wanted_protocol_features: int = DRIVER_PROTOCOL_FEATURES) -> int:
        """Become the owner, read the features on offer, settle the protocol features. Return the features on offer.

        What the driver then chooses of them goes back with `set_features`.
        """
        self.set_owner()
        offered = self.get_features()
        if has(offered, VHOST_USER_F_PROTOCOL_FEATURES):
            self.set_protocol_features(self.get_protocol_features() & wanted_protocol_features)
        return offered

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

    # --- post-copy ------------------------------------------------------------------------------------------------

    def postcopy_advise(self) -> int:
        """Announce a post-copy migration; return the back end's userfaultfd, which is the caller's."""
        fds: list[int] = []
        self._request(Request.POSTCOPY_ADVISE, reply_size=0, reply_fds=fds)
        return fds[0]

    def postcopy_listen(self) -> None:
        """Have the memory that is shared from now on be watched: the userfaultfd is served from here."""
        self._request(Request.POSTCOPY_LISTEN)

    def postcopy_share(self, regions: Sequence[MemoryRegion]) -> list[int]:
        """Share memory whose pages may be missing; return where the back end mapped each region."""
        entries = [region.entry for region in regions]
        table = pack_table(entries)
        answer = self._request(Request.SET_MEM_TABLE, table, [r.fd for r in regions], reply_size=len(table))
        told = unpack_table(answer)
        if [replace(entry, user_address=0) for entry in told] != [replace(entry, user_address=0) for entry in entries]:
            error = MalformedMessage("the answer tells other memory regions than were shared")
            raise self._fail(error, request_name(Request.SET_MEM_TABLE))
        self._request(Request.SET_MEM_TABLE, U64.pack(0), quiet=True)
        self.phase = "memory shared for post-copy"
        return [entry.user_address for entry in told]

    def postcopy_end(self) -> None:
        """All pages are there: the back end watches no more. Raises RefusedMessage when it answers no."""
        if U64.unpack(self._request(Request.POSTCOPY_END, reply_size=U64.size))[0]:
            raise RefusedMessage(f"{self.name}: the back end answered no to the end of post-copy")

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
