# SPDX-License-Identifier: BSD-3-Clause
"""Receiving through faults."""

from __future__ import annotations

import functools

from pollmode.eal.jit import Callback, burst_callback, call_burst, load64

from .faults import inject, take
from .layout import LINK_INNER_FUNCTION, LINK_INNER_QUEUE, LINK_QUEUE, MAX_BURST, QUEUE_INBOX

__all__ = ["make_rx"]


@functools.cache
def make_rx() -> Callback:
    """Return the receive function: what waits from before, then what the port receives, with faults."""

    def fault_rx(lcore: int, link: int, burst: int, n: int) -> int:
        queue = load64(link + LINK_QUEUE)
        inbox = queue + QUEUE_INBOX
        done = take(queue, burst, n)
        if done < n:
            wanted = min(n - done, MAX_BURST)
            function, inner = load64(link + LINK_INNER_FUNCTION), load64(link + LINK_INNER_QUEUE)
            inject(lcore, queue, inbox, call_burst(function, lcore, inner, inbox, wanted))
            done += take(queue, burst + 8 * done, n - done)
        return done

    return burst_callback(fault_rx, "fault_rx")
