# SPDX-License-Identifier: BSD-3-Clause
"""Pools that lcores of other processes use: crates in place of the ring, and what comes back when one is gone.

The other process is played by a record of an lcore of its own: nothing here knows which process it runs in.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.interrupts import Alarm, Interrupts
from pollmode.eal.jit import compiled
from pollmode.eal.lcore_layout import LCORE
from pollmode.eal.memory import Memory, Memzone
from pollmode.mbuf import mempool
from pollmode.mbuf.cache import pool_get, pool_get_bulk, pool_put, pool_put_bulk
from pollmode.mbuf.layout import DEPOT, RING
from pollmode.mbuf.lending import Lending
from pollmode.mbuf.mempool import Mempool

COUNT, CACHE = 2048, 64
THEIRS, THEIR_CONTROL, OURS = 9, 127, 1
OTHERS, OTHER_CONTROL = 10, 126


@compiled
def _get(lcore: int, pool: int, objs: int, n: int) -> int:
    return pool_get_bulk(lcore, pool, objs, n)


@compiled
def _put(lcore: int, pool: int, objs: int, n: int) -> int:
    pool_put_bulk(lcore, pool, objs, n)
    return n


@compiled
def _get_one(lcore: int, pool: int) -> int:
    return pool_get(lcore, pool)


@compiled
def _put_one(lcore: int, pool: int, element: int) -> int:
    pool_put(lcore, pool, element)
    return 1


class Hand:
    """An lcore and what it took."""

    def __init__(self, pool: Mempool, lcore: int) -> None:
        self._pool = pool
        self._record = np.zeros(1, LCORE)
        self._record["id"] = lcore
        self._lcore = int(self._record.ctypes.data)
        self._words = np.zeros(COUNT, np.int64)
        self.held: list[int] = []

    def get(self, n: int) -> int:
        got = _get(self._lcore, self._pool.address, self._words.ctypes.data, n)
        self.held += self._words[:got].tolist()
        return got

    def put(self, n: int) -> None:
        words: npt.NDArray[np.int64] = np.array([self.held.pop() for _ in range(n)], np.int64)
        _put(self._lcore, self._pool.address, words.ctypes.data, n)

    def get_one(self) -> bool:
        element = _get_one(self._lcore, self._pool.address)
        self.held += [element] if element else []
        return element != 0

    def put_one(self) -> None:
        _put_one(self._lcore, self._pool.address, self.held.pop())


class Still(Interrupts):
    """Alarms that are due when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Callable[[], None]] = []

    def alarm(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        self.pending.append(callback)
        return Alarm(seconds, len(self.pending), callback)

    def ring(self) -> None:
        due, self.pending = self.pending, []
        for callback in due:
            callback()


@pytest.fixture
def still() -> Iterator[Still]:
    made = Still()
    yield made
    made.close()


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    made = Interrupts()
    yield made
    made.close()


@pytest.fixture
def pool(memory: Memory) -> Mempool:
    return mempool.create(memory, "shared", COUNT, element_size=64, cache_size=CACHE)


@pytest.fixture
def lending(memory: Memory, pool: Mempool, interrupts: Interrupts) -> Lending:
    made = Lending(memory, interrupts)
    made.lend([THEIRS], THEIR_CONTROL)
    return made


def heads(memory: Memory) -> tuple[int, int]:
    """Return where the ends of the pool's ring are, which nobody but the primary may move."""
    record = memory.lookup("RG_MP_shared").array(RING)[0]
    return int(record["producer_head"]), int(record["consumer_head"])


def whole(pool: Mempool, *hands: Hand) -> None:
    """Check that every element is somewhere, and in one place."""
    audit = pool.audit()
    held = [element for hand in hands for element in hand.held]
    assert len(set(held)) == len(held)
    assert audit.available + len(held) == COUNT
    assert pool.available() == audit.available


def others_lending(memory: Memory, still: Still) -> Lending:
    """Return what lends to two other processes, and feeds nobody by itself."""
    made = Lending(memory, still)
    made.lend([THEIRS], THEIR_CONTROL)
    made.lend([OTHERS], OTHER_CONTROL)
    return made


@pytest.mark.parametrize(("lcore", "n"), [(THEIRS, 32), (THEIRS, 150), (THEIR_CONTROL, 7)])
def test_another_process_takes_and_puts_back_without_touching_the_ring(
    memory: Memory, pool: Mempool, lending: Lending, lcore: int, n: int
) -> None:
    hand = Hand(pool, lcore)
    before = heads(memory)
    for _ in range(40):
        assert hand.get(n) == n
        whole(pool, hand)
        hand.put(n)
        assert hand.get_one()
        hand.put_one()
        whole(pool, hand)
    assert heads(memory) == before


def test_who_finds_nothing_is_fed_out_of_the_ring(pool: Mempool, lending: Lending) -> None:
    hand = Hand(pool, THEIRS)
    while hand.get(32):
        pass
    few = len(hand.held)
    assert 0 < few < COUNT
    for _ in range(100_000):
        if hand.get(32):
            break
    assert len(hand.held) > few
    whole(pool, hand)


def test_who_finds_nothing_is_fed_by_the_next_that_puts_back(memory: Memory, pool: Mempool, lending: Lending) -> None:
    ours, theirs = Hand(pool, OURS), Hand(pool, THEIRS)
    assert ours.get(400) == 400
    while theirs.get(32):
        pass
    few = len(theirs.held)
    ours.put(400)
    assert theirs.get(32) == 32
    assert len(theirs.held) == few + 32
    whole(pool, ours, theirs)


def test_what_another_process_put_back_is_found_when_the_ring_is_short(pool: Mempool, lending: Lending) -> None:
    ours, theirs = Hand(pool, OURS), Hand(pool, THEIRS)
    for _ in range(1_000_000):
        if not theirs.get(32) and len(theirs.held) > COUNT - 2 * CACHE:
            break
    while theirs.get_one():
        pass
    whole(pool, ours, theirs)
    assert pool.audit().in_ring == 0
    assert not ours.get(32)
    theirs.put(len(theirs.held))
    assert ours.get(32) == 32
    while ours.get_one():
        pass
    assert len(ours.held) > COUNT - 2 * CACHE
    whole(pool, ours, theirs)
    ours.put(len(ours.held))
    whole(pool, ours, theirs)


def test_the_cache_of_a_process_that_is_gone_comes_back(memory: Memory, pool: Mempool, lending: Lending) -> None:
    hand = Hand(pool, THEIRS)
    assert hand.get(10) == 10
    kept = pool.audit().in_caches[THEIRS]
    assert kept
    lending.take_back([THEIRS, THEIR_CONTROL])
    assert pool.audit().in_caches == {}
    assert pool.audit().out == 10  # what it had in its hands
    assert pool.cache_header(THEIRS)["depot"] == 0


def test_a_crate_in_the_hands_of_a_process_that_is_gone_comes_back(
    memory: Memory, pool: Mempool, lending: Lending
) -> None:
    from pollmode.mbuf import depot
    from pollmode.mbuf.layout import CRATE, DEPOT_FULL

    zone = memory.lookup("MP_shared_depot")
    taken = depot._pop(zone.address, zone.address + DEPOT_FULL, THEIRS + 1)
    crate = zone.array(CRATE, 1, taken - zone.address)[0]
    held = int(crate["length"])
    assert held > 0
    before = pool.audit().in_ring
    lending.take_back([THEIRS, THEIR_CONTROL])
    assert (int(crate["owner"]), int(crate["length"])) == (0, 0)
    assert pool.audit().in_ring == before  # they count wherever they are
    whole(pool)


def test_words_that_a_dying_process_left_are_checked(
    memory: Memory, pool: Mempool, lending: Lending, caplog: pytest.LogCaptureFixture
) -> None:
    hand = Hand(pool, THEIRS)
    assert hand.get(1) == 1
    kept = pool.audit().in_caches[THEIRS]
    header = pool.cache_header(THEIRS)
    offset = int(header.__array_interface__["data"][0]) + 64 - memory.lookup("MP_shared").address
    slots = memory.lookup("MP_shared").array("<i8", kept, offset)
    slots[0] = 0xDEAD
    slots[1] = slots[2]
    lending.take_back([THEIRS, THEIR_CONTROL])
    assert pool.audit().out == 3


def test_a_pool_made_later_is_lent_too(memory: Memory, lending: Lending) -> None:
    later = mempool.create(memory, "later", 512, element_size=64, cache_size=16)
    assert int(later.cache_header(THEIRS)["depot"]) == memory.lookup("MP_later_depot").address
    hand = Hand(later, THEIRS)
    assert hand.get(8) == 8


def test_a_pool_in_use_is_not_freed(pool: Mempool, lending: Lending, memory: Memory) -> None:
    with pytest.raises(ConfigError, match="used by another process; end that first"):
        pool.free()
    lending.take_back([THEIRS, THEIR_CONTROL])
    pool.free()
    assert [zone.name for zone in memory.zones()] == []


def test_a_pool_without_caches_is_refused(memory: Memory, interrupts: Interrupts) -> None:
    made = mempool.create(memory, "bare", 64, element_size=64, cache_size=0)
    with pytest.raises(UnsupportedError, match=r"mempool bare keeps no elements .*--mbcache=0.*another process"):
        Lending(memory, interrupts).lend([THEIRS], THEIR_CONTROL)
    made.free()


def test_who_goes_and_kept_nothing_leaves_the_hungry_hungry(memory: Memory, pool: Mempool, still: Still) -> None:
    lending = others_lending(memory, still)
    record = memory.lookup("MP_shared_depot").array(DEPOT)[0]
    full = int(record["full"])
    record["hungry"] = 1
    lending.take_back([THEIRS, THEIR_CONTROL])
    pool.put([])
    assert (int(record["hungry"]), int(record["full"])) == (1, full)
    hand = Hand(pool, OTHERS)
    assert hand.get_one()
    assert pool.index(hand.held[0]) >= 0
    whole(pool, hand)


def test_however_often_they_come_and_go_one_alarm_is_pending(memory: Memory, pool: Mempool, still: Still) -> None:
    lending = Lending(memory, still)
    for _ in range(20):
        lending.lend([THEIRS], THEIR_CONTROL)
        lending.take_back([THEIRS, THEIR_CONTROL])
    assert len(still.pending) == 1
    still.ring()
    assert still.pending == []
    lending.lend([THEIRS], THEIR_CONTROL)
    assert len(still.pending) == 1
    still.ring()
    assert len(still.pending) == 1


def test_two_that_come_at_once_share_one_depot(
    memory: Memory, pool: Mempool, still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    lending = Lending(memory, still)
    reserve, refused = memory.reserve, []

    def second() -> None:
        try:
            lending.lend([OTHERS], OTHER_CONTROL)
        except ConfigError as error:
            refused.append(error)

    other = threading.Thread(target=second, daemon=True)

    def meanwhile(name: str, size: int) -> Memzone:
        monkeypatch.undo()
        other.start()
        other.join(0.1)  # it can't end before the first has: no more than a chance to do it wrong
        return reserve(name, size)

    monkeypatch.setattr(memory, "reserve", meanwhile)
    lending.lend([THEIRS], THEIR_CONTROL)
    other.join()
    assert refused == []
    depots = [int(pool.cache_header(each)["depot"]) for each in (THEIRS, THEIR_CONTROL, OTHERS, OTHER_CONTROL)]
    assert depots == [memory.lookup("MP_shared_depot").address] * 4
    assert len(still.pending) == 1


def test_a_pool_that_cannot_be_lent_is_made_all_the_same(
    memory: Memory, lending: Lending, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = mempool.create(memory, "bare", 64, element_size=64, cache_size=0)
    assert "mempool bare is not lent" in capsys.readouterr().err
    with pytest.raises(UnsupportedError, match="mempool bare keeps no elements"):
        lending.lend([OTHERS], OTHER_CONTROL)
    bare.free()
    lending.lend([OTHERS], OTHER_CONTROL)


def test_a_freed_pool_is_forgotten(memory: Memory, lending: Lending) -> None:
    short = mempool.create(memory, "short", 512, element_size=64, cache_size=16)
    known = weakref.ref(short)
    lending.take_back([THEIRS, THEIR_CONTROL])
    short.free()
    del short
    mempool.create(memory, "next", 512, element_size=64, cache_size=16)
    gc.collect()
    assert known() is None
