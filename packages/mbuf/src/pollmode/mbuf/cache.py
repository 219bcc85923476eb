# SPDX-License-Identifier: BSD-3-Clause
"""Getting elements out of a pool and putting them back, through the lcore's cache.

A pool's free elements are in its ring; each lcore keeps some of them in a cache of its own, a stack that nobody else
touches, so that the usual get or put is one vector copy without an atomic instruction. A get that the cache can't serve
refills the cache to its size in one ring operation; a put that would make it longer than its limit, one and a half
times the size, flushes it (rte_mempool_do_generic_get and _put).

An interpreter thread has an lcore record whose id is beyond the caches; several such threads may share it. Its "cache"
is a header without a stack: length 0 and limit -1 make every get and put take the slow way, which works on the ring.
A pool without caches has only that header and a stride of 0. So the fast way needs no test for either.

An lcore of another process has a depot in place of the ring (`depot.py`): only the slow way differs.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, copy, fetch_add64, inlined, load64, load_relaxed64, store64, store_release64
from pollmode.eal.lcore_layout import LCORE_ID
from pollmode.mbuf.depot import depot_feed, depot_get, depot_get_one, depot_put, depot_put_one, depot_unload
from pollmode.mbuf.layout import (
    CACHE_DEPOT,
    CACHE_LENGTH,
    CACHE_LIMIT,
    CACHE_SLOTS,
    DEPOT_HUNGRY,
    MEMPOOL_CACHE_SIZE,
    MEMPOOL_CACHE_STRIDE,
    MEMPOOL_CACHES,
    MEMPOOL_DEPOT,
    MEMPOOL_LOST,
    MEMPOOL_RING,
)
from pollmode.mbuf.ring import ring_dequeue, ring_dequeue_bulk, ring_enqueue, ring_enqueue_burst

__all__ = ["pool_get", "pool_get_bulk", "pool_put", "pool_put_bulk"]


@inlined
def _cache(lcore: int, pool: int) -> int:
    """Return the address of the lcore's cache."""
    return load64(pool + MEMPOOL_CACHES) + load64(lcore + LCORE_ID) * load64(pool + MEMPOOL_CACHE_STRIDE)


@inlined
def _pop(cache: int, length: int, objs: int, n: int) -> int:
    """Move the `n` words on top of a stack of `length` to `objs`; returns n."""
    rest = length - n
    copy(objs, cache + CACHE_SLOTS + 8 * rest, 8 * n)
    store64(cache + CACHE_LENGTH, rest)
    return n


@inlined
def pool_get_bulk(lcore: int, pool: int, objs: int, n: int) -> int:
    """Take `n` elements' addresses into the array at `objs`, all or none; returns n or 0."""
    cache = _cache(lcore, pool)
    length = load64(cache + CACHE_LENGTH)
    if n <= length:
        return _pop(cache, length, objs, n)
    return _get_refilling(cache, pool, objs, n)


@inlined
def pool_put_bulk(lcore: int, pool: int, objs: int, n: int) -> None:
    """Put the `n` elements whose addresses are at `objs` back into their pool."""
    cache = _cache(lcore, pool)
    length = load64(cache + CACHE_LENGTH)
    if length + n <= load64(cache + CACHE_LIMIT):
        copy(cache + CACHE_SLOTS + 8 * length, objs, 8 * n)
        # Behind the words, where a process that dies here is cleared up after: the store is a plain one on x86.
        store_release64(cache + CACHE_LENGTH, length + n)
    else:
        _put_flushing(cache, pool, objs, n)


@inlined
def pool_get(lcore: int, pool: int) -> int:
    """Take one element; returns its address, or 0 when the pool is empty."""
    cache = _cache(lcore, pool)
    length = load64(cache + CACHE_LENGTH)
    if length > 0:
        store64(cache + CACHE_LENGTH, length - 1)
        return load64(cache + CACHE_SLOTS - 8 + 8 * length)
    return _get_one_refilling(cache, pool)


@inlined
def pool_put(lcore: int, pool: int, element: int) -> None:
    """Put one element back into its pool."""
    cache = _cache(lcore, pool)
    length = load64(cache + CACHE_LENGTH)
    if length < load64(cache + CACHE_LIMIT):
        store64(cache + CACHE_SLOTS + 8 * length, element)
        store_release64(cache + CACHE_LENGTH, length + 1)
    else:
        _put_one_flushing(cache, pool, element)


