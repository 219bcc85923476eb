# SPDX-License-Identifier: BSD-3-Clause
"""The spinlock: held by one at a time, from compiled code on several lcores."""

from __future__ import annotations

import os

import pytest

from pollmode.eal.jit import INTERPRETED, compiled, load64, store64
from pollmode.eal.lcore import Lcores
from pollmode.eal.memory import Memory
from pollmode.eal.spinlock import spinlock_is_locked, spinlock_lock, spinlock_trylock, spinlock_unlock

PATIENCE = 100.0
HERE = frozenset(os.sched_getaffinity(0))


@compiled
def steps(lock: int) -> int:
    """Return one digit a step: free, taken, held, refused, freed."""
    seen = spinlock_is_locked(lock)
    seen = seen * 10 + spinlock_trylock(lock)
    seen = seen * 10 + spinlock_is_locked(lock)
    seen = seen * 10 + spinlock_trylock(lock)
    spinlock_unlock(lock)
    seen = seen * 10 + spinlock_is_locked(lock)
    spinlock_lock(lock)
    return seen * 10 + spinlock_is_locked(lock)


@compiled
def count(_lcore: int, lock: int, counter: int, times: int) -> int:
    for _ in range(times):
        spinlock_lock(lock)
        store64(counter, load64(counter) + 1)
        spinlock_unlock(lock)
    return times


def test_a_lock_is_taken_once_and_given_back(memory: Memory) -> None:
    word = memory.reserve("lock", 64)
    assert steps(word.address) == 11001  # the first step, not held, is a leading zero
    assert word.array("i8")[0] == 1


@pytest.mark.parametrize("holders", [2, 3])
def test_no_count_is_lost_between_lcores(memory: Memory, holders: int) -> None:
    times = 300 if INTERPRETED else 50_000
    words = memory.reserve("words", 128).array("i8", 16)
    lock, counter = words.ctypes.data, words.ctypes.data + 64
    lcores = Lcores(tuple((number, HERE) for number in range(holders)), memory)
    for each in lcores.all:
        lcores.launch(each.id, count, lock, counter, times)
    lcores.wait(timeout=PATIENCE)
    assert words[8] == holders * times
    assert words[0] == 0
    assert lcores.close()
