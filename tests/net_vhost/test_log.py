# SPDX-License-Identifier: BSD-3-Clause
"""While a guest migrates, each page that is written is marked in its log, and nothing outside the log is written."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.net_vhost_rig import LEGACY, MERGEABLE, MODERN, Rig, frame, marked, pages

from pollmode.net_vhost.queue import RX, TX, Direction
from pollmode.net_vhost.testing import GUEST_BASE
from pollmode.vhost.virtqueue import USED_RING, used_size

SIZE = 1 << 18
LOG_SIZE = 64  # the model's memory ends below 2 MiB
VARIANTS = pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
DIRECTIONS = pytest.mark.parametrize("direction", [RX, TX], ids=lambda direction: direction.name)


def page_edge(rig: Rig, before: int) -> int:
    """A guest address `before` bytes in front of a page of its own."""
    return rig.guest.allocate(3 * 4096, align=4096) + 4096 - before


def used_pages(rig: Rig, first: int, count: int) -> set[int]:
    """The pages of the used ring's head and of these entries."""
    return pages(rig.ring.used, USED_RING) | pages(rig.ring.used + USED_RING + 8 * first, 8 * count)


@VARIANTS
def test_sent_packet_marks_what_it_wrote_of_its_buffer(make_rig: Callable[..., Rig], features: int) -> None:
    rig = make_rig(TX, features)
    log = rig.log_writes(LOG_SIZE)
    marked(log)
    at = page_edge(rig, 100)
    rig.ring.post([(at, 2000)], writable=True)
    rig.ring.post([(at + 4096, 2000)], writable=True)
    assert rig.run(rig.load((frame(88 - rig.header),), (frame(88 + 12 - rig.header + 1),))) == 2
    assert marked(log) == pages(at, 1) | pages(at + 4096, 101) | used_pages(rig, 0, 2)
    assert rig.run(0) == 0
    assert marked(log) == set()


@VARIANTS
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
def test_sent_packet_over_a_chain_marks_each_piece(make_rig: Callable[..., Rig], features: int, indirect: bool) -> None:
    rig = make_rig(TX, features, regions=2)
    log = rig.log_writes(LOG_SIZE)
    edge = rig.guest.start(1) - 50
    pieces = [(page_edge(rig, 4), 8), (page_edge(rig, 20), 100), (edge, 4096), (page_edge(rig, 1), 500)]
    (rig.ring.post_indirect if indirect else rig.ring.post)(pieces, writable=True)
    marked(log)
    assert rig.run(rig.load((frame(300),))) == 1
    touched = [(*pieces[0],), (*pieces[1],), (edge, 300 + rig.header - 108)]
    assert marked(log) == set().union(*(pages(*piece) for piece in touched)) | used_pages(rig, 0, 1)


def test_mergeable_packet_marks_every_buffer_it_took(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX)
    log = rig.log_writes(LOG_SIZE)
    buffers = [(page_edge(rig, 100), 500) for _ in range(4)]
    for buffer in buffers:
        rig.ring.post([buffer], writable=True)
    marked(log)
    assert rig.run(rig.load((frame(700), frame(388)))) == 1
    written = [(buffers[0][0], 500), (buffers[1][0], 500), (buffers[2][0], 100)]
    assert marked(log) == set().union(*(pages(*piece) for piece in written)) | used_pages(rig, 0, 3)


@VARIANTS
def test_received_packet_marks_the_used_ring_alone(make_rig: Callable[..., Rig], features: int) -> None:
    rig = make_rig(RX, features)
    log = rig.log_writes(LOG_SIZE)
    marked(log)
    rig.ring.post([rig.buffer(bytes(rig.header) + frame(64))], writable=False)
    rig.free(rig.run())
    assert marked(log) == used_pages(rig, 0, 1)


@DIRECTIONS
def test_used_entries_are_marked_round_the_end_of_the_ring(make_rig: Callable[..., Rig], direction: Direction) -> None:
    rig = make_rig(direction, MODERN, num=1024, size=1 << 20)
    rig.guest.write(rig.ring.used + 2, struct.pack("<H", 1022))
    rig.ring.set_avail_index(1022)
    log = rig.log_writes(LOG_SIZE)
    for _ in range(4):
        buffer = rig.room(200) if direction is TX else rig.buffer(bytes(12) + frame(64))
        rig.ring.post([buffer], writable=direction is TX)
    marked(log)
    if direction is TX:
        rig.run(rig.load(*[(frame(64),)] * 4))
    else:
        rig.free(rig.run())
    assert rig.ring.used_index == 1026
    ring = {page for page in marked(log) if page in pages(rig.ring.used, used_size(1024))}
    assert ring == used_pages(rig, 1022, 2) | used_pages(rig, 0, 2)
    assert len(ring) == 3, "the last entries lie in two pages, the first in another"


