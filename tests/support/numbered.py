# SPDX-License-Identifier: BSD-3-Clause
"""Packets numbered in their payload: what comes back is complete, in order and unchanged, or the test knows where not.

A frame is an Ethernet header, a 64-bit number, and bytes that follow from the number and their place.
"""

from __future__ import annotations

import numpy as np

from pollmode.eal.jit import (
    compiled,
    cycles,
    inlined,
    load8,
    load16,
    load64,
    load_relaxed64,
    store8,
    store16,
    store32,
    store64,
    store_relaxed64,
)
from pollmode.eal.layout import le_struct
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import rx_burst, tx_burst
from pollmode.mbuf import (
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_PKT_LEN,
    mbuf_alloc,
    mbuf_data,
    mbuf_free,
    mbuf_free_bulk,
    mbuf_tailroom,
)

HEADER = 14
BURST = 32

TALLY = le_struct("tally", 48, sent="i8", received="i8", lost="i8", changed="i8", failed="i8", spare="i8")
"""Frames sent, received right, numbers that never came, frames whose bytes differ, mbufs that were not to be had."""


@inlined
def byte_of(number: int, place: int) -> int:
    """Return the byte that belongs at `place` of frame `number`."""
    return (number * 31 + place * 7) & 0xFF


@inlined
def make_frame(lcore: int, pool: int, number: int, size: int) -> int:
    """Return a frame of `size` bytes, in as many segments as it takes; 0 when the pool is empty."""
    first = mbuf_alloc(lcore, pool)
    if first == 0:
        return 0
    last, segments, place = first, 1, 0
    while True:
        length = min(size - place, mbuf_tailroom(last))
        data = mbuf_data(last)
        for i in range(length):
            store8(data + i, byte_of(number, place + i))
        store16(last + MBUF_DATA_LEN, length)
        place += length
        if place == size:
            break
        following = mbuf_alloc(lcore, pool)
        if following == 0:
            mbuf_free(lcore, first)
            return 0
        store64(last + MBUF_NEXT, following)
        last = following
        segments += 1
        store16(first + MBUF_NB_SEGS, segments)
    head = mbuf_data(first)
    store64(head, 0x0002_0100_0000_0002)
    store32(head + 8, 0x0200_0000)
    store16(head + 12, 0xB588)  # for local experiments: a device that knows IP looks no further
    store64(head + HEADER, number)
    store32(first + MBUF_PKT_LEN, size)
    return first


@inlined
def is_unchanged(m: int, number: int, size: int) -> bool:
    """Tell whether a received frame is `number`, whole; its addresses may have been rewritten."""
    place = 0
    while m != 0 and place <= size:
        data, length = mbuf_data(m), load16(m + MBUF_DATA_LEN)
        for i in range(length):
            at = place + i
            if at >= HEADER + 8 and load8(data + i) != byte_of(number, at):
                return False
        place += length
        m = load64(m + MBUF_NEXT)
    return place == size


@compiled
def play(
    lcore: int,
    dispatch: int,
    out: int,
    back: int,
    queue: int,
    pool: int,
    count: int,
    size: int,
    window: int,
    burst: int,
    tally: int,
    patience: int,
) -> int:
    """Send `count` frames on port `out` and take them from port `back`, at most `window` under way.

    `burst` is an array of 2 * BURST words, `tally` a TALLY record. Ends when all came back or nothing came for
    `patience` cycles; returns how many came back right.
    """  # fmt: skip
    sent = received = right = lost = changed = failed = 0
    last = cycles()
    while received < count and cycles() - last < patience:
        wanted = min(BURST, count - sent, window - (sent - received))
        made = 0
        while made < wanted:
            m = make_frame(lcore, pool, sent + made, size)
            if m == 0:
                failed += 1
                break
            store64(burst + 8 * made, m)
            made += 1
        taken = tx_burst(lcore, dispatch, out, queue, burst, made) if made > 0 else 0
        if taken < made:
            mbuf_free_bulk(lcore, burst + 8 * taken, made - taken)
        sent += taken
        came = rx_burst(lcore, dispatch, back, queue, burst + 8 * BURST, BURST)
        for i in range(came):
            m = load64(burst + 8 * (BURST + i))
            number = load64(mbuf_data(m) + HEADER)
            if number > received:
                lost += number - received
                received = number
            if number == received and is_unchanged(m, number, size):
                right += 1
            else:
                changed += 1
            received += 1
        mbuf_free_bulk(lcore, burst + 8 * BURST, came)
        if came > 0:
            last = cycles()
    store64(tally, sent)
    store64(tally + 8, right)
    store64(tally + 16, lost)
    store64(tally + 24, changed)
    store64(tally + 32, failed)
    return right


def new_tally() -> np.ndarray:
    """Return an empty TALLY record; its address is `.ctypes.data`."""
    return np.zeros(1, TALLY)


@compiled
def churn(lcore: int, dispatch: int, port: int, pool: int, size: int, burst: int, counts: int) -> int:
    """Send and receive on a port's first queue until the lcore is stopped; returns the frames received.

    `counts` is the address of two words, frames sent and received until now; `burst` an array of BURST words.
    """
    sent = received = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        made = 0
        while made < BURST:
            m = make_frame(lcore, pool, sent + made, size)
            if m == 0:
                break
            store64(burst + 8 * made, m)
            made += 1
        taken = tx_burst(lcore, dispatch, port, 0, burst, made)
        mbuf_free_bulk(lcore, burst + 8 * taken, made - taken)
        sent += taken
        came = rx_burst(lcore, dispatch, port, 0, burst, BURST)
        mbuf_free_bulk(lcore, burst, came)
        received += came
        store_relaxed64(counts, sent)
        store_relaxed64(counts + 8, received)
    return received
