# SPDX-License-Identifier: BSD-3-Clause
"""Sending through faults."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, call_burst, compiled, load64, record

from .faults import inject
from .layout import LINK_INNER_FUNCTION, LINK_INNER_QUEUE, LINK_QUEUE, MAX_BURST, QUEUE, QUEUE_OUTBOX

__all__ = ["make_tx"]


@compiled
def push(lcore: int, link: int) -> int:
    """Send what is in the outbox, as far as the port takes it; return how many packets stay."""
    queue = load64(link + LINK_QUEUE)
    function, inner = load64(link + LINK_INNER_FUNCTION), load64(link + LINK_INNER_QUEUE)
    q = record(queue, QUEUE)
    waiting: int = q.end - q.first
    while waiting > 0:
        sent = call_burst(function, lcore, inner, queue + QUEUE_OUTBOX + 8 * q.first, min(waiting, MAX_BURST))
        if sent == 0:
            break
        q.first += sent
        q.left += sent
        waiting -= sent
    return waiting


@functools.cache
def make_tx() -> Callback:
    """Return the transmit function: it takes a whole burst, or nothing while the port is full.

    What the port does not take of a burst stays in the outbox: offered again by the caller, it would meet chance twice.
    """

    def fault_tx(lcore: int, link: int, burst: int, n: int) -> int:
        if push(lcore, link) > 0:
            return 0
        taken = min(n, MAX_BURST)
        inject(lcore, load64(link + LINK_QUEUE), burst, taken)
        push(lcore, link)
        return taken

    return burst_callback(fault_tx, "fault_tx")
