# SPDX-License-Identifier: BSD-3-Clause
"""What an lcore of a secondary process has in place of a pool's ring: crates of elements on two lock-free stacks.

Whoever claims slots of a ring and is killed before it publishes them holds up every other user of the ring for good
(rte_ring has that too). A secondary may be killed at any instruction and must not hold up the primary, so it never
claims: it takes a whole crate by one compare-exchange, works on it alone, and puts it back by another. What it had in
its hands is found by the crate's owner. All stores are ordered so that a death between any two of them loses
elements at worst and never has one in two places.

The primary's lcores go on with the ring. They look here when the ring is short, and leave a crate here when a secondary
found none, both off the fast path. (The crates are the magazines of Bonwick's vmem paper.)
"""

from __future__ import annotations

from pollmode.eal.jit import (
    compare_exchange64,
    compiled,
    copy,
    fetch_add64,
    inlined,
    load64,
    load_acquire64,
    store64,
    store_release64,
)
from pollmode.mbuf.layout import (
    CACHE_DEPOT,
    CACHE_LENGTH,
    CACHE_LIMIT,
    CACHE_OWNER,
    CACHE_SLOTS,
    CRATE_LENGTH,
    CRATE_NEXT,
    CRATE_NUMBER,
    CRATE_OWNER,
    CRATE_SLOTS,
    DEPOT_CAPACITY,
    DEPOT_CRATE_STRIDE,
    DEPOT_CRATES,
    DEPOT_EMPTY,
    DEPOT_FULL,
    DEPOT_HUNGRY,
    MEMPOOL_CACHE_SIZE,
    MEMPOOL_DEPOT,
    MEMPOOL_LOST,
    MEMPOOL_RING,
    STACK_NUMBER,
    STACK_TAG,
)
from pollmode.mbuf.ring import ring_dequeue_burst, ring_enqueue_burst

__all__ = [
    "depot_feed",
    "depot_get",
    "depot_get_one",
    "depot_put",
    "depot_put_one",
    "depot_unload",
    "feed_from_ring",
    "give_crate",
]

_NUMBER, _TAG_SHIFT = STACK_NUMBER.mask, STACK_TAG.shift
_TAGS = (1 << STACK_TAG.width) - 1
_UNLOADED = 4
"""Crates that a get which found the ring short puts into it at once."""


@compiled
def _pop(depot: int, stack: int, owner: int) -> int:
    """Take a crate off a stack into the hands of `owner`; returns its address, 0 when there is none."""
    while True:
        top = load_acquire64(stack)
        number = top & _NUMBER
        if number == 0:
            return 0
        crate = load64(depot + DEPOT_CRATES) + (number - 1) * load64(depot + DEPOT_CRATE_STRIDE)
        # Somebody may take it first and change the word read here: then the tag is another one.
        below = load64(crate + CRATE_NEXT)
        if compare_exchange64(stack, top, ((((top >> _TAG_SHIFT) + 1) & _TAGS) << _TAG_SHIFT) | below) == 1:
            store_release64(crate + CRATE_OWNER, owner)
            return crate


@compiled
def _push(stack: int, crate: int) -> int:
    """Put a crate on a stack."""
    store_release64(crate + CRATE_OWNER, 0)
    while True:
        top = load_acquire64(stack)
        store64(crate + CRATE_NEXT, top & _NUMBER)
        tag = (((top >> _TAG_SHIFT) + 1) & _TAGS) << _TAG_SHIFT
        if compare_exchange64(stack, top, tag | load64(crate + CRATE_NUMBER)) == 1:
            return 1


@compiled
def _unpack(depot: int, crate: int, objs: int, room: int) -> int:
    """Move up to `room` words of a crate to `objs` and put the crate back; returns how many."""
    length = load64(crate + CRATE_LENGTH)
    taken = min(length, room)
    store_release64(crate + CRATE_LENGTH, length - taken)
    copy(objs, crate + CRATE_SLOTS + 8 * (length - taken), 8 * taken)
    _push(depot + (DEPOT_FULL if length > taken else DEPOT_EMPTY), crate)
    return taken


