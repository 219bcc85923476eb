# SPDX-License-Identifier: BSD-3-Clause
"""Entries of the dispatch table: what a driver gives, chains of callbacks around it, and the one that does nothing."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from pollmode.eal.jit import burst_callback, call_burst, load64, store64

from .layout import (
    CHAIN,
    CHAIN_FUNCTION,
    CHAIN_INNER_FUNCTION,
    CHAIN_INNER_QUEUE,
    CHAIN_USER,
    ENTRY,
)
from .types import BurstCallback, BurstEntry

__all__ = ["Added", "Entry", "nothing", "wrap"]


@dataclass(frozen=True, eq=False)
class Added:
    """A callback added to a queue: the handle to remove it by."""

    direction: str
    queue: int
    callback: BurstCallback
    user: int


class Entry:
    """An entry in memory. Keeps alive what its words point at; must itself live while a slot points at it."""

    def __init__(self, given: BurstEntry, *kept: object) -> None:
        self.given = given
        self._kept = kept
        self._record = np.zeros(1, ENTRY)
        self._record["function"] = given.callback.address
        self._record["queue"] = given.queue_address
        self.address = int(self._record.ctypes.data)


@functools.cache
def nothing() -> Entry:
    """Return the entry of a queue that is stopped or not set up: it receives nothing and takes nothing."""

    def eth_burst_nothing(lcore: int, queue: int, burst: int, n: int) -> int:
        return 0

    return Entry(BurstEntry(burst_callback(eth_burst_nothing, "eth_burst_nothing"), 0))


def wrap(inner: Entry, added: Added) -> Entry:
    """Return an entry that calls `inner` and, after a receive or before a send, the added callback."""
    chain = np.zeros(1, CHAIN)
    chain["inner_function"] = inner.given.callback.address
    chain["inner_queue"] = inner.given.queue_address
    chain["function"] = added.callback.address
    chain["user"] = added.user
    callback = _rx_chain() if added.direction == "rx" else _tx_chain()
    return Entry(BurstEntry(callback, int(chain.ctypes.data)), chain, inner, added)


@functools.cache
def _rx_chain() -> BurstCallback:
    def eth_rx_chain(lcore: int, chain: int, burst: int, n: int) -> int:
        # DPDK too calls an Rx callback for a burst of none: it may flush what it held back.
        count = call_burst(load64(chain + CHAIN_INNER_FUNCTION), lcore, load64(chain + CHAIN_INNER_QUEUE), burst, n)
        return call_burst(load64(chain + CHAIN_FUNCTION), lcore, load64(chain + CHAIN_USER), burst, count)

    return burst_callback(eth_rx_chain, "eth_rx_chain")


@functools.cache
def _tx_chain() -> BurstCallback:
    def eth_tx_chain(lcore: int, chain: int, burst: int, n: int) -> int:
        kept = call_burst(load64(chain + CHAIN_FUNCTION), lcore, load64(chain + CHAIN_USER), burst, n)
        sent = call_burst(load64(chain + CHAIN_INNER_FUNCTION), lcore, load64(chain + CHAIN_INNER_QUEUE), burst, kept)
        # What the callback dropped is gone, so it counts as sent; what the driver left goes to the end, where the
        # caller looks for packets that are still his.
        dropped = n - kept
        if dropped > 0:
            for place in range(kept - 1, sent - 1, -1):
                store64(burst + 8 * (place + dropped), load64(burst + 8 * place))
        return sent + dropped

    return burst_callback(eth_tx_chain, "eth_tx_chain")
