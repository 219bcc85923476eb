# SPDX-License-Identifier: BSD-3-Clause
"""Queues behind an IOMMU: an unknown address holds the queue up and breaks nothing, a forbidden one breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.net_vhost_rig import LEGACY, MERGEABLE, MODERN, Rig, frame, marked, pages

from pollmode.net_vhost.layout import FAULT_ADDRESS, FAULT_INDIRECT_ADDRESS, FAULT_PERMISSION, FAULT_TEXTS
from pollmode.net_vhost.queue import RX, TX, Direction
from pollmode.vhost.memory import ACCESS_BOTH, ACCESS_READ, ACCESS_WRITE

PAGE = 4096
WRITE, INDIRECT = 2, 4
DIRECTIONS = pytest.mark.parametrize("direction", [RX, TX], ids=lambda direction: direction.name)
VARIANTS = pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])


def post(rig: Rig, pieces: list[tuple[int, int]], *, indirect: bool = False) -> None:
    """Offer a chain with a frame of 100 bytes, or with room for one."""
    writable = rig.queue.direction is TX
    data = bytes(rig.header) + frame(100)
    for place, length in pieces if not writable else []:
        rig.guest.write(place, data[:length])
        data = data[length:]
    (rig.ring.post_indirect if indirect else rig.ring.post)(pieces, writable=writable)


def move(rig: Rig) -> int:
    """One burst of up to two packets; the mbufs are given back."""
    if rig.queue.direction is RX:
        received = rig.run(2)
        assert rig.frames(received) == [frame(100)] * received
        return received
    loaded = rig.load((frame(100),), (frame(100),))
    sent = rig.run(loaded)
    rig.burst[: loaded - sent] = rig.burst[sent:loaded].copy()
    rig.free(loaded - sent)
    return sent


def fresh(rig: Rig) -> int:
    """The guest address of a page of its own."""
    return rig.guest.allocate(PAGE, align=PAGE)


def needed(direction: Direction) -> int:
    return ACCESS_READ if direction is RX else ACCESS_WRITE


@DIRECTIONS
@VARIANTS
def test_unknown_address_holds_the_queue_up_until_it_is_told(
    make_rig: Callable[..., Rig], direction: Direction, features: int
) -> None:
    rig = make_rig(direction, features)
    rig.behind_iommu()
    first, second = fresh(rig), fresh(rig)
    rig.know(first, PAGE, needed(direction))
    for page in (first, second):
        post(rig, [(page + 10, rig.header + 100)])
    assert move(rig) == 1
    assert (rig.ring.used_index, rig.misses(), rig.out) == (1, 1, 0)
    assert rig.queue.missing() == (second + 10, needed(direction))
    assert (rig.queue.fault(), rig.queue.broken) == (None, False)
    for _ in range(3):
        assert move(rig) == 0
    assert (rig.misses(), rig.counts()["misses"], rig.counts()["faults"]) == (0, 1, 0)
    rig.queue.heal()
    assert rig.queue.missing() is not None, "there is nothing to heal"
    rig.know(fresh(rig), PAGE)
    assert move(rig) == 0, "that was another address"
    rig.know(second, PAGE, needed(direction))
    assert move(rig) == 1
    assert (rig.ring.used_index, rig.out) == (2, 0)


@DIRECTIONS
@VARIANTS
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
def test_chain_over_pages_is_told_page_by_page(
    make_rig: Callable[..., Rig], direction: Direction, features: int, indirect: bool
) -> None:
    rig = make_rig(direction, features)
    rig.behind_iommu()
    begin = fresh(rig)
    rig.guest.allocate(2 * PAGE, align=PAGE)
    post(rig, [(begin + PAGE - 5, 20), (begin + 2 * PAGE - 30, rig.header + 80)], indirect=indirect)
    asked = []
    for _ in range(6):
        if move(rig) == 1:
            break
        missing = rig.queue.missing()
        assert missing is not None
        asked.append(missing)
        rig.know(missing[0] & -PAGE, PAGE, missing[1])
    wanted = needed(direction)
    table = [asked[0]] if indirect else []
    assert asked == [*table, (begin + PAGE - 5, wanted), (begin + PAGE, wanted), (begin + 2 * PAGE, wanted)]
    assert not indirect or table[0][1] == ACCESS_READ
    assert rig.ring.used_index == 1


@DIRECTIONS
def test_translation_that_forbids_the_access_breaks_the_queue(
    make_rig: Callable[..., Rig], direction: Direction
) -> None:
    rig = make_rig(direction)
    rig.behind_iommu()
    good, bad = fresh(rig), fresh(rig)
    rig.know(good, PAGE, ACCESS_BOTH)
    rig.know(bad, PAGE, ACCESS_BOTH - needed(direction))
    for page in (good, bad):
        post(rig, [(page, 112)])
    assert move(rig) == 1
    fault = rig.queue.fault()
    assert fault is not None
    assert FAULT_TEXTS[FAULT_PERMISSION] in str(fault)
    assert fault.word == bad
    assert (rig.queue.missing(), rig.misses()) == (None, 1)
    assert rig.queue.take_denied() == (bad, needed(direction))
    assert rig.queue.take_denied() is None
    assert rig.guest.read(bad, 112) == (bytes(12) + frame(100) if direction is RX else b"\xa5" * 112)
    rig.queue.heal()
    post(rig, [(good, 112)])
    assert move(rig) == 1


def test_last_translation_is_no_leave_for_the_other_access(make_rig: Callable[..., Rig]) -> None:
    """An indirect table is read: a page that may only be written, and was just written, is not one."""
    rig = make_rig(TX)
    rig.behind_iommu()
    page = fresh(rig)
    rig.know(page, PAGE, ACCESS_WRITE)
    post(rig, [(page, 112)])
    assert move(rig) == 1
    rig.ring.descriptor(5, page, 16, INDIRECT | WRITE)
    rig.ring.offer(5)
    assert move(rig) == 0
    fault = rig.queue.fault()
    assert fault is not None
    assert FAULT_TEXTS[FAULT_PERMISSION] in str(fault)


@DIRECTIONS
@pytest.mark.parametrize("address", [1 << 63, (1 << 64) - 100])
def test_address_beyond_63_bits_breaks_the_queue(
    make_rig: Callable[..., Rig], direction: Direction, address: int
) -> None:
    rig = make_rig(direction)
    rig.behind_iommu()
    rig.ring.descriptor(0, address, 112, WRITE if direction is TX else 0)
    rig.ring.offer(0)
    assert move(rig) == 0
    assert FAULT_TEXTS[FAULT_ADDRESS] in str(rig.queue.fault())
    assert rig.misses() == 0


def test_buffer_lies_where_the_translation_says(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX)
    rig.behind_iommu()
    page, iova = fresh(rig), 0x7F_0000_0000
    rig.know(iova, PAGE, at=page)
    rig.ring.descriptor(0, iova + 100, 200, WRITE)
    rig.ring.offer(0)
    assert move(rig) == 1
    assert rig.guest.read(page + 100, 112)[12:] == frame(100)


def test_indirect_table_in_two_pieces_is_not_followed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    rig.behind_iommu()
    iova = 0x7F_0000_0000
    rig.know(iova, PAGE, at=fresh(rig))
    fresh(rig)
    rig.know(iova + PAGE, PAGE, at=fresh(rig))
    rig.ring.descriptor(0, iova + PAGE - 16, 32, INDIRECT)
    rig.ring.offer(0)
    assert move(rig) == 0
    assert FAULT_TEXTS[FAULT_INDIRECT_ADDRESS] in str(rig.queue.fault())


@DIRECTIONS
def test_address_that_was_taken_back_is_missing_again(make_rig: Callable[..., Rig], direction: Direction) -> None:
    rig = make_rig(direction)
    iotlb = rig.behind_iommu()
    page = fresh(rig)
    rig.know(page, PAGE)
    post(rig, [(page, 112)])
    assert move(rig) == 1
    iotlb.invalidate(page, PAGE)
    rig.vring.forget_hit()
    post(rig, [(page, 112)])
    assert move(rig) == 0
    assert rig.queue.missing() == (page, needed(direction))


def test_log_marks_guest_pages_not_io_virtual_ones(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX)
    rig.behind_iommu()
    log = rig.log_writes(64, used=False)
    rig.queue.unbind()
    rig.queue.bind(rig.vring, rig.features, log, rig.miss_fd)
    marked(log)
    page, iova = fresh(rig), 0x7F_0000_0000
    rig.know(iova, PAGE, at=page)
    rig.ring.descriptor(0, iova + 100, 200, WRITE)
    rig.ring.offer(0)
    assert move(rig) == 1
    assert marked(log) == pages(page, 1)


def test_missing_translation_is_counted_as_nothing_else(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    rig.behind_iommu()
    post(rig, [(fresh(rig), 112)])
    assert move(rig) == 0
    counts = rig.counts()
    assert (counts["misses"], counts["errors"], counts["packets"], counts["nombuf"]) == (1, 0, 0, 0)
