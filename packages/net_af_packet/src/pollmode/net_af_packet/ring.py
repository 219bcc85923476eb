# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a mapped ring: whose they are, and what the kernel's words about them are worth.

Each frame belongs to the kernel or to us, as its status says (packet_mmap, "Status"). The status is read with acquire
and given back with release: what the other side wrote before is seen, what it reads after is complete.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, inlined, load64, load_acquire32, record, store_release32

from .layout import RXQ, TP_STATUS, TP_STATUS_USER, TX_STATUS_MASK, TXQ

__all__ = ["break_rx", "break_tx", "following", "frame_at", "give_back", "ready", "tx_status"]


@inlined
def frame_at(frames: int, index: int) -> int:
    """Return the address of a frame out of the table of them."""
    return load64(frames + 8 * index)


@inlined
def following(index: int, count: int) -> int:
    """Return the index behind `index` in a ring of `count` frames."""
    return index + 1 if index + 1 < count else 0


@inlined
def ready(frame: int) -> int:
    """Return a received frame's status when the frame is ours, else 0."""
    status = load_acquire32(frame + TP_STATUS)
    return status if status & TP_STATUS_USER != 0 else 0


@inlined
def tx_status(frame: int) -> int:
    """Return the status of a frame to send, without the kind of its timestamp."""
    return load_acquire32(frame + TP_STATUS) & TX_STATUS_MASK


@inlined
def give_back(frame: int, status: int) -> None:
    """Give a frame to the kernel."""
    store_release32(frame + TP_STATUS, status)


@compiled
def break_rx(queue: int, code: int, index: int, word: int) -> int:
    """Mark a receive queue broken; returns 0."""
    q = record(queue, RXQ)
    q.broken, q.broken_index, q.broken_word = code, index, word
    q.faults += 1
    return 0


@compiled
def break_tx(queue: int, code: int, index: int, word: int) -> int:
    """Mark a transmit queue broken; returns 0."""
    q = record(queue, TXQ)
    q.broken, q.broken_index, q.broken_word = code, index, word
    q.faults += 1
    return 0