@inlined
def _append(depot: int, crate: int, objs: int, n: int) -> None:
    """Add `n` words to a crate that has room for them, and put it where it can be found."""
    length = load64(crate + CRATE_LENGTH)
    copy(crate + CRATE_SLOTS + 8 * length, objs, 8 * n)
    store_release64(crate + CRATE_LENGTH, length + n)
    _push(depot + DEPOT_FULL, crate)


@compiled
def _stow(depot: int, pool: int, owner: int, objs: int, n: int) -> int:
    """Put `n` elements into crates: the first with room, else empty ones."""
    capacity = load64(depot + DEPOT_CAPACITY)
    done = 0
    while done < n:
        count = min(n - done, capacity)
        crate = _pop(depot, depot + DEPOT_FULL, owner)
        if crate != 0 and load64(crate + CRATE_LENGTH) + count > capacity:
            _push(depot + DEPOT_FULL, crate)
            crate = 0
        if crate == 0:
            crate = _pop(depot, depot + DEPOT_EMPTY, owner)
        if crate == 0:  # there are enough crates for twice the elements
            fetch_add64(pool + MEMPOOL_LOST, n - done)
            return done
        _append(depot, crate, objs + 8 * done, count)
        done += count
    return done


@compiled
def depot_get(cache: int, pool: int, objs: int, n: int) -> int:
    """Take `n` elements for an lcore of another process, through its cache if it has one; all or none."""
    depot, owner = load64(cache + CACHE_DEPOT), load64(cache + CACHE_OWNER)
    size = load64(pool + MEMPOOL_CACHE_SIZE)
    if n <= size and load64(cache + CACHE_LIMIT) >= 0:
        length = load64(cache + CACHE_LENGTH)
        while length < n:
            crate = _pop(depot, depot + DEPOT_FULL, owner)
            if crate == 0:
                store64(depot + DEPOT_HUNGRY, 1)
                return 0
            length += _unpack(depot, crate, cache + CACHE_SLOTS + 8 * length, 2 * size - length)
            store_release64(cache + CACHE_LENGTH, length)
        copy(objs, cache + CACHE_SLOTS + 8 * (length - n), 8 * n)
        store_release64(cache + CACHE_LENGTH, length - n)
        return n
    got = 0
    while got < n:
        crate = _pop(depot, depot + DEPOT_FULL, owner)
        if crate == 0:
            store64(depot + DEPOT_HUNGRY, 1)
            _stow(depot, pool, owner, objs, got)
            return 0
        got += _unpack(depot, crate, objs + 8 * got, n - got)
    return n


@compiled
def depot_get_one(cache: int, pool: int) -> int:
    """Take one element for an lcore of another process whose cache is empty; returns its address or 0."""
    depot, owner = load64(cache + CACHE_DEPOT), load64(cache + CACHE_OWNER)
    crate = _pop(depot, depot + DEPOT_FULL, owner)
    if crate == 0:
        store64(depot + DEPOT_HUNGRY, 1)
        return 0
    length = load64(crate + CRATE_LENGTH) - 1
    element = load64(crate + CRATE_SLOTS + 8 * length)
    store_release64(crate + CRATE_LENGTH, length)
    if length == 0 or load64(cache + CACHE_LIMIT) < 0:
        _push(depot + (DEPOT_FULL if length > 0 else DEPOT_EMPTY), crate)
        return element
    room = 2 * load64(pool + MEMPOOL_CACHE_SIZE)
    store_release64(cache + CACHE_LENGTH, _unpack(depot, crate, cache + CACHE_SLOTS, room))
    return element


@compiled
def depot_put(cache: int, pool: int, objs: int, n: int) -> int:
    """Put elements back for an lcore of another process whose cache has no room for them, or that has none."""
    depot, owner = load64(cache + CACHE_DEPOT), load64(cache + CACHE_OWNER)
    if n > load64(cache + CACHE_LIMIT):
        return _stow(depot, pool, owner, objs, n)
    length = load64(cache + CACHE_LENGTH)
    store_release64(cache + CACHE_LENGTH, 0)
    _stow(depot, pool, owner, cache + CACHE_SLOTS, length)
    copy(cache + CACHE_SLOTS, objs, 8 * n)
    store_release64(cache + CACHE_LENGTH, n)
    return n


