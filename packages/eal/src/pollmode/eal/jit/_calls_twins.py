# SPDX-License-Identifier: BSD-3-Clause
"""Verbs that ask the kernel, as plain Python; the same names and meanings as in `_calls`."""

from __future__ import annotations

import ctypes
import time

__all__ = ["CLOCK_REALTIME", "realtime", "send_bytes", "write_bytes_at"]

CLOCK_REALTIME = 0  # linux/time.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.send.restype = ctypes.c_ssize_t
_libc.send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.pwrite.restype = ctypes.c_ssize_t
_libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]


def send_bytes(fd: int, address: int, count: int, flags: int) -> int:
    """Send the `count` bytes at `address` on a connected socket (send(2)); returns how many, or minus the errno."""
    sent = int(_libc.send(fd, address, count, flags))
    return sent if sent >= 0 else -ctypes.get_errno()


def write_bytes_at(fd: int, address: int, count: int, offset: int) -> int:
    """Write the `count` bytes at `address` to a file at `offset` (pwrite(2)); returns how many, or minus the errno."""
    written = int(_libc.pwrite(fd, address, count, offset))
    return written if written >= 0 else -ctypes.get_errno()


def realtime() -> int:
    """Read the clock of the day: nanoseconds since 1970 (CLOCK_REALTIME)."""
    return time.time_ns()
