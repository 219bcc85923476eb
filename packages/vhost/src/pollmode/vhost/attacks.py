# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile peer says: every way of breaking vhost-user that is known to have broken somebody, by name.

Each front-end attack is a function of a connected `ScriptedFrontend`; a back end must close the connection, keep
nothing (no descriptor, no mapping) and go on serving others. Each back-end attack is a set of answers for a
`ScriptedBackend`; a front end must raise an error that names the phase, and keep nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from pollmode.vhost.messages import (
    LOG_AREA,
    MAX_PAYLOAD,
    MEMORY_HEAD,
    REPLY_FLAGS,
    RULES,
    U64,
    VERSION,
    VRING_ADDR,
    VRING_NO_FD,
    VRING_STATE,
    RegionEntry,
    Request,
    pack_region,
    pack_table,
)
from pollmode.vhost.testing import Answer, GuestMemory, ScriptedFrontend

__all__ = ["BACKEND_ATTACKS", "FRONTEND_ATTACKS", "FrontendAttack"]

FrontendAttack = Callable[[ScriptedFrontend], None]
FRONTEND_ATTACKS: dict[str, FrontendAttack] = {}
"""By name; each expects a fresh connection and negotiates what it needs."""

_TOP = 1 << 64
_PAGE = 4096


def _attack(name: str) -> Callable[[FrontendAttack], FrontendAttack]:
    def put(function: FrontendAttack) -> FrontendAttack:
        FRONTEND_ATTACKS[name] = function
        return function

    return put


# --- headers ----------------------------------------------------------------------------------------------------------


def _header(request: int, flags: int, size: int) -> FrontendAttack:
    return lambda front: front.send(request, flags=flags, size=size)


for _name, _request, _flags, _size in (
    ("header with protocol version 0", Request.GET_FEATURES, 0, 0),
    ("header with protocol version 2", Request.GET_FEATURES, 2, 0),
    ("header marked as a reply", Request.GET_FEATURES, REPLY_FLAGS, 0),
    ("payload of 2^31 bytes", Request.SET_FEATURES, VERSION, 1 << 31),
    ("payload of 2^32-1 bytes", Request.SET_MEM_TABLE, VERSION, (1 << 32) - 1),
    ("payload just over the limit", Request.GET_CONFIG, VERSION, MAX_PAYLOAD + 1),
    ("request 0", 0, VERSION, 0),
    ("request after the last", max(Request) + 1, VERSION, 0),
    ("request 2^32-1", (1 << 32) - 1, VERSION, 0),
):
    FRONTEND_ATTACKS[_name] = _header(_request, _flags, _size)


@_attack("message cut short by the end of the stream")
def _cut_short(front: ScriptedFrontend) -> None:
    front.send(Request.SET_VRING_ADDR, b"\xa5" * 17, size=VRING_ADDR.size)
    front.sock.shutdown(1)


@_attack("header cut short, with a descriptor")
def _header_cut_short(front: ScriptedFrontend) -> None:
    front.send_bytes(b"\x05\x00", [front.eventfd()])
    front.sock.shutdown(1)


@_attack("payload one byte short for its message")
def _wrong_size(front: ScriptedFrontend) -> None:
    front.send(Request.SET_VRING_NUM, b"\0" * (VRING_STATE.size - 1))


# --- descriptors, CVE-2022-0669 and CVE-2019-14818 --------------------------------------------------------------------


def _files_with(request: int, count: int) -> FrontendAttack:
    def attack(front: ScriptedFrontend) -> None:
        size = RULES[request].sizes[0]
        front.send(request, b"\0" * size, [front.eventfd() for _ in range(count)])

    return attack


FRONTEND_ATTACKS["CVE-2022-0669 descriptor with a message that has none"] = _files_with(Request.GET_FEATURES, 1)
FRONTEND_ATTACKS["CVE-2022-0669 two descriptors with a kick"] = _files_with(Request.SET_VRING_KICK, 2)
FRONTEND_ATTACKS["nine descriptors"] = _files_with(Request.SET_MEM_TABLE, 9)
FRONTEND_ATTACKS["253 descriptors"] = _files_with(Request.SET_MEM_TABLE, 253)


@_attack("kick without its descriptor")
def _kick_without(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_VRING_KICK, U64.pack(0))


@_attack("descriptor with a call that says it has none")
def _call_with(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_VRING_CALL, U64.pack(VRING_NO_FD), [front.eventfd()])


