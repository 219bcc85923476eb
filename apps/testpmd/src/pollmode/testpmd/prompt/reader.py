# SPDX-License-Identifier: BSD-3-Clause
"""Lines of an input that is no terminal: a pipe or a file."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

from pollmode.eal.stopper import Stopper

__all__ = ["piped_lines"]

SLICE = 0.1  # seconds between looks at the stop request
CHUNK = 65536
LONGEST_LINE = 1 << 16


def piped_lines(stopper: Stopper) -> Iterator[str]:
    """Return the lines of standard input until it ends or the program is asked to stop.

    Reads the descriptor, so that a line is run when it comes and not when a buffer is full. A last line without its end
    is a line too. A line longer than 64 KiB is cut in pieces.
    """
    try:
        stdin = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return
    held = b""
    while not stopper.requested:
        if not select.select([stdin], [], [], SLICE)[0]:
            continue
        chunk = os.read(stdin, CHUNK)
        *lines, held = (held + chunk).split(b"\n")
        if not chunk or len(held) > LONGEST_LINE:
            lines, held = [*lines, *([held] if held else [])], b""
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")
        if not chunk:
            return
