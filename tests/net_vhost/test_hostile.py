# SPDX-License-Identifier: BSD-3-Clause
"""A front end that lies about its ring: the queue breaks, says where and why, loses no mbuf, and heals.

Each attack comes behind one good packet, so that what arrived before it is seen to be delivered. Nothing is read or
written outside what the front end may name: the guest's memory ends with the process's mapping of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from support.net_vhost_rig import BURST, LEGACY, MERGEABLE, MODERN, Rig, frame

from pollmode.eal.jit import INTERPRETED, burst_callback, load_relaxed64, store_relaxed32
from pollmode.net_vhost import ring
from pollmode.net_vhost.layout import (
    FAULT_ADDRESS,
    FAULT_AVAIL_INDEX,
    FAULT_DIRECTION,
    FAULT_HEAD,
    FAULT_INDIRECT,
    FAULT_INDIRECT_ADDRESS,
    FAULT_INDIRECT_LENGTH,
    FAULT_LOOP,
    FAULT_NEXT,
    FAULT_PIECES,
    FAULT_SHORT,
    FAULT_TEXTS,
)
from pollmode.net_vhost.queue import RX, TX, Direction
from pollmode.net_vhost.testing import DESCRIPTOR, FILL
from pollmode.vhost.virtqueue import DESC_LEN

NEXT, WRITE, INDIRECT = 1, 2, 4
DIRECTIONS = pytest.mark.parametrize("direction", [RX, TX], ids=lambda direction: direction.name)


@dataclass
class Attacked:
    """A rig, and what its own kind of buffer looks like."""

    rig: Rig
    flags: int  # of a proper descriptor

    def buffer(self, size: int = 200) -> tuple[int, int]:
        return self.rig.room(size) if self.flags else self.rig.buffer(bytes(12) + frame(size - 12))

    def raw(self, index: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.rig.ring.descriptor(index, address, length, self.flags | flags, following)

    def table(self, *entries: tuple[int, int, int, int]) -> int:
        """An indirect table of (address, length, flags, next); its guest address."""
        data = b"".join(
            DESCRIPTOR.pack(address, length, self.flags | flags, n) for address, length, flags, n in entries
        )
        return self.rig.buffer(data)[0]

    def run(self) -> int:
        if self.flags:
            done = self.rig.run(self.rig.load((frame(100, 1),), (frame(100, 2),)))
            left = [int(m) for m in self.rig.burst[done:2]]
            self.rig.burst[: len(left)] = left
            self.rig.free(len(left))
            return done
        received = self.rig.run()
        self.rig.free(received)
        return received


@pytest.fixture
def attack(make_rig: Callable[..., Rig]) -> Callable[..., Attacked]:
    def begin(direction: Direction, features: int = MERGEABLE, **how: int) -> Attacked:
        rig = make_rig(direction, features, **how)
        attacked = Attacked(rig, WRITE if direction is TX else 0)
        rig.ring.post([attacked.buffer()], writable=bool(attacked.flags))
        return attacked

    return begin


def expect(attacked: Attacked, code: int, *, word: int | None = None) -> None:
    """The good packet passes, the attack breaks the queue; broken it does nothing, healed it works."""
    rig = attacked.rig
    assert attacked.run() == 1
    fault = rig.queue.fault()
    assert fault is not None
    assert FAULT_TEXTS[code] in str(fault)
    assert fault.queue == rig.queue.ring
    assert word is None or fault.word == word
    assert rig.ring.used_index == 1
    assert rig.counts()["faults"] == 1
    assert rig.out == 0
    rig.ring.post([attacked.buffer()], writable=bool(attacked.flags))
    assert attacked.run() == 0
    assert (rig.ring.used_index, rig.out) == (1, 0)
    rig.queue.heal()
    assert rig.queue.fault() is None
    assert rig.out == 0


def still_works(attacked: Attacked) -> None:
    """After healing, the packet behind the attack goes through."""
    assert attacked.run() >= 1
    assert attacked.rig.queue.fault() is None
    assert attacked.rig.out == 0


@DIRECTIONS
@pytest.mark.parametrize("jump", [9, 100, 0x8000, 0xFFFF])
def test_available_index_moves_by_more_than_the_ring(
    attack: Callable[..., Attacked], direction: Direction, jump: int
) -> None:
    """CVE-2020-10723 is the same word, cut to 16 bits before the check."""
    attacked = attack(direction)
    assert attacked.run() == 1
    attacked.rig.ring.set_avail_index(1 + jump)
    assert attacked.run() == 0
    fault = attacked.rig.queue.fault()
    assert fault is not None
    assert FAULT_TEXTS[FAULT_AVAIL_INDEX] in str(fault)
    assert (fault.index, fault.word) == (1, (1 + jump) & 0xFFFF)
    attacked.rig.queue.heal()
    attacked.rig.ring.post([attacked.buffer()], writable=bool(attacked.flags))
    still_works(attacked)


@DIRECTIONS
@pytest.mark.parametrize("head", [8, 9, 0x7FFF, 0xFFFF])
def test_available_entry_names_a_descriptor_outside(
    attack: Callable[..., Attacked], direction: Direction, head: int
) -> None:
    attacked = attack(direction)
    attacked.rig.ring.offer(head)
    expect(attacked, FAULT_HEAD, word=head)
    assert attacked.rig.ring.used_entry(1) == (head, 0)
    still_works(attacked)


@DIRECTIONS
@pytest.mark.parametrize("following", [8, 9, 0xFFFF])
def test_next_is_outside_the_table(attack: Callable[..., Attacked], direction: Direction, following: int) -> None:
    attacked = attack(direction)
    attacked.raw(5, *attacked.buffer(20), NEXT, following)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_NEXT)
    still_works(attacked)


@DIRECTIONS
@pytest.mark.parametrize("circle", [(5,), (5, 6), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("length", [0, 20])
def test_chain_runs_in_a_circle(
    attack: Callable[..., Attacked], direction: Direction, circle: tuple[int, ...], length: int
) -> None:
    attacked = attack(direction)
    place, _ = attacked.buffer(20)
    for here, following in zip(circle, [*circle[1:], circle[0]], strict=True):
        attacked.raw(here, place, length, NEXT, following)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_LOOP)
    still_works(attacked)


@DIRECTIONS
def test_descriptor_has_the_wrong_direction(attack: Callable[..., Attacked], direction: Direction) -> None:
    """CVE-2022-0669 and its like: a buffer of the other kind."""
    attacked = attack(direction)
    attacked.rig.ring.descriptor(5, *attacked.buffer(), WRITE - attacked.flags)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_DIRECTION)
    still_works(attacked)


@DIRECTIONS
def test_direction_changes_within_a_chain(attack: Callable[..., Attacked], direction: Direction) -> None:
    attacked = attack(direction)
    attacked.raw(5, *attacked.buffer(30), NEXT, 6)
    attacked.rig.ring.descriptor(6, *attacked.buffer(), WRITE - attacked.flags)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_DIRECTION)
    still_works(attacked)


BAD_RANGES = {
    "before": (-64, 200),
    "behind": (0, 200),
    "over the end": (-100, 101),
    "length beyond": (-100, 0xFFFFFFFF),
    "zero": (None, 200),
    "top bit": (1 << 63, 200),
    "wraps": ((1 << 64) - 100, 200),
}


@DIRECTIONS
@pytest.mark.parametrize("kind", BAD_RANGES)
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
def test_buffer_outside_the_memory(
    attack: Callable[..., Attacked], direction: Direction, kind: str, indirect: bool, features: int
) -> None:
    """CVE-2018-1059: a range counts with its true length, not where it begins."""
    attacked = attack(direction, features, size=1 << 16)
    guest = attacked.rig.guest
    offset, length = BAD_RANGES[kind]
    address = 0 if offset is None else offset if offset >= 1 << 63 else guest.end + offset
    if kind == "before":
        address = guest.start(0) - 64
    if indirect:
        attacked.rig.ring.descriptor(5, attacked.table((address, length, 0, 0)), 16, INDIRECT)
    else:
        attacked.raw(5, address, length)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_ADDRESS)
    still_works(attacked)


def test_buffer_over_a_gap_between_regions(attack: Callable[..., Attacked]) -> None:
    attacked = attack(RX, regions=2, size=1 << 16)
    rig = attacked.rig
    rig.queue.unbind()
    regions = rig.guest.regions()
    rig.vring.place([regions[0]])
    rig.queue.bind(rig.vring, MERGEABLE)
    attacked.raw(5, rig.guest.start(1) - 50, 100)
    rig.ring.offer(5)
    expect(attacked, FAULT_ADDRESS)


@pytest.mark.parametrize("lengths", [(0,), (11,), (5, 6), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
def test_transmitted_chain_is_shorter_than_the_header(
    attack: Callable[..., Attacked], lengths: tuple[int, ...], indirect: bool
) -> None:
    """CVE-2022-2132."""
    attacked = attack(RX)
    place, _ = attacked.buffer(20)
    ring = attacked.rig.ring
    (ring.post_indirect if indirect else ring.post)([(place, length) for length in lengths], writable=False)
    expect(attacked, FAULT_SHORT)
    still_works(attacked)


@pytest.mark.parametrize("lengths", [(0,), (9,), (5, 4), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("features", [LEGACY, MODERN], ids=["legacy", "modern"])
def test_received_chain_is_shorter_than_the_header(
    attack: Callable[..., Attacked], features: int, lengths: tuple[int, ...], indirect: bool
) -> None:
    """CVE-2022-2132 the other way: what cannot hold a header is not written to, what was to go there is dropped."""
    attacked = attack(TX, features)
    assert attacked.run() == 1
    rig = attacked.rig
    place, size = rig.room(20)
    (rig.ring.post_indirect if indirect else rig.ring.post)([(place, length) for length in lengths], writable=True)
    assert attacked.run() == 2
    assert rig.guest.read(place, size) == bytes([FILL]) * size
    assert rig.queue.fault() is None
    assert (rig.ring.used_index, rig.counts()["errors"], rig.out) == (1, 2, 0)


@DIRECTIONS
@pytest.mark.parametrize("length", [0, 1, 15, 17, 9 * 16, 0xFFFFFFF0, 0xFFFFFFFF])
def test_indirect_table_has_an_impossible_length(
    attack: Callable[..., Attacked], direction: Direction, length: int
) -> None:
    attacked = attack(direction)
    table = attacked.table((*attacked.buffer(), 0, 0))
    attacked.rig.ring.descriptor(5, table, length, INDIRECT)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_INDIRECT_LENGTH, word=length)
    still_works(attacked)


@DIRECTIONS
def test_indirect_table_outside_the_memory(attack: Callable[..., Attacked], direction: Direction) -> None:
    attacked = attack(direction, size=1 << 16)
    attacked.rig.ring.descriptor(5, attacked.rig.guest.end - 16, 32, INDIRECT)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_INDIRECT_ADDRESS)
    still_works(attacked)


@contextmanager
def alternating(address: int, one: int, other: int) -> Iterator[None]:
    """Have two words written in turn at an address of this process: after each read of it, or as fast as a core can."""
    if INTERPRETED:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ring, "load_relaxed64", partial(_read_and_change, address, one ^ other))
            yield
        return
    stop = np.zeros(1, np.int64)

    def alternate(stop: int, place: int, one: int, other: int) -> int:
        while load_relaxed64(stop) == 0:
            store_relaxed32(place, one)
            store_relaxed32(place, other)
        return 0

    writer = burst_callback(alternate, "alternate")
    call = threading.Thread(target=BURST(writer.address), args=(stop.ctypes.data, address, one, other))
    call.start()
    try:
        yield
    finally:
        stop[0] = 1
        call.join()


def _read_and_change(changing: int, bits: int, address: int) -> int:
    word = load_relaxed64(address)
    if address == changing:
        store_relaxed32(address, word ^ bits)
    return word


@DIRECTIONS
def test_length_of_an_indirect_table_changes_while_it_is_read(
    attack: Callable[..., Attacked], direction: Direction
) -> None:
    """Fetched twice, the length that was checked is not the one that is used.

    The table is the last descriptor of the memory. With 16 bytes its chain goes on outside, with 32 it is outside
    itself; checked with one and followed with the other, what lies behind the memory would be read: another fault.
    """
    attacked = attack(direction, size=1 << 16)
    rig = attacked.rig
    table = attacked.table((*attacked.buffer(20), NEXT, 1))
    told = replace(rig.guest.regions()[0], size=table + 16 - rig.guest.start(0))
    rig.queue.unbind()
    rig.vring.place([told])
    rig.queue.bind(rig.vring, MERGEABLE)
    assert attacked.run() == 1
    attacked.raw(5, table, 16, INDIRECT)
    seen: dict[str, int] = {}
    end = time.monotonic() + 60
    with alternating(rig.guest.host(rig.ring.desc + 5 * DESCRIPTOR.size) + DESC_LEN, 16, 32):
        while len(seen) < 2 or sum(seen.values()) < 500:
            rig.ring.offer(5)
            assert attacked.run() == 0
            fault = rig.queue.fault()
            assert fault is not None
            text = next(text for text in FAULT_TEXTS.values() if text in str(fault))
            seen[text] = seen.get(text, 0) + 1
            rig.queue.heal()
            assert time.monotonic() < end, seen
    assert set(seen) == {FAULT_TEXTS[FAULT_NEXT], FAULT_TEXTS[FAULT_INDIRECT_ADDRESS]}
    assert rig.out == 0


@DIRECTIONS
def test_indirect_table_within_an_indirect_table(attack: Callable[..., Attacked], direction: Direction) -> None:
    attacked = attack(direction)
    inner = attacked.table((*attacked.buffer(), 0, 0))
    outer = attacked.table((inner, 16, INDIRECT, 0))
    attacked.rig.ring.descriptor(5, outer, 16, INDIRECT)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_INDIRECT)
    still_works(attacked)


@DIRECTIONS
def test_indirect_descriptor_has_a_next(attack: Callable[..., Attacked], direction: Direction) -> None:
    attacked = attack(direction)
    table = attacked.table((*attacked.buffer(), 0, 0))
    attacked.rig.ring.descriptor(5, table, 16, INDIRECT | NEXT, 6)
    attacked.rig.ring.offer(5)
    expect(attacked, FAULT_INDIRECT)
    still_works(attacked)


@DIRECTIONS
@pytest.mark.parametrize(("following", "code"), [(1, FAULT_NEXT), (0, FAULT_LOOP)])
def test_indirect_chain_leaves_its_table_or_runs_in_a_circle(
    attack: Callable[..., Attacked], direction: Direction, following: int, code: int
) -> None:
    attacked = attack(direction)
    attacked.rig.ring.descriptor(5, attacked.table((*attacked.buffer(30), NEXT, following)), 16, INDIRECT)
    attacked.rig.ring.offer(5)
    expect(attacked, code)
    still_works(attacked)


def test_mergeable_packet_finds_only_crumbs(attack: Callable[..., Attacked]) -> None:
    """A ring full of indirect tables of one-byte buffers has more pieces than any packet is worth."""
    attacked = attack(TX, num=64)
    place, _ = attacked.buffer(64)
    table = attacked.table(*[(place, 0, NEXT, index + 1) for index in range(62)], (place, 1, 0, 0))
    crumbs = attacked.table(*[(place, 1, NEXT, index + 1) for index in range(63)], (place, 1, 0, 0))
    attacked.rig.ring.descriptor(40, table, 63 * 16, INDIRECT)
    attacked.rig.ring.descriptor(41, crumbs, 64 * 16, INDIRECT)
    for head in (41, 40, 41, 41, 41):
        attacked.rig.ring.offer(head)
    rig = attacked.rig
    done = rig.run(rig.load((frame(100, 1),), (frame(400, 2),)))
    assert done == 1
    fault = rig.queue.fault()
    assert fault is not None
    assert FAULT_TEXTS[FAULT_PIECES] in str(fault)
    rig.burst[0] = rig.burst[1]
    rig.free(1)
    assert rig.out == 0


def test_used_ring_the_guest_overwrites_is_not_believed(attack: Callable[..., Attacked]) -> None:
    """The used ring is ours to write; what the guest writes there changes nothing."""
    attacked = attack(RX)
    assert attacked.run() == 1
    attacked.rig.guest.write(attacked.rig.ring.used, b"\xff" * 64)
    attacked.rig.ring.post([attacked.buffer()], writable=False)
    assert attacked.run() == 1
    assert attacked.rig.ring.used_index == 2
    assert attacked.rig.queue.fault() is None


def test_fault_names_queue_slot_and_word(attack: Callable[..., Attacked]) -> None:
    attacked = attack(RX)
    attacked.rig.ring.offer(200)
    attacked.run()
    assert str(attacked.rig.queue.fault()) == (
        "the front end broke rx queue 0 (ring 1): an available entry names a descriptor outside the table; "
        "at 1, word 0xc8"
    )