@compiled
def depot_put_one(cache: int, pool: int, element: int) -> int:
    """Put one element back; see `depot_put`. Without a cache it goes into a crate by itself or with others."""
    depot, owner = load64(cache + CACHE_DEPOT), load64(cache + CACHE_OWNER)
    if load64(cache + CACHE_LIMIT) >= 0:
        length = load64(cache + CACHE_LENGTH)
        store_release64(cache + CACHE_LENGTH, 0)
        _stow(depot, pool, owner, cache + CACHE_SLOTS, length)
        store64(cache + CACHE_SLOTS, element)
        store_release64(cache + CACHE_LENGTH, 1)
        return 1
    crate = _pop(depot, depot + DEPOT_FULL, owner)
    if crate != 0 and load64(crate + CRATE_LENGTH) == load64(depot + DEPOT_CAPACITY):
        _push(depot + DEPOT_FULL, crate)
        crate = 0
    if crate == 0:
        crate = _pop(depot, depot + DEPOT_EMPTY, owner)
    if crate == 0:
        fetch_add64(pool + MEMPOOL_LOST, 1)
        return 0
    length = load64(crate + CRATE_LENGTH)
    store64(crate + CRATE_SLOTS + 8 * length, element)
    store_release64(crate + CRATE_LENGTH, length + 1)
    return _push(depot + DEPOT_FULL, crate)


@compiled
def depot_unload(pool: int) -> int:
    """Put the elements of some crates into the pool's ring, for a primary that found it short; returns how many."""
    depot, ring = load64(pool + MEMPOOL_DEPOT), load64(pool + MEMPOOL_RING)
    moved = 0
    for _ in range(_UNLOADED):
        crate = _pop(depot, depot + DEPOT_FULL, 0)
        if crate == 0:
            return moved
        length = load64(crate + CRATE_LENGTH)
        store_release64(crate + CRATE_LENGTH, 0)
        done = ring_enqueue_burst(ring, crate + CRATE_SLOTS, length)
        if done < length:
            fetch_add64(pool + MEMPOOL_LOST, length - done)
        moved += done
        _push(depot + DEPOT_EMPTY, crate)
    return moved


@compiled
def depot_feed(pool: int, objs: int, n: int) -> int:
    """Leave elements that the primary puts back where a secondary that found none takes them; returns how many."""
    if n == 0:  # a crate on the full stack holds at least one
        return 0
    depot = load64(pool + MEMPOOL_DEPOT)
    crate = _pop(depot, depot + DEPOT_EMPTY, 0)
    if crate == 0:
        return 0
    store64(depot + DEPOT_HUNGRY, 0)
    count = min(n, load64(depot + DEPOT_CAPACITY))
    _append(depot, crate, objs, count)
    return count


@compiled
def give_crate(depot: int, crate: int) -> int:
    """Put an empty crate of a process that is gone where it can be found."""
    return _push(depot + DEPOT_EMPTY, crate)


@compiled
def feed_from_ring(pool: int, crates: int) -> int:
    """Fill crates out of the pool's ring, for the control plane; returns how many elements."""
    depot, ring = load64(pool + MEMPOOL_DEPOT), load64(pool + MEMPOOL_RING)
    fed = 0
    for _ in range(crates):
        crate = _pop(depot, depot + DEPOT_EMPTY, 0)
        if crate == 0:
            return fed
        count = ring_dequeue_burst(ring, crate + CRATE_SLOTS, load64(depot + DEPOT_CAPACITY) // 2)
        if count == 0:
            _push(depot + DEPOT_EMPTY, crate)
            return fed
        store64(depot + DEPOT_HUNGRY, 0)
        store_release64(crate + CRATE_LENGTH, count)
        _push(depot + DEPOT_FULL, crate)
        fed += count
    return fed
