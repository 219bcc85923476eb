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
LEFT_OUT = f"# a line of more than {LONGEST_LINE} bytes was left out"


def piped_lines(stopper: Stopper) -> Iterator[str]:
    """Return the lines of standard input until it ends or the program is asked to stop.

    Reads the descriptor, so that a line is run when it comes and not when a buffer is full. A last line without its end
    is a line too. A line longer than 64 KiB is left out, which a comment in its place says.
    """
    try:
        stdin = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return
    held, too_long = b"", False
    while not stopper.requested:
        if not select.select([stdin], [], [], SLICE)[0]:
            continue
        chunk = os.read(stdin, CHUNK)
        *lines, held = (held + chunk).split(b"\n")
        if not chunk and held:
            lines, held = [*lines, held], b""
        for line in lines:
            yield LEFT_OUT if too_long or len(line) > LONGEST_LINE else line.decode(errors="replace").rstrip("\r")
            too_long = False
        if len(held) > LONGEST_LINE:
            held, too_long = b"-", True  # of a line that is left out only its end counts
        if not chunk:
            return
