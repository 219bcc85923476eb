# SPDX-License-Identifier: BSD-3-Clause
"""A spinlock on a 64-bit word: 0 is free, 1 is held. For compiled code; a holder must not wait for anything.

Prior art: DPDK's rte_spinlock. A waiter reads until the word looks free and only then tries to take it, so that the
cache line stays shared among the waiters.
"""

from __future__ import annotations

from pollmode.eal.jit import compare_exchange64, inlined, load_relaxed64, pause, store_release64

__all__ = ["spinlock_is_locked", "spinlock_lock", "spinlock_trylock", "spinlock_unlock"]


@inlined
def spinlock_trylock(word: int) -> int:
    """Take the lock at address `word` if it is free; returns 1 when it was, else 0."""
    return compare_exchange64(word, 0, 1)


@inlined
def spinlock_lock(word: int) -> None:
    """Take the lock at address `word`, waiting until it is free."""
    while compare_exchange64(word, 0, 1) == 0:
        while load_relaxed64(word) != 0:
            pause()


@inlined
def spinlock_unlock(word: int) -> None:
    """Give back the lock at address `word`, which the caller holds."""
    store_release64(word, 0)


@inlined
def spinlock_is_locked(word: int) -> int:
    """Return 1 when somebody holds the lock at address `word`, else 0; true only of the moment."""
    return 1 if load_relaxed64(word) != 0 else 0
