# SPDX-License-Identifier: BSD-3-Clause
"""Telling of what cannot be done, on standard error as DPDK's testpmd does, in order with what was printed."""

from __future__ import annotations

import sys

__all__ = ["warn"]


def warn(text: str) -> None:
    """Print lines about something that was not done."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
