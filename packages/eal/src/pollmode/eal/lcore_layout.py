# SPDX-License-Identifier: BSD-3-Clause
"""The record of one lcore, passed by address to every compiled loop and burst callback."""

from __future__ import annotations

from pollmode.eal.coremap import MAX_LCORE
from pollmode.eal.layout import le_struct, offset_of

__all__ = ["LCORE", "LCORE_BUSY_CYCLES", "LCORE_ID", "LCORE_ID_ANY", "LCORE_STOP", "LCORE_TOTAL_CYCLES", "MAX_LCORE"]

LCORE_ID_ANY = MAX_LCORE
"""The id of whoever is no lcore, the interpreter for one: it has no cache of its own in a pool."""

# What others write (stop) and what the lcore itself writes (cycles) lie in different cache lines.
LCORE = le_struct(
    "lcore",
    128,
    id="i8",
    stop="i8",  # 0 run, 1 stop: written by the control plane, polled by the loop
    reserved=("i8", 6),
    busy_cycles="i8",  # cycles spent on bursts that were not empty; kept by loops that are asked to
    total_cycles="i8",
    reserved2=("i8", 6),
)

LCORE_ID = offset_of(LCORE, "id")
LCORE_STOP = offset_of(LCORE, "stop")
LCORE_BUSY_CYCLES = offset_of(LCORE, "busy_cycles")
LCORE_TOTAL_CYCLES = offset_of(LCORE, "total_cycles")
