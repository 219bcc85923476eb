# SPDX-License-Identifier: BSD-3-Clause
"""What is done to packets on their way: each by chance, from a generator that a seed starts.

A queue has an outbox, filled only when it is empty, so that one burst with all its copies and all that was held back
fits. Packets held back stand in slots, in the order in which they came.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, cycles, inlined, load8, load16, load32, load64, record, store8, store64
from pollmode.mbuf import (
    ATTACHED,
    MBUF_DATA_LEN,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_POOL,
    mbuf_copy,
    mbuf_data,
    mbuf_direct,
    mbuf_free,
    mbuf_refcnt,
)

from .layout import (
    HELD_CYCLES,
    HELD_PACKET,
    HELD_PASSED,
    HELD_SIZE,
    HELD_SLOTS,
    NEVER,
    QUEUE,
    QUEUE_OUTBOX,
    QUEUE_SLOTS,
)

__all__ = ["discard", "inject", "take"]

WORD32 = 0xFFFFFFFF


@inlined
def draw(queue: int) -> int:
    """Return the next number of the queue's generator, 1 to 2^32 - 1 (Marsaglia, "Xorshift RNGs", 2003, 32 bits)."""
    q = record(queue, QUEUE)
    word: int = q.random
    word ^= (word << 13) & WORD32
    word ^= word >> 17
    word ^= (word << 5) & WORD32
    q.random = word
    return word


@inlined
def chance(queue: int, share: int) -> bool:
    """Tell whether a fault happens that `share` of 2^32 - 1 numbers mean."""
    return share > 0 and draw(queue) <= share


@inlined
def put(queue: int, m: int) -> None:
    """Put a packet at the end of the outbox."""
    q = record(queue, QUEUE)
    store64(queue + QUEUE_OUTBOX + 8 * q.end, m)
    q.end += 1
    q.passed += 1


@inlined
def take(queue: int, burst: int, n: int) -> int:
    """Move up to `n` packets from the outbox to `burst`; return how many."""
    q = record(queue, QUEUE)
    count: int = min(n, q.end - q.first)
    for i in range(count):
        store64(burst + 8 * i, load64(queue + QUEUE_OUTBOX + 8 * (q.first + i)))
    q.first += count
    q.left += count
    return count


@compiled
def copy_of(lcore: int, queue: int, m: int) -> int:
    """Return a copy of a packet out of its own pool; 0, and counted, when the pool is empty."""
    # The pool of an indirect mbuf may have no room for bytes, that of the buffer it shows has.
    copied = mbuf_copy(lcore, m, load64(mbuf_direct(m) + MBUF_POOL), 0, load32(m + MBUF_PKT_LEN))
    record(queue, QUEUE).nombuf += copied == 0
    return copied


@compiled
def is_own(m: int) -> int:
    """Return 1 when nobody else sees the bytes of a packet."""
    while m != 0:
        if mbuf_refcnt(m) != 1 or load64(m + MBUF_OL_FLAGS) & ATTACHED != 0:
            return 0
        m = load64(m + MBUF_NEXT)
    return 1


@compiled
def corrupt(lcore: int, queue: int, m: int) -> int:
    """Flip one bit of a packet; return it, or the copy that took its place because others see its bytes.

    An empty packet, and one whose copy cannot be made, stays as it is.
    """
    q = record(queue, QUEUE)
    length = load32(m + MBUF_PKT_LEN)
    if length == 0:
        return m
    if is_own(m) == 0:
        copied = copy_of(lcore, queue, m)
        if copied == 0:
            return m
        mbuf_free(lcore, m)
        m = copied
    place, bit = draw(queue) % length, draw(queue) & 7
    segment = m
    while place >= load16(segment + MBUF_DATA_LEN):
        place -= load16(segment + MBUF_DATA_LEN)
        segment = load64(segment + MBUF_NEXT)
    at = mbuf_data(segment) + place
    store8(at, load8(at) ^ (1 << bit))
    q.corrupted += 1
    return m


@compiled
def duplicate(lcore: int, queue: int, m: int) -> int:
    """Put a copy of a packet into the outbox; return 1, or 0 when it cannot be made."""
    copied = copy_of(lcore, queue, m)
    if copied == 0:
        return 0
    put(queue, copied)
    record(queue, QUEUE).duplicated += 1
    return 1


@compiled
def hold(queue: int, m: int, until: int, passed: int) -> int:
    """Hold a packet back until a cycle count or a count of packets; return 1, or 0 when all slots are taken."""
    q = record(queue, QUEUE)
    if q.held == HELD_SLOTS:
        q.full += 1
        return 0
    slot = queue + QUEUE_SLOTS + HELD_SIZE * q.held
    store64(slot + HELD_PACKET, m)
    store64(slot + HELD_CYCLES, until)
    store64(slot + HELD_PASSED, passed)
    q.held += 1
    return 1


@compiled
def release(queue: int, now: int) -> int:
    """Put the packets whose time has come into the outbox, oldest first; return how many stay."""
    q = record(queue, QUEUE)
    kept = 0
    for number in range(q.held):
        slot = queue + QUEUE_SLOTS + HELD_SIZE * number
        m, until, passed = load64(slot + HELD_PACKET), load64(slot + HELD_CYCLES), load64(slot + HELD_PASSED)
        if now >= until or q.passed >= passed:
            put(queue, m)
        else:
            place = queue + QUEUE_SLOTS + HELD_SIZE * kept
            store64(place + HELD_PACKET, m)
            store64(place + HELD_CYCLES, until)
            store64(place + HELD_PASSED, passed)
            kept += 1
    q.held = kept
    return kept


@compiled
def inject(lcore: int, queue: int, burst: int, n: int) -> int:
    """Fill the empty outbox with the `n` packets at `burst`, done to them what chance wants, and with those held back
    whose time has come. Return how many are in it.
    """
    q = record(queue, QUEUE)
    q.first = 0
    q.end = 0
    q.entered += n
    now = cycles() if q.held + q.delay + q.reorder > 0 else 0
    for i in range(n):
        m = load64(burst + 8 * i)
        if chance(queue, q.drop):
            mbuf_free(lcore, m)
            q.dropped += 1
            continue
        if chance(queue, q.corrupt):
            m = corrupt(lcore, queue, m)
        if chance(queue, q.duplicate):
            duplicate(lcore, queue, m)
        if chance(queue, q.delay) and hold(queue, m, now + q.delay_cycles, NEVER) == 1:
            q.delayed += 1
        elif chance(queue, q.reorder) and hold(queue, m, now + q.delay_cycles, q.passed + q.gap) == 1:
            q.reordered += 1
        else:
            put(queue, m)
    if q.held > 0:
        release(queue, now)
    end: int = q.end
    return end


@compiled
def discard(lcore: int, queue: int) -> int:
    """Free every packet that a silent queue holds back or has in its outbox; return how many."""
    q = record(queue, QUEUE)
    count: int = q.end - q.first + q.held
    for number in range(q.first, q.end):
        mbuf_free(lcore, load64(queue + QUEUE_OUTBOX + 8 * number))
    for number in range(q.held):
        mbuf_free(lcore, load64(queue + QUEUE_SLOTS + HELD_SIZE * number + HELD_PACKET))
    q.first = 0
    q.end = 0
    q.held = 0
    q.discarded += count
    return count
