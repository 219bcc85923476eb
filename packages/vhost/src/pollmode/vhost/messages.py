# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user messages: numbers, payloads, how many descriptors come with each, and their text for logs.

Names are those of QEMU's "Vhost-user Protocol" document; a message is header (request, flags, size), payload, and
descriptors beside its first byte. All words are little-endian here: the protocol uses the host's order.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from pollmode.vhost.faults import MalformedMessage
from pollmode.vhost.memory import MAX_REGIONS

HEADER = struct.Struct("<III")
VERSION = 1
VERSION_MASK = 0x3
FLAG_REPLY = 0x4
FLAG_NEED_REPLY = 0x8
REPLY_FLAGS = VERSION | FLAG_REPLY

U64 = struct.Struct("<Q")
VRING_STATE = struct.Struct("<II")  # index, number
VRING_ADDR = struct.Struct("<IIQQQQ")  # index, flags, descriptors, used, available, log
MEMORY_HEAD = struct.Struct("<II")  # regions, padding
MEMORY_REGION = struct.Struct("<QQQQ")  # guest address, size, user address, offset in the file
SINGLE_REGION = struct.Struct("<Q")  # padding before one region
LOG_AREA = struct.Struct("<QQ")  # size, offset in the file
IOTLB = struct.Struct("<QQQBB6x")  # I/O virtual address, size, user address, access, type

MAX_FDS = MAX_REGIONS
MAX_PAYLOAD = 1024  # larger than every networking message; nothing longer is read
VRING_INDEX_MASK = 0xFF
VRING_NO_FD = 0x100
MIN_MTU, MAX_MTU = 68, 65535


class Request(enum.IntEnum):
    """What the front end asks of the back end."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


class BackendRequest(enum.IntEnum):
    """What the back end asks of the front end, on a channel of its own."""

    IOTLB_MSG = 1
    CONFIG_CHANGE_MSG = 2
    VRING_HOST_NOTIFIER_MSG = 3


class Protocol(enum.IntEnum):
    """Protocol features, by bit number."""

    MQ = 0
    LOG_SHMFD = 1
    RARP = 2
    REPLY_ACK = 3
    NET_MTU = 4
    BACKEND_REQ = 5
    CROSS_ENDIAN = 6
    CRYPTO_SESSION = 7
    PAGEFAULT = 8
    CONFIG = 9
    BACKEND_SEND_FD = 10
    HOST_NOTIFIER = 11
    INFLIGHT_SHMFD = 12
    RESET_DEVICE = 13
    INBAND_NOTIFICATIONS = 14
    CONFIGURE_MEM_SLOTS = 15
    STATUS = 16


def protocol_names(word: int) -> str:
    """Return the names of a protocol feature word's bits, joined by spaces."""
    known = {int(feature): feature.name for feature in Protocol}
    return " ".join(known.get(bit, f"bit{bit}") for bit in range(64) if word >> bit & 1) or "none"


REFUSED: dict[int, str] = {
    Request.SET_VRING_ENDIAN: "cross-endian legacy guests",
    Request.GET_CONFIG: "a configuration space on the back end's side",
    Request.SET_CONFIG: "a configuration space on the back end's side",
    Request.CREATE_CRYPTO_SESSION: "crypto devices",
    Request.CLOSE_CRYPTO_SESSION: "crypto devices",
    Request.GET_INFLIGHT_FD: "tracking of requests in flight",
    Request.SET_INFLIGHT_FD: "tracking of requests in flight",
    Request.GPU_SET_SOCKET: "GPU devices",
    Request.VRING_KICK: "in-band notifications",
}
"""Messages that are known and not supported, and what they would have served."""


@dataclass(frozen=True)
class Rule:
    """What a well-formed request looks like: allowed payload sizes, most descriptors, and whether it has a reply."""

    sizes: tuple[int, ...]
    fds: int = 0
    replies: bool = False


TABLE_SIZES = tuple(MEMORY_HEAD.size + MEMORY_REGION.size * count for count in range(1, MAX_REGIONS + 1))
ONE_REGION = SINGLE_REGION.size + MEMORY_REGION.size

