# SPDX-License-Identifier: BSD-3-Clause
"""What the messages about memory do: the front end's regions, as a table or one by one, and its dirty log.

What a message brought is the session's as soon as it is mapped, also when a ring cannot be left for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pollmode.vhost import postcopy
from pollmode.vhost.connection import Message
from pollmode.vhost.faults import MalformedMessage, RefusedMessage
from pollmode.vhost.mapping import MappedFile, MappedRegion, check_entries, identity, map_region, map_table, unmap
from pollmode.vhost.memory import MAX_REGIONS
from pollmode.vhost.messages import LOG_AREA, U64, Request, unpack_region, unpack_table

if TYPE_CHECKING:
    from pollmode.vhost.session import Session

__all__ = ["MEMORY_HANDLERS"]

_LOG_ALIGN = 8  # its words change by compare and exchange


def _identities(regions: list[MappedRegion]) -> set[object]:
    return {region.identity for region in regions}


def _change_memory(session: Session, regions: list[MappedRegion]) -> None:
    try:
        session.stop_rings()
    finally:
        session.replace_memory(regions)
    session.start_rings()


def _set_mem_table(session: Session, message: Message) -> bytes | None:
    if session.postcopy.listening:
        return postcopy.set_mem_table(session, message)
    regions = map_table(unpack_table(message.payload), message.fds)
    if _identities(regions) == _identities(session.memory):
        unmap(regions)  # the same memory again: what runs need not stop
    else:
        _change_memory(session, regions)
    return None


def _add_mem_reg(session: Session, message: Message) -> None:
    entry = unpack_region(message.payload)
    if len(message.fds) != 1:
        raise MalformedMessage("a memory region without its descriptor")
    if identity(entry, message.fds[0]) in _identities(session.memory):
        return  # QEMU 7.2 tells of a region once for each queue pair, though all share one memory
    if len(session.memory) == MAX_REGIONS:
        raise RefusedMessage(f"all {MAX_REGIONS} memory slots are taken")
    check_entries([*(mapped.entry for mapped in session.memory), entry])
    _change_memory(session, [*session.memory, map_region(entry, message.fds[0])])


def _rem_mem_reg(session: Session, message: Message) -> None:
    gone = unpack_region(message.payload)
    wanted = (gone.guest_address, gone.size, gone.user_address)
    left = [
        mapped
        for mapped in session.memory
        if (mapped.entry.guest_address, mapped.entry.size, mapped.entry.user_address) != wanted
    ]
    if len(left) != len(session.memory):  # gone already: told once for each queue pair, as in `_add_mem_reg`
        _change_memory(session, left)


def _get_max_mem_slots(session: Session, message: Message) -> bytes:
    return U64.pack(MAX_REGIONS)


def _set_log_base(session: Session, message: Message) -> bytes:
    size, offset = LOG_AREA.unpack(message.payload)
    if len(message.fds) != 1:
        raise MalformedMessage("a dirty log without its descriptor")
    if offset % _LOG_ALIGN:
        raise MalformedMessage(f"a dirty log at offset {offset:#x}, not aligned to {_LOG_ALIGN}", word=offset)
    area = MappedFile(message.fds[0], offset, size)
    try:
        session.stop_rings()
    finally:
        session.replace_log(area)
    session.start_rings()
    return U64.pack(0)


MEMORY_HANDLERS: dict[int, Callable[[Session, Message], bytes | None]] = {
    Request.SET_MEM_TABLE: _set_mem_table,
    Request.GET_MAX_MEM_SLOTS: _get_max_mem_slots,
    Request.ADD_MEM_REG: _add_mem_reg,
    Request.REM_MEM_REG: _rem_mem_reg,
    Request.SET_LOG_BASE: _set_log_base,
}
