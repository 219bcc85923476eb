# SPDX-License-Identifier: BSD-3-Clause
"""A bounded queue of 64-bit words for one or many producers and consumers, without a lock.

The algorithm is rte_ring's. Each end has a head and a tail. Whoever adds words claims slots by moving the producer's
head, fills them, and then publishes them by moving the producer's tail to where the head was moved; the consumers' end
works alike, and each end reads only the other's tail. With many on one end the head moves by compare-exchange, and a
claim is published after all claims before it (the wait in `_publish`). With one on an end the head is not needed.

Choices: positions are 64-bit counts that never wrap, so a compare-exchange can't be fooled by a ring that went around;
whether an end has one or many users is fixed when the ring is made, as a flag in the record, not chosen at each call.
Refused: rte_ring's RTS and HTS modes, and elements of other sizes: nothing here needs them.

A thread that is taken off its cpu between claim and publication holds up the others of its end; that is rte_ring's
property too. Threads that have a cpu each wait for nanoseconds; where they share one, waiting for a time slice at every
word would be thousands of times slower than the work, so a wait that lasts gives the cpu away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import (
    compare_exchange64,
    compiled,
    copy,
    fence_acquire,
    inlined,
    load64,
    load_acquire64,
    load_relaxed64,
    pause,
    store64,
    store_release64,
    yield_cpu,
)
from pollmode.mbuf.layout import (
    RING,
    RING_ALIGN,
    RING_CAPACITY,
    RING_CONSUMER_HEAD,
    RING_CONSUMER_TAIL,
    RING_FLAGS,
    RING_MASK,
    RING_MAX_SLOTS,
    RING_PRODUCER_HEAD,
    RING_PRODUCER_TAIL,
    RING_SINGLE_CONSUMER,
    RING_SINGLE_PRODUCER,
    RING_SLOTS,
    RING_WORDS,
)

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

__all__ = [
    "Ring",
    "create",
    "lookup",
    "ring_count",
    "ring_dequeue",
    "ring_dequeue_bulk",
    "ring_dequeue_burst",
    "ring_enqueue",
    "ring_enqueue_bulk",
    "ring_enqueue_burst",
    "ring_free_count",
]

ZONE: Final = "RG_"
"""How the names of rings' zones begin."""
SPINS_UNTIL_YIELD: Final = 256
"""A pause is some 50 cycles: a wait of more than 10 us means that the other one isn't running."""

Words = Sequence[int] | npt.NDArray[np.int64]


@inlined
def _claimable(room: int, n: int, whole: bool) -> int:
    """Return how many of `n` words fit into `room`: for a bulk all or none."""
    if n <= room:
        return n
    return 0 if whole or room < 0 else room


@inlined
def _claim(single: int, head: int, tail: int, other_tail: int, base: int, n: int, whole: bool) -> tuple[int, int]:
    """Claim up to `n` slots of one end; returns their number and the position of the first.

    `head`, `tail` and `other_tail` are addresses; `base` is what the end may be ahead of the other one.
    """
    if single != 0:
        position = load64(tail)
        return _claimable(base + load_acquire64(other_tail) - position, n, whole), position
    while True:
        position = load_relaxed64(head)
        # The other tail must not be older than this head, else there seems to be less than there is (rte_ring_c11).
        fence_acquire()
        count = _claimable(base + load_acquire64(other_tail) - position, n, whole)
        if count <= 0 or compare_exchange64(head, position, position + count) == 1:
            return count, position


@inlined
def _publish(single: int, tail: int, position: int, count: int) -> None:
    """Move `tail` over the slots that were claimed at `position`, after every claim before it."""
    if single == 0:
        spins = 0
        while load_relaxed64(tail) != position:
            pause()
            spins += 1
            if spins % SPINS_UNTIL_YIELD == 0:
                yield_cpu()
    store_release64(tail, position + count)


@inlined
def _enqueue(ring: int, objs: int, n: int, whole: bool) -> int:
    single = load64(ring + RING_FLAGS) & RING_SINGLE_PRODUCER
    tail = ring + RING_PRODUCER_TAIL
    count, position = _claim(
        single, ring + RING_PRODUCER_HEAD, tail, ring + RING_CONSUMER_TAIL, load64(ring + RING_CAPACITY), n, whole
    )
    if count <= 0:
        return 0
    first = position & load64(ring + RING_MASK)
    straight = load64(ring + RING_SLOTS) - first
    words = ring + RING_WORDS
    if count <= straight:
        copy(words + 8 * first, objs, 8 * count)
    else:
        copy(words + 8 * first, objs, 8 * straight)
        copy(words, objs + 8 * straight, 8 * (count - straight))
    _publish(single, tail, position, count)
    return count


