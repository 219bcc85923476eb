# SPDX-License-Identifier: BSD-3-Clause
"""The records of a queue with faults."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

MAX_BURST: Final = 512  # packets one call moves at most; testpmd's largest burst
HELD_SLOTS: Final = 64  # packets that one queue holds back at most
OUTBOX_SLOTS: Final = 2 * MAX_BURST + HELD_SLOTS  # a burst, a copy of each packet, and all that was held back

# What an entry has as its queue: the entry it wraps, and the queue's record. Immutable, as entries are.
LINK: Final[np.dtype[Any]] = le_struct("fault_link", 24, inner_function="i8", inner_queue="i8", queue="i8")
LINK_INNER_FUNCTION: Final = offset_of(LINK, "inner_function")
LINK_INNER_QUEUE: Final = offset_of(LINK, "inner_queue")
LINK_QUEUE: Final = offset_of(LINK, "queue")

# A packet that is held back, and what it waits for: either suffices.
HELD: Final[np.dtype[Any]] = le_struct("fault_held", 32, packet="i8", cycles="i8", passed="i8", reserved="i8")
HELD_SIZE: Final = HELD.itemsize
HELD_PACKET: Final = offset_of(HELD, "packet")
HELD_CYCLES: Final = offset_of(HELD, "cycles")  # the cycle count at which it goes on
HELD_PASSED: Final = offset_of(HELD, "passed")  # the queue's count of packets at which it goes on
NEVER: Final = 1 << 62

# One direction of one queue, private to its lcore; the control plane reads the counters.
QUEUE: Final[np.dtype[Any]] = le_struct(
    "fault_queue",
    192 + 8 * (MAX_BURST + OUTBOX_SLOTS) + HELD_SIZE * HELD_SLOTS,
    # Chances: of 2^32 - 1 numbers, how many mean the fault.
    drop="i8",
    duplicate="i8",
    reorder="i8",
    corrupt="i8",
    delay="i8",
    delay_cycles="i8",  # how long a packet is held back
    gap="i8",  # packets that overtake a reordered one
    random="i8",  # state of the generator, 1 to 2^32 - 1
    held="i8",  # packets in `slots`
    first="i8",  # the next word of `outbox` to go, and the end of those that wait there
    end="i8",
    passed="i8",  # packets that were put into the outbox, ever
    # Counters.
    entered="i8",
    left="i8",
    dropped="i8",
    duplicated="i8",
    reordered="i8",
    corrupted="i8",
    delayed="i8",
    discarded="i8",  # packets freed when the queue stopped
    nombuf="i8",  # copies that could not be made: the pool was empty
    full="i8",  # packets that could not be held back: all slots were taken
    reserved=("i8", 2),
    inbox=("i8", MAX_BURST),
    outbox=("i8", OUTBOX_SLOTS),
    slots=("i8", HELD_SIZE // 8 * HELD_SLOTS),
)
QUEUE_SIZE: Final = QUEUE.itemsize
QUEUE_INBOX: Final = offset_of(QUEUE, "inbox")
QUEUE_OUTBOX: Final = offset_of(QUEUE, "outbox")
QUEUE_SLOTS: Final = offset_of(QUEUE, "slots")

COUNTERS: Final = (
    "entered",
    "left",
    "dropped",
    "duplicated",
    "reordered",
    "corrupted",
    "delayed",
    "discarded",
    "nombuf",
    "full",
)
"""The fields that count, each written by the queue's lcore."""
