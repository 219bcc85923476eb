# SPDX-License-Identifier: BSD-3-Clause
"""Rings: what goes in comes out once, in order, and never more than the ring holds."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore

from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.memory import Memory, private
from pollmode.mbuf import ring

ENDS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("single_producer", "single_consumer"), ENDS)
def test_words_come_out_in_the_order_they_went_in(memory: Memory, single_producer: bool, single_consumer: bool) -> None:
    made = ring.create(memory, "r", 16, single_producer=single_producer, single_consumer=single_consumer)
    expected: list[int] = []
    taken: list[int] = []
    for turn in range(40):  # around the ring several times, at every position
        words = list(range(1000 * turn + 1, 1000 * turn + 1 + turn % 8))
        assert made.enqueue_bulk(words) == len(words)
        expected += words
        taken += made.dequeue(turn % 7).tolist()
        assert made.words().tolist() == expected[len(taken) :]
        taken += made.dequeue(16).tolist()
    assert taken == expected


def test_a_bulk_is_all_or_none_and_a_burst_what_fits(memory: Memory) -> None:
    made = ring.create(memory, "r", 8)
    assert made.capacity == 7
    assert made.enqueue_bulk(range(1, 9)) == 0
    assert len(made) == 0
    assert made.enqueue(range(1, 9)) == 7
    assert made.free_count == 0
    assert made.enqueue([9]) == 0
    assert made.dequeue_bulk(8).tolist() == []
    assert made.dequeue_bulk(7).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert made.dequeue(3).tolist() == []


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_an_exact_ring_holds_exactly_its_count(memory: Memory, count: int) -> None:
    made = ring.create(memory, "r", count, exact=True)
    assert made.capacity == count
    for _ in range(3):
        assert made.enqueue(range(count + 5)) == count
        assert len(made) == count
        assert made.dequeue(count + 5).tolist() == list(range(count))


@pytest.mark.parametrize(("single_producer", "single_consumer"), ENDS)
def test_single_words(memory: Memory, single_producer: bool, single_consumer: bool) -> None:
    address = ring.create(memory, "r", 4, single_producer=single_producer, single_consumer=single_consumer).address
    assert verbs.dequeue_one(address) == 0
    for word in (11, 22, 33):
        assert verbs.enqueue_one(address, word) == 1
    assert verbs.enqueue_one(address, 44) == 0
    assert verbs.counts(address, 0) == 3
    assert verbs.counts(address, 1) == 0
    assert [verbs.dequeue_one(address) for _ in range(4)] == [11, 22, 33, 0]


@pytest.mark.parametrize("whole", [0, 1])
def test_zero_and_negative_numbers_change_nothing(memory: Memory, whole: int) -> None:
    made = ring.create(memory, "r", 8)
    lcore = Lcore(0)
    made.enqueue([5, 6])
    for n in (0, -1, -64):
        assert verbs.enqueue(made.address, lcore.array, n, whole) <= 0
        assert verbs.dequeue(made.address, lcore.array, n, whole) <= 0
        assert made.words().tolist() == [5, 6]


def test_words_of_all_bits(memory: Memory) -> None:
    made = ring.create(memory, "r", 8)
    words = [-1, 0, 1, -(1 << 63), (1 << 63) - 1]
    made.enqueue(words)
    assert made.dequeue(8).tolist() == words


@pytest.mark.parametrize("count", [0, 1, 3, 6, 1000, -8, 1 << 32])
def test_a_count_that_is_no_power_of_two_is_refused(memory: Memory, count: int) -> None:
    with pytest.raises(ConfigError, match=r"count -?\d+ is not a power of two between 2 and"):
        ring.create(memory, "r", count)


@pytest.mark.parametrize("count", [0, -1, 1 << 31])
def test_an_exact_count_out_of_range_is_refused(memory: Memory, count: int) -> None:
    with pytest.raises(ConfigError, match="is not between 1 and"):
        ring.create(memory, "r", count, exact=True)


def test_a_name_that_is_taken_is_refused_and_free_after_free(memory: Memory) -> None:
    first = ring.create(memory, "r", 8)
    with pytest.raises(ConfigError, match="RG_r"):
        ring.create(memory, "r", 8)
    first.free()
    ring.create(memory, "r", 8).free()


def test_a_freed_ring_refuses_everything(memory: Memory) -> None:
    made = ring.create(memory, "r", 8)
    made.free()
    for use in (made.free, lambda: made.enqueue([1]), lambda: made.dequeue(1), made.words, lambda: len(made)):
        with pytest.raises(ConfigError, match="ring r was freed"):
            use()


def test_taking_a_negative_number_is_refused(memory: Memory) -> None:
    with pytest.raises(ConfigError, match="-1 words can't be taken"):
        ring.create(memory, "r", 8).dequeue(-1)


def test_too_little_memory_is_said_before_anything_is_made(memory: Memory) -> None:
    with pytest.raises(HostError, match="RG_huge"):
        ring.create(memory, "huge", 1 << 26)
    ring.create(memory, "huge", 8)


class RingMachine(RuleBasedStateMachine):
    """A ring beside a deque."""

    @initialize(count=st.integers(1, 20), single_producer=st.booleans(), single_consumer=st.booleans())
    def make(self, count: int, single_producer: bool, single_consumer: bool) -> None:
        self.memory = private(1 << 20)
        self.ring = ring.create(
            self.memory, "r", count, exact=True, single_producer=single_producer, single_consumer=single_consumer
        )
        self.model: deque[int] = deque()
        self.serial = 0

    @rule(n=st.integers(0, 24), whole=st.booleans())
    def enqueue(self, n: int, whole: bool) -> None:
        words = list(range(self.serial, self.serial + n))
        self.serial += n
        room = self.ring.capacity - len(self.model)
        expected = n if n <= room else 0 if whole else room
        assert (self.ring.enqueue_bulk if whole else self.ring.enqueue)(words) == expected
        self.model.extend(words[:expected])

    @rule(n=st.integers(0, 24), whole=st.booleans())
    def dequeue(self, n: int, whole: bool) -> None:
        there = len(self.model)
        expected = n if n <= there else 0 if whole else there
        taken = (self.ring.dequeue_bulk if whole else self.ring.dequeue)(n).tolist()
        assert taken == [self.model.popleft() for _ in range(expected)]

    @invariant()
    def alike(self) -> None:
        if not hasattr(self, "ring"):
            return
        assert self.ring.words().tolist() == list(self.model)
        assert verbs.counts(self.ring.address, 0) == len(self.ring) == len(self.model)
        assert verbs.counts(self.ring.address, 1) == self.ring.free_count == self.ring.capacity - len(self.model)

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.memory.close()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