@_attack("kick word with unknown bits")
def _kick_bits(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_VRING_KICK, U64.pack(1 << 40), [front.eventfd()])


@_attack("pipe as call descriptor")
def _call_pipe(front: ScriptedFrontend) -> None:
    front.negotiate()
    reader, writer = os.pipe()
    front.send(Request.SET_VRING_CALL, U64.pack(0), [writer])
    os.close(reader)
    os.close(writer)


@_attack("file as channel for the back end's requests")
def _file_channel(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_BACKEND_REQ_FD, fds=[front.eventfd()])


# --- features ---------------------------------------------------------------------------------------------------------


@_attack("features that were not offered")
def _features(front: ScriptedFrontend) -> None:
    offered = U64.unpack(front.ask(Request.GET_FEATURES))[0]
    front.send(Request.SET_FEATURES, U64.pack(offered ^ (_TOP - 1)))


@_attack("protocol features that were not offered")
def _protocol_features(front: ScriptedFrontend) -> None:
    front.send(Request.SET_PROTOCOL_FEATURES, U64.pack(1 << 63))


@_attack("message whose protocol feature was not negotiated")
def _not_negotiated(front: ScriptedFrontend) -> None:
    front.send(Request.SET_STATUS, U64.pack(15))


@_attack("device status of more than 8 bits")
def _status(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_STATUS, U64.pack(0x100))


# --- memory -----------------------------------------------------------------------------------------------------------


def _table(*entries: RegionEntry, files: int | None = None, count: int | None = None) -> FrontendAttack:
    def attack(front: ScriptedFrontend) -> None:
        front.negotiate()
        with GuestMemory(16 * _PAGE) as memory:
            payload = bytearray(pack_table(list(entries)))
            if count is not None:
                MEMORY_HEAD.pack_into(payload, 0, count, 0)
            front.send(Request.SET_MEM_TABLE, bytes(payload), [memory.fd] * (len(entries) if files is None else files))

    return attack


_GOOD = RegionEntry(0x10000, 16 * _PAGE, 0x7F00_0000_0000, 0)
for _name, _made in {
    "no memory region": _table(_GOOD, files=0, count=0),
    "nine memory regions announced": _table(_GOOD, count=9),
    "2^32-1 memory regions announced": _table(_GOOD, count=(1 << 32) - 1),
    "fewer memory regions than announced": _table(_GOOD, files=2, count=2),
    "memory region without descriptor": _table(_GOOD, files=0),
    "more descriptors than memory regions": _table(_GOOD, files=2),
    "memory regions that overlap for the guest": _table(_GOOD, RegionEntry(0x11000, _PAGE, 0x10000, 0)),
    "memory regions that overlap for the front end": _table(_GOOD, RegionEntry(0, _PAGE, 0x7F00_0000_1000, 0)),
    "memory region of size 0": _table(RegionEntry(0, 0, 0, 0)),
    "guest address and size beyond 64 bits": _table(RegionEntry(_TOP - _PAGE, 2 * _PAGE, 0, 0)),
    "guest address beyond 63 bits": _table(RegionEntry(1 << 63, _PAGE, 0, 0)),
    "user address and size beyond 64 bits": _table(RegionEntry(0, 2 * _PAGE, _TOP - _PAGE, 0)),
    "file offset and size beyond 64 bits": _table(RegionEntry(0, 2 * _PAGE, 0, _TOP - _PAGE)),
    "memory size 2^64-1": _table(RegionEntry(0, _TOP - 1, 0, 1)),
    "memory file too short": _table(RegionEntry(0, 17 * _PAGE, 0, 0)),
    "second memory file too short": _table(_GOOD, RegionEntry(0x100000, 17 * _PAGE, 0, 0)),
    "memory file too short for the offset": _table(RegionEntry(0, 16 * _PAGE, 0, 1)),
}.items():
    FRONTEND_ATTACKS[_name] = _made


@_attack("memory file read-only")
def _read_only(front: ScriptedFrontend) -> None:
    front.negotiate()
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(_PAGE)
        fd = os.open(file.name, os.O_RDONLY)
        front.send(Request.SET_MEM_TABLE, pack_table([RegionEntry(0, _PAGE, 0, 0)]), [fd])
        os.close(fd)


