# SPDX-License-Identifier: BSD-3-Clause
"""What each message does to a session: one function a message, which checks all of it before it changes anything.

A handler returns the payload of its reply (or payload and descriptors), or None for a message without one. It raises
MalformedMessage for what breaks the protocol and RefusedMessage for what is well-formed and not granted.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pollmode.vhost import iotlb, postcopy
from pollmode.vhost.connection import Connection, Message
from pollmode.vhost.faults import MalformedMessage, RefusedMessage
from pollmode.vhost.iotlb import Iotlb
from pollmode.vhost.memory import ADDRESS_LIMIT
from pollmode.vhost.memory_handlers import MEMORY_HANDLERS
from pollmode.vhost.messages import (
    MAX_MTU,
    MIN_MTU,
    U64,
    VRING_ADDR,
    VRING_INDEX_MASK,
    VRING_NO_FD,
    VRING_STATE,
    Request,
    protocol_names,
)
from pollmode.vhost.virtqueue import (
    INDEX_MASK,
    MAX_QUEUE_SIZE,
    STATUS_RESET,
    VHOST_F_LOG_ALL,
    VIRTIO_F_IOMMU_PLATFORM,
    feature_names,
    features,
    has,
    valid_size,
)
from pollmode.vhost.vring import Vring, check_eventfd

if TYPE_CHECKING:
    from pollmode.vhost.session import Session

    Handler = Callable[[Session, Message], bytes | tuple[bytes, Sequence[int]] | None]

__all__ = ["HANDLERS", "preparation"]

_VRING_F_LOG = 1
_MAC_MASK = (1 << 48) - 1


def _u64(message: Message) -> int:
    return int(U64.unpack(message.payload)[0])


def _nothing(session: Session, message: Message) -> None:
    """SET_OWNER: the connection itself says who the owner is. SET_LOG_FD: nobody waits for our log writes."""


def _get_features(session: Session, message: Message) -> bytes:
    return U64.pack(session.owner.features)


def _set_features(session: Session, message: Message) -> None:
    word = _u64(message)
    extra = word & ~session.owner.features
    if extra:
        raise MalformedMessage(f"features that were not offered: {feature_names(extra)}", word=extra)
    if word == session.features:
        return
    running = any(vring.running for vring in session.vrings.values())
    if running and session.features is not None and (word ^ session.features) & ~features(VHOST_F_LOG_ALL):
        raise MalformedMessage("other features while rings run; only VHOST_F_LOG_ALL may change then", word=word)
    session.stop_rings()
    session.features = word
    session.iotlb = (session.iotlb or Iotlb()) if has(word, VIRTIO_F_IOMMU_PLATFORM) else None
    session.owner.on_features(session, word)
    session.start_rings()


def preparation(session: Session, message: Message) -> Callable[[], None] | None:
    """Return what takes seconds and is done before the message is served, while rings run on; None for nothing."""
    running = any(vring.running for vring in session.vrings.values())
    if message.request != Request.SET_FEATURES or message.fds or not running:
        return None
    word = _u64(message)
    return None if word & ~session.owner.features else session.owner.preparation(session, word)


def _get_protocol_features(session: Session, message: Message) -> bytes:
    return U64.pack(session.owner.protocol_features)


def _set_protocol_features(session: Session, message: Message) -> None:
    word = _u64(message)
    extra = word & ~session.owner.protocol_features
    if extra:
        raise MalformedMessage(f"protocol features that were not offered: {protocol_names(extra)}", word=extra)
    session.protocol_features = word


def _get_queue_num(session: Session, message: Message) -> bytes:
    return U64.pack(session.owner.queue_pairs)


# --- rings ------------------------------------------------------------------------------------------------------------


def _state(session: Session, message: Message) -> tuple[Vring, int]:
    index, number = VRING_STATE.unpack(message.payload)
    return session.vring(index), number


def _set_vring_num(session: Session, message: Message) -> None:
    vring, num = _state(session, message)
    if not valid_size(num):
        raise MalformedMessage(f"a ring of {num} entries; allowed are powers of two up to {MAX_QUEUE_SIZE}", word=num)
    session.stop_ring(vring)
    vring.num = num
    session.start_ring(vring)


def _set_vring_base(session: Session, message: Message) -> None:
    vring, base = _state(session, message)
    if base > INDEX_MASK:
        raise MalformedMessage(f"ring {vring.index} starts at index {base:#x}; an index has 16 bits", word=base)
    session.stop_ring(vring)
    vring.base = base
    session.start_ring(vring)


def _get_vring_base(session: Session, message: Message) -> bytes:
    vring, _ = _state(session, message)
    session.stop_ring(vring)
    # The ring starts again only when it is described and kicked anew; its call descriptor stays, as front ends rely on.
    vring.set_file("kick_fd", -1)
    vring.kicked = False
    vring.user_addresses = None
    return VRING_STATE.pack(vring.index, vring.base)


def _set_vring_addr(session: Session, message: Message) -> None:
    index, flags, desc, used, avail, log_address = VRING_ADDR.unpack(message.payload)
    vring = session.vring(index)
    logged = flags & _VRING_F_LOG
    if logged and log_address >= ADDRESS_LIMIT:
        raise MalformedMessage(f"the used ring of ring {index} is to be logged at {log_address:#x}", word=log_address)
    session.stop_ring(vring)
    vring.user_addresses = (desc, avail, used)
    vring.log_address = log_address if logged else -1
    if vring.num and session.memory and session.iotlb is None:
        vring.locate([mapped.region for mapped in session.memory])
    session.start_ring(vring)


def _set_vring_enable(session: Session, message: Message) -> None:
    vring, enable = _state(session, message)
    if enable > 1:
        raise MalformedMessage(f"ring {vring.index} is to be enabled with {enable}; allowed are 0 and 1", word=enable)
    if not enable:
        session.stop_ring(vring)
    vring.enable = bool(enable)
    session.start_ring(vring)


def _replace_eventfd(session: Session, message: Message, which: str) -> Vring:
    """Give the ring the message names its new descriptor, or none, and return the ring. One that runs goes on."""
    word = _u64(message)
    if word & ~(VRING_INDEX_MASK | VRING_NO_FD):
        raise MalformedMessage(f"{word:#x} has bits beside the ring's index and the no-descriptor bit", word=word)
    vring = session.vring(word & VRING_INDEX_MASK)
    without = bool(word & VRING_NO_FD)
    if len(message.fds) != (0 if without else 1):
        raise MalformedMessage(f"{len(message.fds)} descriptors; the message says {'none' if without else 'one'}")
    if not without:
        check_eventfd(message.fds[0])
    with session.owner.paused(session) if vring.running else nullcontext():
        if not session.closed:  # by a callback: nobody would close it
            vring.set_file(which, message.take_fd())
            if vring.running:
                session.owner.on_vring_file(session, vring)
    return vring


def _set_vring_kick(session: Session, message: Message) -> None:
    vring = _replace_eventfd(session, message, "kick_fd")
    vring.kicked = True
    session.start_ring(vring)


def _set_vring_call(session: Session, message: Message) -> None:
    session.start_ring(_replace_eventfd(session, message, "call_fd"))


def _set_vring_err(session: Session, message: Message) -> None:
    session.start_ring(_replace_eventfd(session, message, "err_fd"))


# --- device -----------------------------------------------------------------------------------------------------------


def _reset_owner(session: Session, message: Message) -> None:
    session.reset_rings()
    session.replace_memory([])
    session.replace_log(None)
    session.features = session.iotlb = None
    session.status = STATUS_RESET


def _reset_device(session: Session, message: Message) -> None:
    session.reset_rings()
    session.status = STATUS_RESET


def _set_status(session: Session, message: Message) -> None:
    status = _u64(message)
    if status > 0xFF:
        raise MalformedMessage(f"device status {status:#x} has more than 8 bits", word=status)
    if status == STATUS_RESET:
        for vring in session.vrings.values():
            session.stop_ring(vring)
            vring.enable = False if vring.enable is not None else None
            vring.kicked = False
    session.status = status
    session.owner.on_status(session, status)


def _get_status(session: Session, message: Message) -> bytes:
    return U64.pack(session.status)


def _send_rarp(session: Session, message: Message) -> None:
    session.owner.on_rarp(session, (_u64(message) & _MAC_MASK).to_bytes(6, "little"))


def _net_set_mtu(session: Session, message: Message) -> None:
    mtu = _u64(message)
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise RefusedMessage(f"MTU {mtu} is outside {MIN_MTU} to {MAX_MTU}")
    if not session.owner.on_mtu(session, mtu):
        raise RefusedMessage(f"MTU {mtu} is refused by {session.name}")
    session.mtu = mtu


def _set_backend_req_fd(session: Session, message: Message) -> None:
    if len(message.fds) != 1:
        raise MalformedMessage("a channel for requests of the back end without its descriptor")
    fd = message.fds[0]
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise MalformedMessage("the channel for requests of the back end is not a socket") from error
    message.take_fd()
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        sock.close()
        raise MalformedMessage("the channel for requests of the back end is not a Unix stream socket")
    session.set_backend_channel(Connection(sock, _no_header))


def _no_header(request: int, flags: int, size: int) -> None:
    raise MalformedMessage("the back end reads nothing from the channel of its own requests")


HANDLERS: dict[int, Handler] = {
    Request.GET_FEATURES: _get_features,
    Request.SET_FEATURES: _set_features,
    Request.SET_OWNER: _nothing,
    Request.RESET_OWNER: _reset_owner,
    Request.SET_LOG_FD: _nothing,
    Request.SET_VRING_NUM: _set_vring_num,
    Request.SET_VRING_ADDR: _set_vring_addr,
    Request.SET_VRING_BASE: _set_vring_base,
    Request.GET_VRING_BASE: _get_vring_base,
    Request.SET_VRING_KICK: _set_vring_kick,
    Request.SET_VRING_CALL: _set_vring_call,
    Request.SET_VRING_ERR: _set_vring_err,
    Request.GET_PROTOCOL_FEATURES: _get_protocol_features,
    Request.SET_PROTOCOL_FEATURES: _set_protocol_features,
    Request.GET_QUEUE_NUM: _get_queue_num,
    Request.SET_VRING_ENABLE: _set_vring_enable,
    Request.SEND_RARP: _send_rarp,
    Request.NET_SET_MTU: _net_set_mtu,
    Request.SET_BACKEND_REQ_FD: _set_backend_req_fd,
    Request.IOTLB_MSG: iotlb.serve,
    **MEMORY_HANDLERS,
    **postcopy.POSTCOPY_HANDLERS,
    Request.RESET_DEVICE: _reset_device,
    Request.SET_STATUS: _set_status,
    Request.GET_STATUS: _get_status,
}
