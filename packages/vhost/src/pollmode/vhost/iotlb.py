# SPDX-License-Identifier: BSD-3-Clause
"""The IOTLB of a session behind an IOMMU: which I/O virtual addresses are known, where they lie here, what may be done.

The front end tells ranges (update), takes them back (invalidate), and is asked for one that is missing (miss). Ranges
that follow each other on both sides become one, so that most buffers lie in the range of the one before. Nothing here
is for ever: a range that was forgotten is asked for again, so a table that is full starts over.

Ring addresses are of this kind too. A ring whose parts are not known yet waits; one whose parts are taken back stops
before the front end gets its answer. A buffer's address that is missing holds up its queue alone (see `Backend`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.vhost.connection import Message
from pollmode.vhost.faults import MalformedMessage, RefusedMessage
from pollmode.vhost.memory import ACCESS_BOTH, ADDRESS_LIMIT, Range, RangeTable, Region, user_to_host
from pollmode.vhost.messages import IOTLB, BackendRequest

if TYPE_CHECKING:
    from pollmode.vhost.session import Session

__all__ = ["MAX_RANGES", "Iotlb", "IotlbType", "Unknown", "ask", "serve", "tell_access_failure"]

MAX_RANGES = 2048  # as many as DPDK's IOTLB_CACHE_SIZE
_ACCESS_BITS = 8  # of a range's access word; above them stands its memory region, so that only its like joins it

log = logs.get("lib.vhost.config")


class IotlbType(enum.IntEnum):
    """What an IOTLB message says."""

    MISS = 1
    UPDATE = 2
    INVALIDATE = 3
    ACCESS_FAIL = 4


class Unknown(Exception):
    """There is no translation for `address` with `access`."""

    def __init__(self, address: int, access: int) -> None:
        super().__init__(f"no translation for {address:#x}")
        self.address, self.access = address, access


class Iotlb:
    """The known ranges; `table` is for compiled code, and changes only while none runs."""

    def __init__(self, capacity: int = MAX_RANGES) -> None:
        self.table = RangeTable(capacity)
        self.asked: set[tuple[int, int]] = set()

    def update(self, start: int, size: int, host: int, access: int, region: int = 0) -> None:
        """Know that `size` bytes at `start` lie at `host`, in memory region `region`; what was known there goes.

        A table that is full is emptied first.
        """
        new = (start, size, host - start, access | region << _ACCESS_BITS)
        if not self._put(start, size, [new]):
            self.table.fill([])
            self._put(start, size, [new])
        self.asked = {(a, wanted) for a, wanted in self.asked if not start <= a < start + size}

    def invalidate(self, start: int, size: int) -> None:
        """Know nothing about these addresses any more."""
        if not self._put(start, size, []):  # a range cut in two finds no room
            self.table.fill([])

    def clear(self) -> None:
        """Know nothing, and have asked nothing."""
        self.table.fill([])
        self.asked.clear()

    def _put(self, start: int, size: int, new: Sequence[Range]) -> bool:
        end = start + size
        first, last = self.table.touching(max(start - 1, 0), min(end, ADDRESS_LIMIT - 1))
        ranges: list[Range] = []
        right: list[Range] = []
        for at, length, delta, access in self.table.rows(first, last):
            if at < start:
                ranges.append((at, min(length, start - at), delta, access))
            if at + length > end:
                right.append((max(at, end), at + length - max(at, end), delta, access))
        joined = _joined([*ranges, *new, *right])
        if self.table.count - (last - first) + len(joined) > self.table.capacity:
            return False
        self.table.replace(first, last, joined)
        return True

    def knows(self, address: int) -> bool:
        """Tell whether an address has a translation, whatever that allows."""
        first, last = self.table.touching(address, address)
        return first < last

    def host(self, address: int, size: int, access: int) -> int:
        """Return where `size` bytes at `address` lie in one piece in this process, 0 when they don't.

        Raises Unknown for the first address of them that has no translation with `access`.
        """
        known, deltas = address, set()
        for start, length, delta, allowed in self.table.rows(*self.table.touching(address, address + size - 1)):
            if start > known or allowed & access != access:
                break
            known = start + length
            deltas.add(delta)
        if known < address + size:
            raise Unknown(known, access)
        return address + deltas.pop() if len(deltas) == 1 else 0


def _joined(ranges: Sequence[Range]) -> list[Range]:
    joined: list[Range] = []
    for start, length, delta, access in ranges:
        if joined and joined[-1][0] + joined[-1][1] == start and joined[-1][2:] == (delta, access):
            start, length = joined[-1][0], joined[-1][1] + length
            joined.pop()
        joined.append((start, length, delta, access))
    return joined


# --- the front end's messages -----------------------------------------------------------------------------------------


def serve(session: Session, message: Message) -> None:
    """IOTLB_MSG: update or invalidate; what it changes holds when the answer goes out."""
    start, size, user, access, kind = IOTLB.unpack(message.payload)
    iotlb = session.iotlb
    if iotlb is None:
        raise RefusedMessage("an IOTLB message; VIRTIO_F_IOMMU_PLATFORM was not negotiated")
    if kind == IotlbType.UPDATE:
        _update(session, iotlb, start, size, user, access)
    elif kind == IotlbType.INVALIDATE:
        _invalidate(session, iotlb, start, size)
    else:
        raise MalformedMessage(f"an IOTLB message of type {kind}; a front end sends 2 (update) and 3", word=kind)


def _update(session: Session, iotlb: Iotlb, start: int, size: int, user: int, access: int) -> None:
    if size == 0 or start + size > ADDRESS_LIMIT:
        raise MalformedMessage(f"an IOTLB range at {start:#x} of {size:#x} bytes: empty or beyond 63 bits", word=start)
    if not 0 < access <= ACCESS_BOTH:
        raise MalformedMessage(f"an IOTLB range with access {access}; it is 1 (read), 2 (write) or 3", word=access)
    number, host = _place([mapped.region for mapped in session.memory], user, size)
    if not host:
        raise MalformedMessage(
            f"an IOTLB range of {size:#x} bytes at user address {user:#x} is not inside one memory region", word=user
        )
    with session.owner.paused(session):
        iotlb.update(start, size, host, access, number)
        _forget_hits(session)
        session.owner.on_translations(session)
    if any(not vring.running and vring.lies_in(start, start + size) for vring in session.vrings.values()):
        session.start_rings()


def _place(regions: Sequence[Region], user: int, size: int) -> tuple[int, int]:
    """Return the number of the region and where the range lies here, or 0 for that."""
    for number, region in enumerate(regions):
        host = user_to_host([region], user, size)
        if host:
            return number, host
    return 0, 0


def _invalidate(session: Session, iotlb: Iotlb, start: int, size: int) -> None:
    if start + size > 1 << 64 or (size == 0 and start):
        raise MalformedMessage(f"an IOTLB range at {start:#x} of {size:#x} bytes: empty or beyond 64 bits", word=start)
    end = min(start + size, ADDRESS_LIMIT) if size else ADDRESS_LIMIT  # 0 bytes at 0: everything
    if start >= end:
        return
    for vring in list(session.vrings.values()):
        if vring.running and vring.lies_in(start, end):
            session.stop_ring(vring)
    with session.owner.paused(session):
        iotlb.invalidate(start, end - start)
        _forget_hits(session)
    session.start_rings()


def _forget_hits(session: Session) -> None:
    for vring in session.vrings.values():
        vring.forget_hit()


# --- our messages -----------------------------------------------------------------------------------------------------


def ask(session: Session, address: int, access: int) -> None:
    """Ask the front end for a translation, once until it tells one.

    One it told that does not allow `access` is not asked for again, which would go on for ever: that failure is told.
    """
    iotlb = session.iotlb
    if iotlb is None or (address, access) in iotlb.asked:
        return
    if iotlb.knows(address):
        tell_access_failure(session, address, access)
        return
    if len(iotlb.asked) >= MAX_RANGES:  # a front end that moves its rings again and again
        iotlb.asked.clear()
    iotlb.asked.add((address, access))
    _tell(session, IotlbType.MISS, address, access)


def tell_access_failure(session: Session, address: int, access: int) -> None:
    """Tell the front end that an address of a buffer or ring does not allow what has to be done there."""
    _tell(session, IotlbType.ACCESS_FAIL, address, access)


def _tell(session: Session, kind: IotlbType, address: int, access: int) -> None:
    if not session.tell_front_end(BackendRequest.IOTLB_MSG, IOTLB.pack(address, 0, 0, access, kind)):
        log.warning(f"{session.name}: IOTLB {kind.name} of {address:#x} can't be told: there is no back-end channel")
