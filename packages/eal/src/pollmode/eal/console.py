# SPDX-License-Identifier: BSD-3-Clause
"""How a command ends: one line for an error the user can act on, DPDK's exit code, a trace on request."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from pollmode.eal.errors import PollmodeError

__all__ = ["run"]

INTERRUPTED = 130
"""Exit code of a command that SIGINT ended before it could end itself: 128 + 2, as shells count."""


def run(command: Callable[[], int], *, trace: bool = False) -> int:
    """Run a command and return its exit code: its own, 1 after a PollmodeError, 130 after an interrupt.

    The error is printed as DPDK's rte_exit prints it; `trace` adds where it was raised.
    """
    try:
        return command()
    except PollmodeError as error:
        if trace:
            traceback.print_exc()
        sys.stdout.flush()
        print(f"EAL: Error - exiting with code: 1\n  Cause: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