@inlined
def _dequeue(ring: int, objs: int, n: int, whole: bool) -> int:
    single = load64(ring + RING_FLAGS) & RING_SINGLE_CONSUMER
    tail = ring + RING_CONSUMER_TAIL
    count, position = _claim(single, ring + RING_CONSUMER_HEAD, tail, ring + RING_PRODUCER_TAIL, 0, n, whole)
    if count <= 0:
        return 0
    first = position & load64(ring + RING_MASK)
    straight = load64(ring + RING_SLOTS) - first
    words = ring + RING_WORDS
    if count <= straight:
        copy(objs, words + 8 * first, 8 * count)
    else:
        copy(objs, words + 8 * first, 8 * straight)
        copy(objs + 8 * straight, words, 8 * (count - straight))
    _publish(single, tail, position, count)
    return count


@inlined
def ring_enqueue_bulk(ring: int, objs: int, n: int) -> int:
    """Add the `n` words at `objs`, all or none; returns n or 0."""
    return _enqueue(ring, objs, n, True)


@inlined
def ring_enqueue_burst(ring: int, objs: int, n: int) -> int:
    """Add as many of the `n` words at `objs` as there is room for; returns their number."""
    return _enqueue(ring, objs, n, False)


@inlined
def ring_dequeue_bulk(ring: int, objs: int, n: int) -> int:
    """Take `n` words into the array at `objs`, all or none; returns n or 0."""
    return _dequeue(ring, objs, n, True)


@inlined
def ring_dequeue_burst(ring: int, objs: int, n: int) -> int:
    """Take up to `n` words into the array at `objs`; returns their number."""
    return _dequeue(ring, objs, n, False)


@inlined
def ring_enqueue(ring: int, word: int) -> int:
    """Add one word; returns 1, or 0 when the ring is full."""
    single = load64(ring + RING_FLAGS) & RING_SINGLE_PRODUCER
    tail = ring + RING_PRODUCER_TAIL
    count, position = _claim(
        single, ring + RING_PRODUCER_HEAD, tail, ring + RING_CONSUMER_TAIL, load64(ring + RING_CAPACITY), 1, True
    )
    if count == 0:
        return 0
    store64(ring + RING_WORDS + 8 * (position & load64(ring + RING_MASK)), word)
    _publish(single, tail, position, 1)
    return 1


@inlined
def ring_dequeue(ring: int) -> int:
    """Take one word and return it, or 0 when the ring is empty."""
    single = load64(ring + RING_FLAGS) & RING_SINGLE_CONSUMER
    tail = ring + RING_CONSUMER_TAIL
    count, position = _claim(single, ring + RING_CONSUMER_HEAD, tail, ring + RING_PRODUCER_TAIL, 0, 1, True)
    if count == 0:
        return 0
    word = load64(ring + RING_WORDS + 8 * (position & load64(ring + RING_MASK)))
    _publish(single, tail, position, 1)
    return word


@inlined
def ring_count(ring: int) -> int:
    """Return how many words are in the ring; a snapshot, when others use it."""
    # The consumers' tail first: it never overtakes the producers', so the difference is not negative.
    consumed = load_acquire64(ring + RING_CONSUMER_TAIL)
    return min(load_acquire64(ring + RING_PRODUCER_TAIL) - consumed, load64(ring + RING_CAPACITY))


@inlined
def ring_free_count(ring: int) -> int:
    """Return how many words the ring has room for; a snapshot, when others use it."""
    return load64(ring + RING_CAPACITY) - ring_count(ring)


@compiled
def _enqueue_now(ring: int, objs: int, n: int, whole: int) -> int:
    return ring_enqueue_bulk(ring, objs, n) if whole else ring_enqueue_burst(ring, objs, n)


@compiled
def _dequeue_now(ring: int, objs: int, n: int, whole: int) -> int:
    return ring_dequeue_bulk(ring, objs, n) if whole else ring_dequeue_burst(ring, objs, n)


