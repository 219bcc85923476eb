# SPDX-License-Identifier: BSD-3-Clause
"""`pollmode-dumpcap` and `python -m pollmode.dumpcap`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the process's arguments and end with its exit code."""
    # Until a Stopper takes over there is nothing to clean up: SIGINT ends the process as SIGTERM does, without a trace.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pollmode.dumpcap import cli

    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
