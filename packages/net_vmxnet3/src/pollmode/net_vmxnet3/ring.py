# SPDX-License-Identifier: BSD-3-Clause
"""What both directions need: breaking a queue, freeing a packet, the generation of a completion.

A ring is walked by generation bits: the device has written a completion when its bit is the one expected now, which
flips each time the ring wraps. A completion's second word holds that bit and is written last, so it is read first; each
word is read once, through a verb, and checked against the private record. What does not hold breaks the queue:
`break_queue` notes what and where, and the callbacks move nothing more until the control plane has reset the queue.
"""

from __future__ import annotations

import numpy as np

from pollmode.eal.jit import compiled, inlined, load64, record, store64
from pollmode.mbuf import mbuf_free

from .layout import RCD_GEN, RCD_INDEX, TCD_GEN, TCD_INDEX
from .records import QUEUE, RING, TAG

I8 = np.dtype("i8")

# Completions of both directions have them in one place.
GEN_SHIFT, INDEX_MASK = RCD_GEN.shift, RCD_INDEX.mask
assert (TCD_GEN, TCD_INDEX) == (RCD_GEN, RCD_INDEX)


@compiled
def break_queue(queue: int, code: int, word: int) -> int:
    """Mark the queue broken by `code` (FAULT_*) at the next completion; the first fault stays. Returns -1."""
    q = record(queue, QUEUE)
    if q.broken == 0:
        q.broken_index = q.comp_next
        q.broken_word = word
        q.faults += 1
        q.broken = code
    return -1


@compiled
def free_packet(lcore: int, m: int) -> int:
    """Free a packet, whatever it is: one copy of that code for all slow paths. Returns 1."""
    mbuf_free(lcore, m)
    return 1


@inlined
def generation(word1: int) -> int:
    """Return the generation bit of a completion by its second word."""
    return (word1 >> GEN_SHIFT) & 1


@inlined
def free_slots(ring: int) -> int:
    """Return how many descriptors of a command ring may be written; one always stays empty."""
    r = record(ring, RING)
    slots: int = r.size - 1 - r.used
    return slots


@inlined
def ahead(ring: int, index: int) -> int:
    """Return how far a descriptor is from the oldest that the device holds, going around the ring."""
    r = record(ring, RING)
    distance: int = index - r.tail
    if distance < 0:
        distance += r.size
    return distance


@compiled
def give_back(lcore: int, ring: int, count: int) -> int:
    """Free what the oldest `count` descriptors hold, and own them again; returns how many packets there were."""
    r = record(ring, RING)
    freed = 0
    for _ in range(count):
        at = r.shadow + 8 * r.tail
        m = load64(at) & ~TAG
        if m != 0:
            free_packet(lcore, m)
            freed += 1
        store64(at, 0)
        r.tail = r.tail + 1 if r.tail + 1 < r.size else 0
        r.used -= 1
    return freed
