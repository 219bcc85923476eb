# SPDX-License-Identifier: BSD-3-Clause
"""How long a cycle is: the rate of the counter that `jit.cycles` reads, measured against the kernel's clock.

The kernel knows the rate of x86's counter and does not tell it; DPDK measures for the same reason (get_tsc_freq).
"""

from __future__ import annotations

import functools
import time

from pollmode.eal.jit import compiled, cycles

__all__ = ["cycles_per_second"]

_MEASURED = 0.02  # seconds: a reading is right to a microsecond or so, the rate to a ten-thousandth
_READINGS = 8


@compiled
def read_cycles() -> int:
    """Read the cycle counter for the interpreter."""
    return cycles()


@functools.cache
def cycles_per_second() -> int:
    """Return how many cycles `jit.cycles` counts in a second; measured once in a process."""
    started, first = _reading()
    time.sleep(_MEASURED)
    ended, last = _reading()
    return round((last - first) * 1_000_000_000 / (ended - started))


def _reading() -> tuple[float, int]:
    """Return nanoseconds and cycles of one moment: the reading that took least, as others were interrupted."""
    best: tuple[int, float, int] | None = None
    for _ in range(_READINGS):
        before = time.monotonic_ns()
        count = read_cycles()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) / 2, count)
    assert best is not None
    return best[1], best[2]
