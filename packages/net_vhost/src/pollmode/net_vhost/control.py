# SPDX-License-Identifier: BSD-3-Clause
"""What the control plane does to a queue record and its ring by address, while no lcore is in its callback."""

from __future__ import annotations

from pollmode.eal.jit import (
    compiled,
    load_acquire16,
    load_relaxed16,
    record,
    store_relaxed16,
    store_release16,
)
from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_IDX,
    AVAIL_RING,
    INDEX_MASK,
    USED_FLAGS,
    USED_IDX,
    USED_RING,
    VRING_USED_F_NO_NOTIFY,
)

from .layout import FAULT_AVAIL_INDEX, FAULT_NONE, QUEUE
from .log import log_entries, log_head
from .ring import return_entry


@compiled
def adopt_ring(queue: int) -> None:
    """Begin on a ring and ask the front end not to kick: the ring is polled.

    The base that came over the socket should be the used index in the ring. Where they differ, the ring's is what the
    front end looks at: packets under way when a back end went away are sent again or lost (DPDK does the same).
    """
    q = record(queue, QUEUE)
    q.next = load_acquire16(q.used + USED_IDX)
    store_relaxed16(q.used + USED_FLAGS, VRING_USED_F_NO_NOTIFY)
    log_head(queue)


@compiled
def heal_ring(queue: int) -> None:
    """Step over what broke a ring and make the queue sound.

    An entry that could not be followed goes back to the front end as it was written, with length 0. After an index
    that jumped there is nothing to go by but that index: everything up to it is given up.
    """
    q = record(queue, QUEUE)
    index = load_acquire16(q.avail + AVAIL_IDX)
    waiting = (index - q.next) & INDEX_MASK
    if waiting > q.num:
        q.next = index
    elif waiting > 0 and q.halt != FAULT_AVAIL_INDEX:
        slot = q.next & (q.num - 1)
        head = load_relaxed16(q.avail + AVAIL_RING + AVAIL_ELEM_SIZE * slot)
        return_entry(q.used + USED_RING, slot, head)
        log_entries(queue, q.next, 1)
        q.next = (q.next + 1) & INDEX_MASK
        q.given_up += 1
    store_release16(q.used + USED_IDX, q.next)
    log_head(queue)
    q.halt = FAULT_NONE