@_attack("eventfd as memory")
def _eventfd_memory(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.SET_MEM_TABLE, pack_table([RegionEntry(0, _PAGE, 0, 0)]), [front.eventfd()])


@_attack("memory slot that overlaps")
def _overlapping_slot(front: ScriptedFrontend) -> None:
    front.negotiate()
    with GuestMemory(16 * _PAGE) as memory:
        front.share(memory)
        half = replace(memory.entry, size=8 * _PAGE)
        front.send(Request.ADD_MEM_REG, pack_region(half), [memory.fd])


@_attack("memory slot taken already, by another file")
def _other_file(front: ScriptedFrontend) -> None:
    front.negotiate()
    with GuestMemory(16 * _PAGE) as memory, GuestMemory(16 * _PAGE) as other:
        front.share(memory)
        front.send(Request.ADD_MEM_REG, pack_region(memory.entry), [other.fd])


@_attack("CVE-2020-10722 log offset and size overflow")
def _log_overflow(front: ScriptedFrontend) -> None:
    front.negotiate()
    with GuestMemory(_PAGE) as memory:
        front.send(Request.SET_LOG_BASE, LOG_AREA.pack(2 * _PAGE, _TOP - _PAGE), [memory.fd])


@_attack("CVE-2020-10726 in-flight area, again and again")
def _inflight(front: ScriptedFrontend) -> None:
    front.negotiate()
    with GuestMemory(_PAGE) as memory:
        for _ in range(4):
            front.send(Request.SET_INFLIGHT_FD, b"\0" * 24, [memory.fd])


# --- rings ------------------------------------------------------------------------------------------------------------


def _ring_state(request: int, index: int, value: int) -> FrontendAttack:
    def attack(front: ScriptedFrontend) -> None:
        front.negotiate()
        front.send(request, VRING_STATE.pack(index, value))

    return attack


for _num in (0, 3, 255, 65536, (1 << 16) + 256, 1 << 31, (1 << 32) - 1):
    FRONTEND_ATTACKS[f"CVE-2020-10723 ring of {_num} entries"] = _ring_state(Request.SET_VRING_NUM, 0, _num)
for _index in (256, (1 << 16), (1 << 31), (1 << 32) - 2):
    FRONTEND_ATTACKS[f"CVE-2021-3839 ring index {_index}"] = _ring_state(Request.SET_VRING_NUM, _index, 256)
FRONTEND_ATTACKS["CVE-2020-10723 ring index 2^32-1"] = _ring_state(Request.GET_VRING_BASE, (1 << 32) - 1, 0)
FRONTEND_ATTACKS["ring base of more than 16 bits"] = _ring_state(Request.SET_VRING_BASE, 0, 0x10000)
FRONTEND_ATTACKS["ring enabled with 2"] = _ring_state(Request.SET_VRING_ENABLE, 0, 2)


def _placed(shift: Callable[[GuestMemory, list[int]], None]) -> FrontendAttack:
    """Start ring 0 with its three addresses (descriptors, available, used) changed by `shift`."""

    def attack(front: ScriptedFrontend) -> None:
        with ExitStack() as stack:
            memory = stack.enter_context(GuestMemory(16 * _PAGE))
            places = memory.ring(256)
            addresses = [places.desc, places.avail, places.used]
            shift(memory, addresses)
            front.negotiate()
            front.share(memory)
            front.send(Request.SET_VRING_NUM, VRING_STATE.pack(0, places.num))
            desc, avail, used = addresses
            front.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(0, 0, desc % _TOP, used % _TOP, avail % _TOP, 0))

    return attack


def _put(part: int, where: Callable[[GuestMemory], int]) -> FrontendAttack:
    return _placed(lambda memory, addresses: addresses.__setitem__(part, where(memory)))


for _part, _what in enumerate(("descriptor table", "available ring", "used ring")):
    for _text, _where in {
        "at 0": lambda memory: 0,
        "before the memory": lambda memory: memory.address - 16,
        "over the end of the memory": lambda memory: memory.address + memory.size - 16,
        "at 2^64-16": lambda memory: -16,
        "misaligned": lambda memory: memory.address + 1,
    }.items():
        FRONTEND_ATTACKS[f"CVE-2018-1059 {_what} {_text}"] = _put(_part, _where)


@_attack("other features while a ring runs")
def _features_while_running(front: ScriptedFrontend) -> None:
    with GuestMemory() as memory:
        front.negotiate()
        front.share(memory)
        front.start_ring(0, memory.ring(256))
        front.send(Request.SET_FEATURES, U64.pack(0))


