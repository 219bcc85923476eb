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

UNREAD = 141
"""Exit code when nobody reads the output: 128 + SIGPIPE, as shells count."""

OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What printing fails with: no reader, no room, no terminal."""


RTE_EXIT = "EAL: Error - exiting with code: 1\n  Cause: {}"
"""How DPDK's applications tell why they end; its Python tools print one line."""


def run(command: Callable[[], int], *, trace: bool = False, form: str = RTE_EXIT) -> int:
    """Run a command and return its exit code: its own, 1 after a PollmodeError, 141 when nobody reads its output.

    The error is printed in `form`, DPDK's rte_exit's; `trace` adds where it was raised. An output that is full is such
    an error; one whose reader has ended (`| head -1`) ends the command without a word, as SIGPIPE would; one that was
    closed before the start is /dev/null.
    """
    _open_missing_streams()
    try:
        try:
            code = command()
        except PollmodeError as error:
            code = _fail(str(error), form, trace=trace)
        sys.stdout.flush()
        return code
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS or error.filename is not None:
            raise
        _silence(1)
        if error.errno == errno.EPIPE:
            _silence(2)
            return UNREAD
        return _fail(f"cannot write the output: {error.strerror}", form)


def _fail(cause: str, form: str, *, trace: bool = False) -> int:
    """Tell why the command ends, on standard error and behind all that it printed; return exit code 1."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence(1)
    try:
        if trace:
            traceback.print_exc()
        print(form.format(cause), file=sys.stderr)
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