@compiled
def _get_refilling(cache: int, pool: int, objs: int, n: int) -> int:
    """Get what the cache alone can't give."""
    if load64(cache + CACHE_DEPOT) != 0:
        return depot_get(cache, pool, objs, n)
    got = _get_with_ring(cache, pool, objs, n)
    if got == 0 and n > 0 and load64(pool + MEMPOOL_DEPOT) != 0 and depot_unload(pool) > 0:
        got = _get_with_ring(cache, pool, objs, n)
    return got


@compiled
def _get_with_ring(cache: int, pool: int, objs: int, n: int) -> int:
    """Get what the cache can't give with the ring's help, and when `n` is large mostly from the ring."""
    ring = load64(pool + MEMPOOL_RING)
    length = load64(cache + CACHE_LENGTH)
    size = load64(pool + MEMPOOL_CACHE_SIZE)
    if n <= size and load64(cache + CACHE_LIMIT) >= 0:
        stack_top = cache + CACHE_SLOTS + 8 * length
        # The stack has room for twice the size, and length < n <= size.
        for wanted in (size + n - length, n - length):
            if ring_dequeue_bulk(ring, stack_top, wanted) == wanted:
                return _pop(cache, length + wanted, objs, n)
        return 0
    if ring_dequeue_bulk(ring, objs, n) == n:
        return n
    rest = n - length
    if length == 0 or ring_dequeue_bulk(ring, objs, rest) != rest:
        return 0
    _pop(cache, length, objs + 8 * rest, length)
    return n


@compiled
def _get_one_refilling(cache: int, pool: int) -> int:
    """Get one element when the cache is empty, or there is none."""
    if load64(cache + CACHE_DEPOT) != 0:
        return depot_get_one(cache, pool)
    element = _get_one_with_ring(cache, pool)
    if element == 0 and load64(pool + MEMPOOL_DEPOT) != 0 and depot_unload(pool) > 0:
        element = _get_one_with_ring(cache, pool)
    return element


@compiled
def _get_one_with_ring(cache: int, pool: int) -> int:
    """Get one element and refill the cache, if there is one."""
    ring = load64(pool + MEMPOOL_RING)
    size = load64(pool + MEMPOOL_CACHE_SIZE)
    if load64(cache + CACHE_LIMIT) >= 0 and ring_dequeue_bulk(ring, cache + CACHE_SLOTS, size) == size:
        store64(cache + CACHE_LENGTH, size - 1)
        return load64(cache + CACHE_SLOTS + 8 * (size - 1))
    return ring_dequeue(ring)


@compiled
def _put_flushing(cache: int, pool: int, objs: int, n: int) -> int:
    """Put elements that would make the cache too long, or for which there is none."""
    if load64(cache + CACHE_DEPOT) != 0:
        return depot_put(cache, pool, objs, n)
    if n <= load64(cache + CACHE_LIMIT):
        _put_into_ring(pool, cache + CACHE_SLOTS, load64(cache + CACHE_LENGTH))
        copy(cache + CACHE_SLOTS, objs, 8 * n)
        store64(cache + CACHE_LENGTH, n)
    else:
        _put_into_ring(pool, objs, n)
    return n


@compiled
def _put_one_flushing(cache: int, pool: int, element: int) -> int:
    """Put one element when the cache is at its limit, or there is none."""
    if load64(cache + CACHE_DEPOT) != 0:
        return depot_put_one(cache, pool, element)
    if load64(cache + CACHE_LIMIT) >= 0:
        _put_into_ring(pool, cache + CACHE_SLOTS, load64(cache + CACHE_LENGTH))
        store64(cache + CACHE_SLOTS, element)
        store64(cache + CACHE_LENGTH, 1)
    elif ring_enqueue(load64(pool + MEMPOOL_RING), element) == 0:
        fetch_add64(pool + MEMPOOL_LOST, 1)
    return 1


@inlined
def _put_into_ring(pool: int, objs: int, n: int) -> None:
    """Put elements into the ring, which has room for every element there is: what finds none was not ours to put."""
    done = 0
    depot = load64(pool + MEMPOOL_DEPOT)
    if depot != 0 and load_relaxed64(depot + DEPOT_HUNGRY) != 0:
        done = depot_feed(pool, objs, n)
    done += ring_enqueue_burst(load64(pool + MEMPOOL_RING), objs + 8 * done, n - done)
    if done < n:
        fetch_add64(pool + MEMPOOL_LOST, n - done)
