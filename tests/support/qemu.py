# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's device models as PCI devices of ours: needs neither root nor a guest."""

from __future__ import annotations

import os

import pytest

from support.initramfs import find_program

PROGRAM = "qemu-system-x86_64"
INSTALL = "apt-get install qemu-system-x86"


def require_qemu() -> None:
    """Skip the test where QEMU is not installed, or fail it where peers are required."""
    if find_program(PROGRAM):
        return
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(f"{PROGRAM} is not installed: {INSTALL}")
    pytest.skip(f"{PROGRAM} is not installed: {INSTALL}")
