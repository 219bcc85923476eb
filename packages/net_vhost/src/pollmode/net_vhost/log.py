# SPDX-License-Identifier: BSD-3-Clause
"""Marking the guest's pages that were written, while it migrates (VHOST_F_LOG_ALL).

Only callbacks made for it (`logged`) and the control plane call these. What was written is named by our own address:
where a buffer lies for the guest follows from its memory table, whatever addresses the descriptors hold.
"""

from __future__ import annotations

from pollmode.eal.jit import compiled, record
from pollmode.vhost.dirty import mark_written
from pollmode.vhost.memory import guest_address
from pollmode.vhost.virtqueue import USED_ELEM_SIZE, USED_FLAGS, USED_RING

from .layout import QUEUE


@compiled
def log_buffer(queue: int, host: int, length: int) -> None:
    """Mark `length` bytes of a buffer that were written at `host`, all in one region."""
    q = record(queue, QUEUE)
    mark_written(q.log, q.log_size, guest_address(q.memory, host), length)


@compiled
def log_used(queue: int, offset: int, length: int) -> None:
    """Mark `length` bytes of the used ring, when the front end wants it logged (VHOST_VRING_F_LOG)."""
    q = record(queue, QUEUE)
    if q.log_used >= 0:
        mark_written(q.log, q.log_size, q.log_used + offset, length)


@compiled
def log_head(queue: int) -> None:
    """Mark the used ring's flags and index."""
    log_used(queue, USED_FLAGS, USED_RING)


@compiled
def log_entries(queue: int, first: int, count: int) -> None:
    """Mark `count` used entries from index `first` on."""
    num = record(queue, QUEUE).num
    slot = first & (num - 1)
    run = min(count, num - slot)
    log_used(queue, USED_RING + USED_ELEM_SIZE * slot, USED_ELEM_SIZE * run)
    log_used(queue, USED_RING, USED_ELEM_SIZE * (count - run))
