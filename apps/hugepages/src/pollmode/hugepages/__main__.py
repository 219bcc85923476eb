# SPDX-License-Identifier: BSD-3-Clause
"""`pollmode-hugepages` and `python -m pollmode.hugepages`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the process's arguments and end with its exit code."""
    # SIGINT ends the process without a trace; while something is changed it is held back (`changing`).
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pollmode.hugepages import cli

    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