RULES: dict[int, Rule] = {
    Request.GET_FEATURES: Rule((0,), replies=True),
    Request.SET_FEATURES: Rule((U64.size,)),
    Request.SET_OWNER: Rule((0,)),
    Request.RESET_OWNER: Rule((0,)),
    Request.SET_MEM_TABLE: Rule(TABLE_SIZES, fds=MAX_REGIONS),
    Request.SET_LOG_BASE: Rule((LOG_AREA.size,), fds=1, replies=True),
    Request.SET_LOG_FD: Rule((0, U64.size), fds=1),
    Request.SET_VRING_NUM: Rule((VRING_STATE.size,)),
    Request.SET_VRING_ADDR: Rule((VRING_ADDR.size,)),
    Request.SET_VRING_BASE: Rule((VRING_STATE.size,)),
    Request.GET_VRING_BASE: Rule((VRING_STATE.size,), replies=True),
    Request.SET_VRING_KICK: Rule((U64.size,), fds=1),
    Request.SET_VRING_CALL: Rule((U64.size,), fds=1),
    Request.SET_VRING_ERR: Rule((U64.size,), fds=1),
    Request.GET_PROTOCOL_FEATURES: Rule((0,), replies=True),
    Request.SET_PROTOCOL_FEATURES: Rule((U64.size,)),
    Request.GET_QUEUE_NUM: Rule((0,), replies=True),
    Request.SET_VRING_ENABLE: Rule((VRING_STATE.size,)),
    Request.SEND_RARP: Rule((U64.size,)),
    Request.NET_SET_MTU: Rule((U64.size,)),
    Request.SET_BACKEND_REQ_FD: Rule((0,), fds=1),
    Request.IOTLB_MSG: Rule((IOTLB.size,)),
    Request.POSTCOPY_ADVISE: Rule((0,), replies=True),
    Request.POSTCOPY_LISTEN: Rule((0,)),
    Request.POSTCOPY_END: Rule((0,), replies=True),
    Request.RESET_DEVICE: Rule((0,)),
    Request.GET_MAX_MEM_SLOTS: Rule((0,), replies=True),
    Request.ADD_MEM_REG: Rule((ONE_REGION,), fds=1),
    Request.REM_MEM_REG: Rule((ONE_REGION,), fds=1),
    Request.SET_STATUS: Rule((U64.size,)),
    Request.GET_STATUS: Rule((0,), replies=True),
}
REFUSED_RULE = Rule((), fds=MAX_FDS)

NEEDS: dict[int, Protocol] = {
    Request.SET_LOG_BASE: Protocol.LOG_SHMFD,
    Request.SEND_RARP: Protocol.RARP,
    Request.NET_SET_MTU: Protocol.NET_MTU,
    Request.SET_BACKEND_REQ_FD: Protocol.BACKEND_REQ,
    Request.POSTCOPY_ADVISE: Protocol.PAGEFAULT,
    Request.POSTCOPY_LISTEN: Protocol.PAGEFAULT,
    Request.POSTCOPY_END: Protocol.PAGEFAULT,
    Request.RESET_DEVICE: Protocol.RESET_DEVICE,
    Request.GET_MAX_MEM_SLOTS: Protocol.CONFIGURE_MEM_SLOTS,
    Request.ADD_MEM_REG: Protocol.CONFIGURE_MEM_SLOTS,
    Request.REM_MEM_REG: Protocol.CONFIGURE_MEM_SLOTS,
    Request.SET_STATUS: Protocol.STATUS,
    Request.GET_STATUS: Protocol.STATUS,
}
"""The protocol feature that must have been negotiated before a request is allowed."""


@dataclass(frozen=True)
class RegionEntry:
    """A memory region as the wire has it: `offset` is where it begins in the file that comes with it."""

    guest_address: int
    size: int
    user_address: int
    offset: int

    def pack(self) -> bytes:
        """Return the 32 bytes of the entry."""
        return MEMORY_REGION.pack(self.guest_address, self.size, self.user_address, self.offset)


