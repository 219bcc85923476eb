# SPDX-License-Identifier: BSD-3-Clause
"""From a port and a queue to the driver's function, on a table that may change between any two bursts.

A slot of the table is one word, the address of an entry {function, queue}. An entry never changes; what changes is the
slot, by one release store. So a caller sees the old function with the old queue, or the new one with the new queue,
and a running port's function is swapped without stopping anything.

Who takes an old entry's queue apart must know that no lcore is inside it any more. DPDK leaves that to the
application. Here each lcore has a mark in the table, odd while it is inside a callback, that only it writes: two plain
stores a burst. After a swap, `Dispatch.quiesce` makes every running thread pass a full barrier (membarrier(2): the cost
is on the rare side) and then waits for each mark that is odd to change. An lcore that came in later has seen the new
slot.

Refused: a lock for each queue (two locked instructions a burst, and a stalled lcore stalls the control plane for good),
fences in the callers (30 cycles a burst), counters that applications must advance (forgotten once, freed memory is
used).

Threads that are no lcores share the record LCORE_ID_ANY, and so its mark: they count themselves in and out of it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time

import numpy as np

from pollmode.eal.errors import InternalError
from pollmode.eal.jit import (
    call_burst,
    compiled,
    fence,
    fetch_add64,
    inlined,
    load64,
    load_acquire64,
    load_relaxed64,
    store_release64,
)
from pollmode.eal.lcore_layout import LCORE_ID, LCORE_ID_ANY

from .layout import (
    ENTRY_FUNCTION,
    ENTRY_QUEUE,
    MARK_SIZE,
    MAX_QUEUES,
    RX_SLOTS,
    TABLE_SIZE,
    TX_SLOTS,
)

__all__ = ["Dispatch", "receive_once", "rx_burst", "send_once", "tx_burst"]

_PATIENCE = 30.0
"""Seconds after which an lcore that has not left a burst callback is an error of ours: a burst takes microseconds."""


@inlined
def rx_burst(lcore: int, dispatch: int, port: int, queue: int, burst: int, n: int) -> int:
    """Receive up to `n` packets of a queue into the array of mbuf addresses at `burst`; return how many.

    `dispatch` is `Ports.dispatch`; `port` and `queue` are not checked (rte_eth_rx_burst).
    """
    return _through(lcore, dispatch, dispatch + RX_SLOTS + 8 * (port * MAX_QUEUES + queue), burst, n)


@inlined
def tx_burst(lcore: int, dispatch: int, port: int, queue: int, burst: int, n: int) -> int:
    """Send the `n` packets at `burst` on a queue; return how many were taken, from the front (rte_eth_tx_burst).

    The caller keeps the others.
    """
    return _through(lcore, dispatch, dispatch + TX_SLOTS + 8 * (port * MAX_QUEUES + queue), burst, n)


@inlined
def _through(lcore: int, dispatch: int, slot: int, burst: int, n: int) -> int:
    number = load64(lcore + LCORE_ID)
    mark = dispatch + MARK_SIZE * number
    if number == LCORE_ID_ANY:
        fetch_add64(mark, 1)
        count = _call(lcore, slot, burst, n)
        fetch_add64(mark, -1)
        return count
    before = load_relaxed64(mark)
    store_release64(mark, before | 1)
    count = _call(lcore, slot, burst, n)
    # Within another port's callback the mark was odd already and stays: the outer one leaves.
    store_release64(mark, before + 2 - 2 * (before & 1))
    return count


@inlined
def _call(lcore: int, slot: int, burst: int, n: int) -> int:
    entry = load_acquire64(slot)
    return call_burst(load64(entry + ENTRY_FUNCTION), lcore, load64(entry + ENTRY_QUEUE), burst, n)


@compiled
def receive_once(lcore: int, dispatch: int, port: int, queue: int, burst: int, n: int) -> int:
    """Do one `rx_burst` for the interpreter."""
    return rx_burst(lcore, dispatch, port, queue, burst, n)


@compiled
def send_once(lcore: int, dispatch: int, port: int, queue: int, burst: int, n: int) -> int:
    """Do one `tx_burst` for the interpreter."""
    return tx_burst(lcore, dispatch, port, queue, burst, n)


@compiled
def _publish(slot: int, entry: int) -> None:
    store_release64(slot, entry)
    fence()


class Dispatch:
    """The table of one process: its slots, and the wait for lcores to leave what a slot no longer points at.

    `nothing` is the address of the entry that every slot starts with.
    """

    def __init__(self, nothing: int) -> None:
        self._memory = np.zeros(TABLE_SIZE + MARK_SIZE, np.uint8)
        self.address = -(-self._memory.ctypes.data // MARK_SIZE) * MARK_SIZE
        words = self._memory[self.address - self._memory.ctypes.data :][:TABLE_SIZE].view(np.int64)
        words[RX_SLOTS // 8 :] = nothing
        self._marks = words[: RX_SLOTS // 8 : MARK_SIZE // 8]
        self._lost: dict[int, int] = {}  # lcores that did not come out, and their marks

    def slot(self, direction: str, port: int, queue: int) -> int:
        """Return the address of the slot of a queue; `direction` is "rx" or "tx"."""
        return self.address + (RX_SLOTS if direction == "rx" else TX_SLOTS) + 8 * (port * MAX_QUEUES + queue)

    def publish(self, slot: int, entry: int) -> None:
        """Make a slot point at an entry. What it pointed at may be in use until `quiesce` returns."""
        _publish(slot, entry)

    def quiesce(self) -> None:
        """Return when no lcore is inside an entry that was replaced before. Not to be called inside a callback.

        Raises InternalError when an lcore does not come out of a burst callback. It is not waited for a second time:
        who closes a port quiesces for each of its rings.
        """
        _barrier_everywhere()
        inside = {int(number): int(self._marks[number]) for number in np.flatnonzero(self._marks & 1)}
        if self._marks[LCORE_ID_ANY]:
            inside[LCORE_ID_ANY] = int(self._marks[LCORE_ID_ANY])
        deadline = time.monotonic() + _PATIENCE
        for number, mark in inside.items():
            while self._still_inside(number, mark):
                if time.monotonic() > deadline or self._lost.get(number) == mark:
                    if number != LCORE_ID_ANY:  # whose mark counts threads: the next one may be others
                        self._lost[number] = mark
                    raise InternalError(f"lcore {number} has been inside a burst callback for {_PATIENCE:.0f} s")
                time.sleep(0)

    def _still_inside(self, number: int, mark: int) -> bool:
        now = int(self._marks[number])
        return now != 0 if number == LCORE_ID_ANY else now == mark


_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_PRIVATE_EXPEDITED, _REGISTER_PRIVATE_EXPEDITED = 1 << 3, 1 << 4
_STORE_BUFFER_DRAINED = 0.001


def _barrier_everywhere() -> None:
    """Have every running thread of the process pass a full memory barrier."""
    number = _MEMBARRIER.get(platform.machine())
    if number is not None:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
        if syscall(number, _PRIVATE_EXPEDITED, 0, 0) == 0:
            return
        if syscall(number, _REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 and syscall(number, _PRIVATE_EXPEDITED, 0, 0) == 0:
            return
    # A kernel or a sandbox without the call: a store leaves its buffer within microseconds.
    os.sched_yield()
    time.sleep(_STORE_BUFFER_DRAINED)
