# SPDX-License-Identifier: BSD-3-Clause
"""The device's side of the rings, compiled: fast enough to measure a driver against. `testing` is the face of it.

Here the driver is the other side: each of its words is read once, an address is translated only inside the memory the
model was given, and a packet that cannot be stops the queue with the error a real device gives.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.jit import (
    compiled,
    copy,
    inlined,
    load32,
    load64,
    load_acquire64,
    record,
    store64,
    store_release64,
    view,
)
from pollmode.eal.layout import le_struct

from .layout import (
    BTYPE_BODY,
    BTYPE_HEAD,
    DESC_SIZE,
    DESC_WORD1,
    ERR_BIG_PKT,
    ERR_NOEOP,
    ERR_TXD_INVALID,
    MAX_TSO_SEGMENTS,
    RCD_EOP,
    RCD_GEN,
    RCD_INDEX,
    RCD_LEN,
    RCD_RQID,
    RCD_SOP,
    RXD_BTYPE,
    RXD_GEN,
    RXD_LEN,
    TXD_CQ,
    TXD_EOP,
    TXD_GEN,
    TXD_LEN,
)

I8 = np.dtype("i8")
MAX_PIECES: Final = 64  # buffers of a received packet
FULL_LENGTH: Final = 1 << 14  # a transmit length of 0
NOTHING: Final = -1
STOPPED: Final = -2

# One command ring as the device walks it.
MODEL_RING: Final[np.dtype[Any]] = le_struct(
    "model_ring",
    64,
    desc="i8",
    size="i8",
    next="i8",
    gen="i8",
    producer="i8",  # address of the doorbell's register; 0: generations alone say what is there
    rqid="i8",
    unused=("i8", 2),
)
MODEL_QUEUE: Final[np.dtype[Any]] = le_struct(
    "model_queue",
    320,
    error="i8",  # ERR_*, 0 while the queue runs
    first="i8",  # the memory that may be reached: its addresses for the device, and what to add to find it here
    end="i8",
    offset="i8",
    comp="i8",
    comp_size="i8",
    comp_next="i8",
    comp_gen="i8",
    ring0=MODEL_RING,
    ring1=MODEL_RING,
    data="i8",  # receive data ring, 0: none
    data_size="i8",
    data_rqid="i8",
    packets="i8",
    bytes="i8",
    lost="i8",  # receive: no buffer was there
    word="i8",  # transmit: the second word of the first descriptor of the packet taken last
    segments="i8",  # transmit: its descriptors
    pieces="i8",  # address of scratch: MAX_PIECES pairs of index and address
    unused=("i8", 7),
)
RING0: Final = 64
RING1: Final = 128
# Compiled code takes integers.
RCD_EOP_MASK = RCD_EOP.mask
RCD_GEN_MASK = -(1 << RCD_GEN.shift)  # signed, as compiled code has it
RCD_GEN_SHIFT = RCD_GEN.shift
RCD_INDEX_MASK = RCD_INDEX.mask
RCD_LEN_MASK = RCD_LEN.mask
RCD_RQID_SHIFT = RCD_RQID.shift
RCD_SOP_MASK = RCD_SOP.mask
RXD_BTYPE_MASK = RXD_BTYPE.mask
RXD_BTYPE_SHIFT = RXD_BTYPE.shift
RXD_GEN_SHIFT = RXD_GEN.shift
RXD_LEN_MASK = RXD_LEN.mask
TXD_CQ_MASK = TXD_CQ.mask
TXD_EOP_MASK = TXD_EOP.mask
TXD_GEN_SHIFT = TXD_GEN.shift
TXD_LEN_MASK = TXD_LEN.mask


@inlined
def translate(queue: int, address: int, length: int) -> int:
    """Return where the device's address is in this process; 0 when the bytes are not in the memory it may reach."""
    q = record(queue, MODEL_QUEUE)
    if address < q.first or length > q.end - q.first or address > q.end - length:
        return 0
    found: int = address + q.offset
    return found


@inlined
def next_word(ring: int, shift: int) -> int:
    """Return the second word of a ring's next descriptor, 0 while the driver has not given it."""
    r = record(ring, MODEL_RING)
    if r.producer != 0 and load32(r.producer) == r.next:
        return 0
    word = load_acquire64(r.desc + DESC_SIZE * r.next + DESC_WORD1)
    if (word >> shift) & 1 != r.gen:
        return 0
    return word if word != 0 else 1 << 62


@inlined
def advance(ring: int) -> None:
    """Go on to the next descriptor."""
    r = record(ring, MODEL_RING)
    r.next += 1
    if r.next == r.size:
        r.next = 0
        r.gen ^= 1


@compiled
def complete(queue: int, word0: int, word1: int) -> int:
    """Write a completion, whatever it says, with the right generation; returns its slot."""
    q = record(queue, MODEL_QUEUE)
    slot: int = q.comp_next
    entry = q.comp + DESC_SIZE * slot
    store64(entry, word0)
    store_release64(entry + DESC_WORD1, (word1 & ~RCD_GEN_MASK) | q.comp_gen << RCD_GEN_SHIFT)
    q.comp_next += 1
    if q.comp_next == q.comp_size:
        q.comp_next = 0
        q.comp_gen ^= 1
    return slot


@compiled
def stop(queue: int, error: int) -> int:
    """Stop a queue; returns STOPPED."""
    record(queue, MODEL_QUEUE).error = error
    return STOPPED