# --- post-copy, where a back end offers it ---------------------------------------------------------------------------


@_attack("post-copy that was not negotiated, or a second one")
def _advise_twice(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.POSTCOPY_ADVISE)
    front.send(Request.POSTCOPY_ADVISE)


@_attack("post-copy without its announcement")
def _listen_first(front: ScriptedFrontend) -> None:
    front.negotiate()
    front.send(Request.POSTCOPY_LISTEN)


@_attack("post-copy for memory that is shared already")
def _listen_late(front: ScriptedFrontend) -> None:
    with GuestMemory(_PAGE) as memory:
        front.negotiate()
        front.send(Request.POSTCOPY_ADVISE)
        front.share(memory)
        front.send(Request.POSTCOPY_LISTEN)


def _agreeing(request: int, payload: bytes) -> FrontendAttack:
    """Share memory for post-copy, and say something else than the agreement that is due."""

    def attack(front: ScriptedFrontend) -> None:
        with GuestMemory(_PAGE) as memory:
            front.negotiate()
            front.send(Request.POSTCOPY_ADVISE)
            front.send(Request.POSTCOPY_LISTEN)
            front.share(memory)
            front.send(request, payload)

    return attack


FRONTEND_ATTACKS["post-copy without the agreement"] = _agreeing(Request.GET_FEATURES, b"")
FRONTEND_ATTACKS["post-copy ended before the agreement"] = _agreeing(Request.POSTCOPY_END, b"")
FRONTEND_ATTACKS["post-copy agreement that says no"] = _agreeing(Request.SET_MEM_TABLE, U64.pack(1))
FRONTEND_ATTACKS["post-copy with a table for the agreement"] = _agreeing(Request.SET_MEM_TABLE, pack_table([_GOOD]))


# --- messages that are refused ----------------------------------------------------------------------------------------

for _refused in (
    Request.IOTLB_MSG,
    Request.GET_CONFIG,
    Request.CREATE_CRYPTO_SESSION,
    Request.GET_INFLIGHT_FD,
    Request.VRING_KICK,
):
    FRONTEND_ATTACKS[f"unsupported {_refused.name}"] = _header(_refused, VERSION, 0)


BACKEND_ATTACKS: dict[str, dict[int, Answer]] = {
    "DPDK 7b3249c56e answer of 2^31 bytes": {Request.GET_FEATURES: Answer(size=1 << 31)},
    "answer one byte long": {Request.GET_FEATURES: Answer(payload=b"\xff" * 9)},
    "answer one byte short": {Request.GET_FEATURES: Answer(payload=b"\xff" * 7)},
    "empty answer": {Request.GET_FEATURES: Answer(payload=b"")},
    "answer cut short": {Request.GET_FEATURES: Answer(cut=3)},
    "answer without its reply flag": {Request.GET_FEATURES: Answer(flags=VERSION)},
    "answer with unknown flags": {Request.GET_FEATURES: Answer(flags=REPLY_FLAGS | 0x100)},
    "answer of protocol version 2": {Request.GET_FEATURES: Answer(flags=0x6)},
    "answer to another request": {Request.GET_FEATURES: Answer(request=Request.GET_STATUS)},
    "answer with a descriptor": {Request.GET_FEATURES: Answer(files=1)},
    "answer with 64 descriptors": {Request.GET_FEATURES: Answer(files=64)},
    "answer nobody asked for": {Request.SET_OWNER: Answer(payload=b"\0" * 8)},
    "end of the stream instead of an answer": {Request.GET_FEATURES: Answer(close=True)},
    "no answer to protocol features": {Request.GET_PROTOCOL_FEATURES: Answer(close=True)},
    "end of the stream instead of an acknowledgement": {Request.SET_MEM_TABLE: Answer(close=True)},
    "acknowledgement of 4 bytes": {Request.SET_MEM_TABLE: Answer(payload=b"\0" * 4)},
    "base of another ring": {Request.GET_VRING_BASE: Answer(payload=VRING_STATE.pack(77, 0))},
    "base of more than 16 bits": {Request.GET_VRING_BASE: Answer(payload=VRING_STATE.pack(0, 1 << 16))},
}
"""By name, for a front end that negotiates, shares memory, starts ring 0 and stops it."""