class Ring:
    """A ring of 64-bit words (addresses) in the EAL's memory; `address` is what compiled code works with.

    `len(ring)` is the number of words in it. Made by `create`.
    """

    def __init__(self, memory: Memory, name: str, zone: Memzone) -> None:
        """Take the zone of a ring that is there."""
        self.name = name
        self._memory = memory
        self._zone = zone
        self.address: int = zone.address
        self.capacity = int(zone.array(RING)[0]["capacity"])

    def __len__(self) -> int:
        record = self._record()
        consumed = int(record["consumer_tail"])  # first: it never overtakes the producers', while lcores go on
        return min(int(record["producer_tail"]) - consumed, self.capacity)

    @property
    def free_count(self) -> int:
        """How many words there is room for."""
        return self.capacity - len(self)

    def enqueue(self, words: Words) -> int:
        """Add as many of `words` as there is room for; returns their number."""
        return self._add(words, whole=False)

    def enqueue_bulk(self, words: Words) -> int:
        """Add all of `words` or none; returns their number or 0."""
        return self._add(words, whole=True)

    def dequeue(self, n: int) -> npt.NDArray[np.int64]:
        """Take up to `n` words."""
        return self._take(n, whole=False)

    def dequeue_bulk(self, n: int) -> npt.NDArray[np.int64]:
        """Take `n` words, or none when there are fewer."""
        return self._take(n, whole=True)

    def words(self) -> npt.NDArray[np.int64]:
        """Return a copy of the words in the ring, the oldest first; nobody may use the ring meanwhile."""
        record = self._record()
        slots = self._zone.array(np.dtype("<i8"), int(record["slots"]), RING_WORDS)
        taken: npt.NDArray[np.int64] = slots[
            np.arange(int(record["consumer_tail"]), int(record["producer_tail"])) & int(record["mask"])
        ]
        return taken

    def free(self) -> None:
        """Give the memory back; what is in the ring is forgotten. Raises ConfigError when that was done before."""
        self._record()
        self._memory.require_own(f"ring {self.name}", "freed")
        self.address = 0
        self._memory.free(self._zone)

    def _record(self) -> np.void:
        if self.address == 0:
            raise ConfigError(f"ring {self.name} was freed")
        record: np.void = self._zone.array(RING)[0]
        return record

    def _add(self, words: Words, *, whole: bool) -> int:
        if not int(self._record()["flags"]) & RING_SINGLE_PRODUCER:
            self._memory.require_own(f"ring {self.name}, of several producers,", "added to")
        array = np.ascontiguousarray(words, np.int64)
        return _enqueue_now(self.address, array.ctypes.data, len(array), int(whole))

    def _take(self, n: int, *, whole: bool) -> npt.NDArray[np.int64]:
        if not int(self._record()["flags"]) & RING_SINGLE_CONSUMER:
            self._memory.require_own(f"ring {self.name}, of several consumers,", "taken from")
        if n < 0:
            raise ConfigError(f"ring {self.name}: {n} words can't be taken; ask for 0 or more")
        array = np.zeros(n, np.int64)
        return array[: _dequeue_now(self.address, array.ctypes.data, n, int(whole))]


def create(
    memory: Memory,
    name: str,
    count: int,
    *,
    single_producer: bool = False,
    single_consumer: bool = False,
    exact: bool = False,
) -> Ring:
    """Make a ring (rte_ring_create). `count` is a power of two and the ring holds one word less; with `exact` it
    holds exactly `count` words, any number.

    `single_producer` and `single_consumer` promise that only one thread at a time adds or takes. Raises ConfigError for
    a count that is not allowed or a name that is taken, HostError when memory is short.
    """
    if exact:
        if not 1 <= count < RING_MAX_SLOTS:
            raise ConfigError(f"ring {name}: count {count} is not between 1 and {RING_MAX_SLOTS - 1}")
        slots, capacity = 1 << count.bit_length(), count
    else:
        if not 2 <= count <= RING_MAX_SLOTS or count & (count - 1):
            raise ConfigError(
                f"ring {name}: count {count} is not a power of two between 2 and {RING_MAX_SLOTS}; exact=True takes any"
            )
        slots, capacity = count, count - 1
    memory.require_own(f"ring {name}", "made")
    zone = memory.reserve(f"{ZONE}{name}", RING_WORDS + 8 * slots, RING_ALIGN)
    record = zone.array(RING)[0]
    record["slots"], record["mask"], record["capacity"] = slots, slots - 1, capacity
    record["flags"] = (RING_SINGLE_PRODUCER if single_producer else 0) | (
        RING_SINGLE_CONSUMER if single_consumer else 0
    )
    return Ring(memory, name, zone)


def lookup(memory: Memory, name: str) -> Ring:
    """Return a ring that is there, whichever process made it (rte_ring_lookup). Raises ConfigError."""
    return Ring(memory, name, memory.lookup(f"{ZONE}{name}"))