def pack_table(entries: list[RegionEntry]) -> bytes:
    """Return the payload of SET_MEM_TABLE."""
    return MEMORY_HEAD.pack(len(entries), 0) + b"".join(entry.pack() for entry in entries)


def unpack_table(payload: bytes) -> list[RegionEntry]:
    """Return the entries of SET_MEM_TABLE. Raises MalformedMessage when the count and the size disagree."""
    count, _ = MEMORY_HEAD.unpack_from(payload)
    if not 1 <= count <= MAX_REGIONS or len(payload) != MEMORY_HEAD.size + count * MEMORY_REGION.size:
        raise MalformedMessage(
            f"{count} memory regions in a payload of {len(payload)} bytes; allowed are 1 to {MAX_REGIONS}", word=count
        )
    return [RegionEntry(*words) for words in MEMORY_REGION.iter_unpack(payload[MEMORY_HEAD.size :])]


def pack_region(entry: RegionEntry) -> bytes:
    """Return the payload of ADD_MEM_REG and REM_MEM_REG."""
    return SINGLE_REGION.pack(0) + entry.pack()


def unpack_region(payload: bytes) -> RegionEntry:
    """Return the entry of ADD_MEM_REG or REM_MEM_REG."""
    return RegionEntry(*MEMORY_REGION.unpack_from(payload, SINGLE_REGION.size))


def request_name(number: int) -> str:
    """Return the name of a front end's request, or `request 77`."""
    try:
        return Request(number).name
    except ValueError:
        return f"request {number}"


_STATES = {
    Request.SET_VRING_NUM: "num",
    Request.SET_VRING_BASE: "base",
    Request.GET_VRING_BASE: "base",
    Request.SET_VRING_ENABLE: "enable",
}
_FILES = (Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR)


def describe(number: int, flags: int, payload: bytes, fds: int) -> str:
    """Return one line that decodes a message, for the trace and for errors; never fails, whatever the bytes."""
    name = request_name(number)
    notes = [f"fds={fds}"] if fds else []
    notes += ["need_reply"] if flags & FLAG_NEED_REPLY else []
    notes += ["reply"] if flags & FLAG_REPLY else []
    return " ".join([f"{name}({_arguments(number, payload)})", *notes])


def _arguments(number: int, payload: bytes) -> str:
    if number in _STATES and len(payload) == VRING_STATE.size:
        index, value = VRING_STATE.unpack(payload)
        return f"index={index}, {_STATES[Request(number)]}={value}"
    if number == Request.SET_VRING_ADDR and len(payload) == VRING_ADDR.size:
        index, flags, desc, used, avail, log = VRING_ADDR.unpack(payload)
        return f"index={index}, flags={flags:#x}, desc={desc:#x}, avail={avail:#x}, used={used:#x}, log={log:#x}"
    if number in _FILES and len(payload) == U64.size:
        (word,) = U64.unpack(payload)
        return f"index={word & VRING_INDEX_MASK}{', no fd' if word & VRING_NO_FD else ''}"
    if number == Request.SET_MEM_TABLE and len(payload) in TABLE_SIZES:
        regions = [RegionEntry(*words) for words in MEMORY_REGION.iter_unpack(payload[MEMORY_HEAD.size :])]
        return f"count={MEMORY_HEAD.unpack_from(payload)[0]}, " + ", ".join(map(_region_text, regions))
    if number in (Request.ADD_MEM_REG, Request.REM_MEM_REG) and len(payload) == ONE_REGION:
        return _region_text(unpack_region(payload))
    if len(payload) == U64.size:
        return f"{U64.unpack(payload)[0]:#x}"
    return payload[:32].hex() + (f"... {len(payload)} bytes" if len(payload) > 32 else "")


def _region_text(entry: RegionEntry) -> str:
    places = f"guest {entry.guest_address:#x} user {entry.user_address:#x} offset {entry.offset:#x}"
    return f"[{places} size {entry.size:#x}]"
