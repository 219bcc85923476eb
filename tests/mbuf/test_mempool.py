# SPDX-License-Identifier: BSD-3-Clause
"""Pools: every element is in the ring, in one cache, or out; and whoever breaks that is told."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore

from pollmode.eal.errors import ConfigError, HostError, InternalError
from pollmode.eal.lcore_layout import LCORE_ID_ANY
from pollmode.eal.memory import Memory, private
from pollmode.mbuf import Mempool, mempool
from pollmode.mbuf.layout import CACHE_LINE, OBJECT_COOKIE, OBJECT_HEADER, OBJECT_HEADER_SIZE


@pytest.fixture
def pool(memory: Memory) -> Iterator[Mempool]:
    made = mempool.create(memory, "p", 100, element_size=40, cache_size=16)
    yield made
    if made.live:
        made.free()


@pytest.mark.parametrize("size", [1, 8, 63, 64, 65, 128, 2304, 9000, 65536])
def test_elements_stand_an_odd_number_of_cache_lines_apart_behind_their_headers(memory: Memory, size: int) -> None:
    pool = mempool.create(memory, "p", 10, element_size=size)
    elements = list(pool.walk())
    steps = set(np.diff(elements).tolist())
    assert len(steps) == 1
    step = steps.pop()
    assert step % CACHE_LINE == 0
    assert step // CACHE_LINE % 2 == 1
    assert step >= size + OBJECT_HEADER_SIZE
    assert all(element % CACHE_LINE == 0 for element in elements)
    headers = pool.column(OBJECT_HEADER, -OBJECT_HEADER_SIZE)
    assert (headers["pool"] == pool.address).all()
    assert (headers["iova"] == elements).all()
    assert headers["index"].tolist() == list(range(10))
    assert (headers["cookie"] == OBJECT_COOKIE).all()
    assert elements[0] - OBJECT_HEADER_SIZE == pool.record()["objects"]


def test_a_get_refills_the_cache_and_a_put_flushes_it(pool: Mempool) -> None:
    lcore = Lcore(3)
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array, 4) == 4
    assert pool.audit().in_caches == {3: 16}  # refilled to its size beyond what was asked for
    assert pool.audit().out == 4
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array + 32, 16) == 16
    assert pool.audit().in_caches == {}
    verbs.put_bulk(lcore.address, pool.address, lcore.array, 16)
    verbs.put_one(lcore.address, pool.address, int(lcore.words[16]))
    assert pool.audit().in_caches == {3: 17}  # up to one and a half times the size
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array + 32 * 8, 8) == 8
    verbs.put_bulk(lcore.address, pool.address, lcore.array + 32 * 8, 8)
    verbs.put_bulk(lcore.address, pool.address, lcore.array + 17 * 8, 3)
    assert pool.audit().in_caches == {3: 20}
    words = [verbs.get_one(lcore.address, pool.address) for _ in range(21)]
    assert len(set(words)) == 21
    assert pool.audit().in_caches == {3: 15}
    for word in words:
        verbs.put_one(lcore.address, pool.address, word)
    assert pool.audit().in_caches[3] <= 24
    assert pool.audit().out == 0


def test_a_get_larger_than_the_cache_goes_to_the_ring(pool: Mempool) -> None:
    lcore = Lcore(0)
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array, 40) == 40
    assert pool.audit().in_caches == {}
    verbs.put_bulk(lcore.address, pool.address, lcore.array, 40)
    assert pool.audit().in_ring == 100


def test_the_last_elements_are_found_in_ring_and_cache_together(memory: Memory) -> None:
    pool = mempool.create(memory, "p", 48, element_size=8, cache_size=16)
    lcore = Lcore(0)
    verbs.get_bulk(lcore.address, pool.address, lcore.array, 1)
    assert pool.audit().in_caches == {0: 16}
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array + 8, 47) == 47
    assert pool.audit().out == 48
    assert len(set(lcore.words[:48].tolist())) == 48
    assert verbs.get_one(lcore.address, pool.address) == 0
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array, 1) == 0


def test_a_get_of_too_many_takes_nothing(pool: Mempool) -> None:
    any_thread, lcore = Lcore(LCORE_ID_ANY), Lcore(1)
    verbs.get_bulk(any_thread.address, pool.address, any_thread.array, 64)
    verbs.get_bulk(lcore.address, pool.address, lcore.array, 30)
    before = pool.audit()
    assert before.out == 94
    for who in (any_thread, lcore):
        assert verbs.get_bulk(who.address, pool.address, who.array, 7) == 0
        assert pool.audit() == before
    assert verbs.get_bulk(lcore.address, pool.address, lcore.array + 30 * 8, 6) == 6


def test_whoever_is_no_lcore_leaves_the_caches_alone(pool: Mempool) -> None:
    other = Lcore(LCORE_ID_ANY)
    words = [verbs.get_one(other.address, pool.address) for _ in range(3)]
    assert verbs.get_bulk(other.address, pool.address, other.array, 5) == 5
    assert pool.audit() == mempool.Audit(100, 92, {})
    for word in words:
        verbs.put_one(other.address, pool.address, word)
    verbs.put_bulk(other.address, pool.address, other.array, 5)
    assert pool.audit() == mempool.Audit(100, 100, {})


def test_a_pool_without_caches_works_for_every_lcore(memory: Memory) -> None:
    pool = mempool.create(memory, "p", 10, element_size=8, cache_size=0)
    for number in (0, 127, LCORE_ID_ANY):
        lcore = Lcore(number)
        assert verbs.get_bulk(lcore.address, pool.address, lcore.array, 10) == 10
        assert verbs.get_one(lcore.address, pool.address) == 0
        assert pool.audit() == mempool.Audit(10, 0, {})
        verbs.put_bulk(lcore.address, pool.address, lcore.array, 10)
        assert pool.audit() == mempool.Audit(10, 10, {})


def test_all_128_lcores_have_a_cache_of_their_own(memory: Memory) -> None:
    pool = mempool.create(memory, "p", 1000, element_size=8, cache_size=4)
    lcores = [Lcore(number) for number in range(128)]
    for lcore in lcores:
        assert verbs.get_bulk(lcore.address, pool.address, lcore.array, 2) == 2
    audit = pool.audit()
    assert audit.out == 256
    assert set(audit.in_caches) == set(range(128))
    for lcore in lcores:
        verbs.put_bulk(lcore.address, pool.address, lcore.array, 2)
    assert pool.available() == 1000
    assert pool.in_use() == 0


def test_from_the_interpreter(pool: Mempool) -> None:
    taken = pool.get(30)
    assert len(taken) == 30
    assert pool.in_use() == 30
    assert len(pool.get(71)) == 0
    pool.put(taken)
    assert pool.available() == 100
    with pytest.raises(ConfigError, match="is not the address of one of its elements"):
        pool.put([int(taken[0]) + 8])
    assert pool.audit().out == 0


def test_audit_finds_what_was_put_twice(pool: Mempool) -> None:
    taken = pool.get(3)
    pool.put(taken[:2])
    pool.put(taken[:1])
    with pytest.raises(InternalError, match=rf"{int(taken[0]):#x} was put back twice; it is in the ring"):
        pool.audit()


def test_audit_finds_what_is_in_a_cache_and_in_the_ring(pool: Mempool) -> None:
    lcore, other = Lcore(5), Lcore(LCORE_ID_ANY)
    verbs.get_bulk(lcore.address, pool.address, lcore.array, 2)
    verbs.put_one(lcore.address, pool.address, int(lcore.words[0]))
    verbs.put_one(other.address, pool.address, int(lcore.words[0]))
    with pytest.raises(InternalError, match="was put back twice; it is in the ring, cache of lcore 5"):
        pool.audit()


@pytest.mark.parametrize("number", [0, LCORE_ID_ANY])
@pytest.mark.parametrize("offset", [8, -64, 1 << 30])
def test_audit_finds_an_address_that_is_not_an_elements(pool: Mempool, number: int, offset: int) -> None:
    lcore = Lcore(number)
    element = verbs.get_one(lcore.address, pool.address)
    verbs.put_one(lcore.address, pool.address, element + offset)
    place = "ring" if number == LCORE_ID_ANY else "cache of lcore 0"
    with pytest.raises(InternalError, match=rf"{element + offset:#x} in the {place} is not one of its elements"):
        pool.audit()


def test_audit_counts_puts_that_found_the_ring_full(pool: Mempool) -> None:
    other = Lcore(LCORE_ID_ANY)
    element = int(pool.elements()[7])
    for _ in range(3):
        verbs.put_one(other.address, pool.address, element)
    with pytest.raises(InternalError, match="3 puts found the ring full"):
        pool.audit()


@pytest.mark.parametrize(
    ("count", "element_size", "cache_size", "told"),
    [
        (0, 8, 0, "count 0 and element size 8 must be at least 1"),
        (-5, 8, 0, "must be at least 1"),
        (10, 0, 0, "must be at least 1"),
        (100, 8, 68, "cache size 68 is not between 0 and 67"),
        (10000, 8, 513, "cache size 513 is not between 0 and 512"),
        (100, 8, -1, "cache size -1"),
    ],
)
def test_numbers_that_are_not_allowed(
    memory: Memory, count: int, element_size: int, cache_size: int, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        mempool.create(memory, "p", count, element_size=element_size, cache_size=cache_size)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 2), (4, 3), (100, 67), (1000, 256)])
def test_a_cache_size_that_is_left_out_suits_the_pool(memory: Memory, count: int, expected: int) -> None:
    assert mempool.create(memory, "p", count, element_size=8).cache_size == expected


def test_a_name_that_is_taken_leaves_nothing_half_made(memory: Memory) -> None:
    mempool.create(memory, "p", 10, element_size=8)
    zones = {zone.name for zone in memory.zones()}
    with pytest.raises(ConfigError, match="MP_p"):
        mempool.create(memory, "p", 10, element_size=8)
    with pytest.raises(HostError):
        mempool.create(memory, "q", 10, element_size=1 << 30)
    assert {zone.name for zone in memory.zones()} == zones


def test_a_pool_gives_its_memory_back_once(memory: Memory) -> None:
    zones = memory.zones()
    pool = mempool.create(memory, "p", 10, element_size=8)
    element = next(pool.walk())
    assert mempool.find(element) is pool
    pool.free()
    assert memory.zones() == zones
    assert mempool.find(element) is None
    for use in (pool.free, pool.audit, pool.available, pool.walk, lambda: pool.get(1), lambda: pool.put([element])):
        with pytest.raises(ConfigError, match="mempool p is gone"):
            use()


def test_a_pool_notices_that_its_memory_was_closed() -> None:
    memory = private(1 << 20)
    pool = mempool.create(memory, "p", 10, element_size=8)
    element = next(pool.walk())
    memory.close()
    assert not pool.live
    assert mempool.find(element) is not pool
    with pytest.raises(ConfigError, match="the memory it is in was closed"):
        pool.available()


class MempoolMachine(RuleBasedStateMachine):
    """Two lcores with caches and one without get and put; the model is the set of what is out."""

    @initialize(count=st.integers(24, 60), cache_size=st.sampled_from([0, 1, 4, 16]))
    def make(self, count: int, cache_size: int) -> None:
        self.memory = private(2 << 20)
        self.pool = mempool.create(self.memory, "p", count, element_size=8, cache_size=cache_size)
        self.lcores = {number: Lcore(number) for number in (0, 9, LCORE_ID_ANY)}
        self.out: list[int] = []

    @rule(number=st.sampled_from([0, 9, LCORE_ID_ANY]), n=st.integers(0, 62), single=st.booleans())
    def get(self, number: int, n: int, single: bool) -> None:
        lcore = self.lcores[number]
        before = self.pool.audit()
        reachable = before.in_ring + before.in_caches.get(number, 0)
        if single:
            element = verbs.get_one(lcore.address, self.pool.address)
            taken = [element] if element else []
            assert bool(taken) == (reachable > 0)
        else:
            got = verbs.get_bulk(lcore.address, self.pool.address, lcore.array, n)
            assert got == (n if n <= reachable else 0)
            taken = lcore.words[:got].tolist()
        assert len(set(taken)) == len(taken)
        assert not set(taken) & set(self.out)
        self.out += taken

    @rule(number=st.sampled_from([0, 9, LCORE_ID_ANY]), n=st.integers(0, 62), single=st.booleans())
    def put(self, number: int, n: int, single: bool) -> None:
        lcore = self.lcores[number]
        n = min(n, len(self.out))
        back, self.out = self.out[:n], self.out[n:]
        if single:
            for element in back:
                verbs.put_one(lcore.address, self.pool.address, element)
        else:
            lcore.words[:n] = back
            verbs.put_bulk(lcore.address, self.pool.address, lcore.array, n)

    @invariant()
    def every_element_is_somewhere(self) -> None:
        if not hasattr(self, "pool"):
            return
        audit = self.pool.audit()
        assert audit.out == len(self.out) == self.pool.in_use()
        assert LCORE_ID_ANY not in audit.in_caches
        assert all(length <= self.pool.cache_size * 3 // 2 for length in audit.in_caches.values())
        assert {self.pool.index(element) for element in self.out} <= set(range(self.pool.count))

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.memory.close()


TestMempoolMachine = MempoolMachine.TestCase
TestMempoolMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
