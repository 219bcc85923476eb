# SPDX-License-Identifier: BSD-3-Clause
"""How a command ends: one line for an error the user can act on, DPDK's exit code, a trace on request."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

from pollmode.eal.errors import PollmodeError

__all__ = ["run"]

INTERRUPTED = 130
"""Exit code of a command that SIGINT ended before it could end itself: 128 + 2, as shells count."""

OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What printing fails with: no reader, no room, no terminal."""


def run(command: Callable[[], int], *, trace: bool = False) -> int:
    """Run a command and return its exit code: its own, 1 after a PollmodeError, 130 after an interrupt.

    The error is printed as DPDK's rte_exit prints it; `trace` adds where it was raised. An output that is full or that
    nobody reads any more (`| head -1`) is such an error; one that was closed before the start is /dev/null.
    """
    _open_missing_streams()
    try:
        code = command()
        sys.stdout.flush()
        return code
    except PollmodeError as error:
        if trace:
            traceback.print_exc()
        sys.stdout.flush()
        print(f"EAL: Error - exiting with code: 1\n  Cause: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS or error.filename is not None:
            raise
        _silence(1)
        try:
            print(
                f"EAL: Error - exiting with code: 1\n  Cause: cannot write the output: {error.strerror}",
                file=sys.stderr,
            )
        except OSError:
            _silence(2)
        return 1


def _open_missing_streams() -> None:
    """Open /dev/null for what the caller closed, lest memory or a socket gets descriptor 0 to 2 and is written into."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        fd = os.dup(fd)
    os.close(fd)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - it stays open to the end


def _silence(number: int) -> None:
    """Let an output that cannot be written lead nowhere: what is still buffered is no further error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