@compiled
def take(queue: int, area: int, room: int) -> int:
    """Take the next packet sent, its bytes to `area` (0: nowhere), and complete it; returns its length, NOTHING when
    there is none, STOPPED when the queue is or was stopped.
    """
    q = record(queue, MODEL_QUEUE)
    ring = queue + RING0
    r = record(ring, MODEL_RING)
    if q.error != 0:
        return STOPPED
    total = segments = 0
    while True:
        index = r.next
        word = next_word(ring, TXD_GEN_SHIFT)
        if word == 0:
            return NOTHING if segments == 0 else stop(queue, ERR_NOEOP)
        length = word & TXD_LEN_MASK
        length = length if length != 0 else FULL_LENGTH
        address = translate(queue, load64(r.desc + DESC_SIZE * index), length)
        segments += 1
        if segments > MAX_TSO_SEGMENTS or total + length > room:
            return stop(queue, ERR_BIG_PKT)
        if address == 0:
            return stop(queue, ERR_TXD_INVALID)
        if segments == 1:
            q.word = word
        if area != 0:
            copy(area + total, address, length)
        total += length
        advance(ring)
        if word & TXD_EOP_MASK:
            break
    q.segments = segments
    q.packets += 1
    q.bytes += total
    if word & TXD_CQ_MASK:
        complete(queue, index, 0)
    return total


@compiled
def drain(queue: int, limit: int, room: int) -> int:
    """Take up to `limit` packets without looking at them; returns how many."""
    count = 0
    while count < limit and take(queue, 0, room) >= 0:
        count += 1
    return count


@compiled
def find_buffers(queue: int, length: int) -> int:
    """Note a buffer for each piece of a packet of `length` bytes; returns how many, 0 when there are not enough."""
    q = record(queue, MODEL_QUEUE)
    pieces = view(q.pieces, 4 * MAX_PIECES, I8)
    count = done = 0
    next1 = 0
    while done < length and count < MAX_PIECES:
        ring = queue + (RING0 if count == 0 else RING1)
        r = record(ring, MODEL_RING)
        if r.size == 0:
            return 0
        before, gen = r.next, r.gen
        for _ in range(next1 if count > 0 else 0):
            advance(ring)
        index, word = r.next, next_word(ring, RXD_GEN_SHIFT)
        r.next, r.gen = before, gen
        wanted = BTYPE_HEAD if count == 0 else BTYPE_BODY
        if word == 0 or (word & RXD_BTYPE_MASK) >> RXD_BTYPE_SHIFT != wanted:
            return 0
        room = min(word & RXD_LEN_MASK, length - done)
        if room == 0:
            return 0
        pieces[4 * count] = index
        pieces[4 * count + 1] = load64(r.desc + DESC_SIZE * index)
        pieces[4 * count + 2] = room
        done += room
        next1 += count > 0
        count += 1
    return count if done >= length else 0


@compiled
def give_small(queue: int, frame: int, length: int, word0: int, word1: int) -> int:
    """Put a small frame into the data ring; returns 1, or 0 when there is no buffer."""
    q = record(queue, MODEL_QUEUE)
    r = record(queue + RING0, MODEL_RING)
    index = r.next
    if next_word(queue + RING0, RXD_GEN_SHIFT) == 0:
        q.lost += 1
        return 0
    copy(q.data + q.data_size * index, frame, length)
    advance(queue + RING0)
    place = index | q.data_rqid << RCD_RQID_SHIFT | RCD_SOP_MASK | RCD_EOP_MASK
    complete(queue, word0 | place, word1 | length)
    q.packets += 1
    q.bytes += length
    return 1


@compiled
def give(queue: int, frame: int, length: int, word0: int, word1: int) -> int:
    """Put the frame at `frame` into the driver's buffers, all or nothing; returns 1, 0 when they do not suffice (and it
    is lost), STOPPED when the queue is or was stopped.

    `word0` and `word1` are what the completions say beside place, order and length.
    """
    q = record(queue, MODEL_QUEUE)
    if q.error != 0:
        return STOPPED
    if q.data != 0 and length <= q.data_size:
        return give_small(queue, frame, length, word0, word1)
    count = find_buffers(queue, length)
    if count == 0:
        q.lost += 1
        return 0
    pieces = view(q.pieces, 4 * MAX_PIECES, I8)
    for number in range(count):
        ring = queue + (RING0 if number == 0 else RING1)
        index, held = pieces[4 * number], pieces[4 * number + 2]
        address = translate(queue, pieces[4 * number + 1], held)
        if address == 0:
            return stop(queue, ERR_TXD_INVALID)
        copy(address, frame, held)
        frame += held
        advance(ring)
        place = index & RCD_INDEX_MASK | record(ring, MODEL_RING).rqid << RCD_RQID_SHIFT
        first = RCD_SOP_MASK if number == 0 else 0
        last = RCD_EOP_MASK if number == count - 1 else 0
        complete(queue, word0 | place | first | last, (word1 & ~RCD_LEN_MASK) | held)
    q.packets += 1
    q.bytes += length
    return 1


@compiled
def flood(queue: int, frame: int, length: int, count: int, word0: int, word1: int) -> int:
    """Put a frame into the driver's buffers up to `count` times; returns how often there was room."""
    given = 0
    while given < count and give(queue, frame, length, word0, word1) == 1:
        given += 1
    return given


@compiled
def forward(source: int, target: int, area: int, room: int, limit: int, word1: int) -> int:
    """Give up to `limit` packets that one queue sent to the driver of another; returns how many were taken."""
    count = 0
    while count < limit:
        length = take(source, area, room)
        if length < 0:
            break
        give(target, area, length, 0, word1)
        count += 1
    return count
