# SPDX-License-Identifier: BSD-3-Clause
"""`testpmd` and `python -m pollmode.testpmd`."""

from __future__ import annotations

import sys

from pollmode.testpmd import cli

__all__ = ["main"]


def main() -> None:
    """Run the command with the process's arguments and end with its exit code."""
    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
