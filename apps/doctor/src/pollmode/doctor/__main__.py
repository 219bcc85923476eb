# SPDX-License-Identifier: BSD-3-Clause
"""`doctor` and `python -m pollmode.doctor`."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the process's arguments and end with its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to clean up, so no trace either
    from pollmode.doctor import cli

    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
