# SPDX-License-Identifier: BSD-3-Clause
"""How far apart two CPUs are now: a virtual machine's CPUs move, and figures of two cores move with them."""

from __future__ import annotations

import os
import threading

import numpy as np

from pollmode.eal.jit import compile_now, compiled, cycles, load_acquire64, store_release64

ROUNDS = 20_000


@compiled
def bounce(mine: int, theirs: int, rounds: int, first: int) -> int:
    """Pass a counter to another thread and back; returns the cycles it took."""
    begun = cycles()
    for turn in range(1, rounds + 1):
        if first:
            store_release64(mine, turn)
        while load_acquire64(theirs) < turn:
            pass
        if not first:
            store_release64(mine, turn)
    return cycles() - begun


def round_trip(cpus: tuple[int, int]) -> int:
    """Return the cycles that a cache line takes from one CPU to the other and back."""
    compile_now(bounce, 4)
    words = np.zeros(64, np.int64)
    here, there = words.ctypes.data, words.ctypes.data + 256
    took: list[int] = []

    def play(cpu: int, mine: int, theirs: int, first: int) -> None:
        os.sched_setaffinity(0, {cpu})
        took.append(bounce(mine, theirs, ROUNDS, first))

    players = [
        threading.Thread(target=play, args=(cpus[0], here, there, 1)),
        threading.Thread(target=play, args=(cpus[1], there, here, 0)),
    ]
    for player in players:
        player.start()
    for player in players:
        player.join()
    return max(took) // ROUNDS


def label(before: int, after: int) -> str:
    """Name the placement of a window from the round trips before and after it; "moved" windows compare with nothing."""
    names = {"near" if trip < 450 else "middle" if trip < 1000 else "far" for trip in (before, after)}
    return names.pop() if len(names) == 1 else "moved"
