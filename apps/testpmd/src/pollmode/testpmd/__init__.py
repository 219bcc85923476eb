# SPDX-License-Identifier: BSD-3-Clause
"""Forwards, makes and counts packets between ports, as DPDK's testpmd does."""

from pollmode.testpmd.cli import main

__all__ = ["main"]
