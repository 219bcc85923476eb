# SPDX-License-Identifier: BSD-3-Clause
"""How long bursts are held back: as long as brings most, found by trying; never when that is not at all."""

from __future__ import annotations

import numpy as np
import pytest

from pollmode.eal.jit import compile_now, compiled, cycles, record
from pollmode.vhost.pacing import PACING, TURNS, WAYS, begin_pacing, end_window

FAST = 100_000_000  # cycles of a window; an end_window takes next to none


@compiled
def window_of(pacing: int, cost: int) -> int:
    """End a window that took `cost` cycles; return the next one's way."""
    record(pacing, PACING).began = cycles() - cost
    return end_window(pacing)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    compile_now(window_of, 2)


@pytest.fixture
def pacing() -> np.ndarray:
    made = np.zeros(1, PACING)
    begin_pacing(made[0])
    made["costs"] = FAST
    return made


def ways(pacing: np.ndarray, costs: list[int], windows: int) -> list[int]:
    """Return the way of each of so many windows, when a way's windows take `costs` of it."""
    taken = []
    for _ in range(windows):
        taken.append(int(pacing["way"][0]))
        window_of(pacing.ctypes.data, costs[taken[-1]])
    return taken


def test_nothing_is_held_back_at_first(pacing: np.ndarray) -> None:
    assert pacing["patience"][0] == 0
    assert ways(pacing, [FAST >> 1] * WAYS, TURNS) == [0] * TURNS


@pytest.mark.parametrize("best", range(WAYS))
def test_the_way_that_costs_least_is_found_and_kept(pacing: np.ndarray, best: int) -> None:
    costs = [FAST - (FAST >> 3) * (way == best) for way in range(WAYS)]
    ways(pacing, costs, 4 * WAYS * TURNS)
    taken = ways(pacing, costs, 4 * WAYS * TURNS)
    assert taken.count(best) >= len(taken) * (TURNS - 1) // TURNS
    assert set(taken) == set(range(WAYS))  # the others are tried, they may be better one day
    assert pacing["patience"][0] == pacing["way"][0] * pacing["unit"][0]


def test_another_way_is_taken_when_it_becomes_the_better_one(pacing: np.ndarray) -> None:
    ways(pacing, [FAST, FAST, FAST - (FAST >> 3), FAST], 4 * WAYS * TURNS)
    assert ways(pacing, [FAST, FAST, 2 * FAST, FAST], 4 * WAYS * TURNS)[-2] != 2
    back = [FAST - (FAST >> 2), FAST, 2 * FAST, FAST]
    ways(pacing, back, 8 * WAYS * TURNS)
    assert ways(pacing, back, TURNS).count(0) >= TURNS - 1


def test_a_window_in_which_one_end_stood_still_changes_little(pacing: np.ndarray) -> None:
    costs = [FAST - (FAST >> 2), FAST, FAST, FAST]
    ways(pacing, costs, 4 * WAYS * TURNS)
    ways(pacing, [1000 * FAST] * WAYS, 1)
    assert ways(pacing, costs, 2 * TURNS).count(0) >= 2 * TURNS - 2