@DIRECTIONS
def test_used_ring_nobody_wants_logged_is_not_marked(make_rig: Callable[..., Rig], direction: Direction) -> None:
    rig = make_rig(direction)
    log = rig.log_writes(LOG_SIZE, used=False)
    buffer = rig.room(200) if direction is TX else rig.buffer(bytes(12) + frame(64))
    rig.ring.post([buffer], writable=direction is TX)
    if direction is TX:
        assert rig.run(rig.load((frame(64),))) == 1
        assert marked(log) == pages(buffer[0], 76)
    else:
        rig.free(rig.run())
        assert marked(log) == set()


def test_taking_a_ring_over_and_healing_it_mark_what_they_write(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    log = rig.log_writes(LOG_SIZE)
    assert marked(log) == used_pages(rig, 0, 0) | pages(rig.ring.used, 4)
    rig.ring.offer(9999)
    assert rig.run() == 0
    assert marked(log) == set()
    rig.queue.heal()
    assert marked(log) == used_pages(rig, 0, 1)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 33, 34])
@VARIANTS
def test_log_too_short_for_the_memory_is_not_written_beyond_its_end(
    make_rig: Callable[..., Rig], features: int, size: int
) -> None:
    """CVE-2020-10722: the check must hold for the end of what is marked, not for its beginning."""
    rig = make_rig(TX, features, regions=2, size=1 << 20)
    log = rig.log_writes(size)
    for region in (0, 1):
        rig.ring.post([(rig.guest.allocate(8192, region), 8192)], writable=True)
        assert rig.run(rig.load((frame(2000),))) == 1
    first = GUEST_BASE >> 12  # page 256 is bit 0 of word 8
    assert all(first <= page < size // 4 * 32 for page in marked(log))


@pytest.mark.parametrize("address", [(1 << 63) - 1, (1 << 63) - 4096, 1 << 62, LOG_SIZE * 8 * 4096, 0])
@DIRECTIONS
def test_used_ring_logged_at_a_hostile_address_harms_nobody(
    make_rig: Callable[..., Rig], direction: Direction, address: int
) -> None:
    rig = make_rig(direction, MODERN)
    log = rig.log_writes(LOG_SIZE, address=address)
    for _ in range(8):
        rig.ring.post(
            [rig.room(200) if direction is TX else rig.buffer(bytes(12) + frame(64))], writable=direction is TX
        )
    buffers = {page for at, _ in [b[0] for b in rig.ring._buffers.values()] for page in pages(at, 76)}
    if direction is TX:
        assert rig.run(rig.load(*[(frame(64),)] * 8)) == 8
    else:
        rig.free(rig.run())
    expected = buffers if direction is TX else set()
    assert marked(log) == expected | ({0} if address == 0 else set())


SHAPES = st.lists(
    st.lists(st.tuples(st.integers(0, SIZE - 9000), st.integers(0, 3000)), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(SHAPES, st.lists(st.integers(14, 2000), min_size=1, max_size=4), st.sampled_from([LEGACY, MODERN, MERGEABLE]))
def test_every_page_that_changed_is_marked(
    make_rig: Callable[..., Rig], shapes: list[list[tuple[int, int]]], sizes: list[int], features: int
) -> None:
    rig = make_rig(TX, features, num=16, size=SIZE)
    log = rig.log_writes(LOG_SIZE)
    low = rig.guest.allocate(0, align=4096)
    for chain in shapes:
        rig.ring.post([(low + at % (rig.guest.end - low - 3000), length) for at, length in chain], writable=True)
    before = rig.guest.read(GUEST_BASE, SIZE)
    loaded = rig.load(*[(frame(size, seed),) for seed, size in enumerate(sizes)])
    sent = rig.run(loaded)
    rig.burst[: loaded - sent] = rig.burst[sent:loaded].copy()
    rig.free(loaded - sent)
    after = rig.guest.read(GUEST_BASE, SIZE)
    changed = {
        (GUEST_BASE + at) >> 12
        for at in range(low - GUEST_BASE, SIZE, 64)
        if before[at : at + 64] != after[at : at + 64]
    }
    assert changed <= marked(log)
    rig.close()


def test_callbacks_that_mark_are_others_than_those_that_do_not(make_rig: Callable[..., Rig]) -> None:
    for direction in (RX, TX):
        rig = make_rig(direction)
        plain = rig.queue.callback()
        rig.log_writes(LOG_SIZE)
        logging = rig.queue.callback()
        assert plain is not None
        assert logging is not None
        assert (logging.name, logging.address != plain.address) == (f"{plain.name}_logged", True)
