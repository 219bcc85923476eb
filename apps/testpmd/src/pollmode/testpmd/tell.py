# SPDX-License-Identifier: BSD-3-Clause
"""Telling of what cannot be done, on standard error as DPDK's testpmd does, in order with what was printed.

The words are DPDK's; what is ours, why and what to do instead, stands on lines of its own behind an arrow.
"""

from __future__ import annotations

import sys

__all__ = ["ARROW", "explain", "warn"]

ARROW = "  -> "


def warn(text: str, why: object = None) -> None:
    """Print lines about something that was not done, and why."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
    if why is not None:
        explain(why)


def explain(why: object) -> None:
    """Print a line that DPDK does not print."""
    sys.stdout.flush()
    print(f"{ARROW}{why}", file=sys.stderr, flush=True)
