# SPDX-License-Identifier: BSD-3-Clause
"""The system calls that Python's `os` and `mmap` don't offer: mapping at a chosen address, advice on a range.

`mmap.mmap` hides the address and can't choose it; records in memory hold addresses, so we map through the C library.
"""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = ["DONTDUMP", "HUGEPAGE", "REMOVE", "advise", "map_over", "map_shared", "reserve_addresses", "unmap"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

# linux/mman.h, asm-generic/mman-common.h
_PROT_NONE = 0x0
_PROT_READ_WRITE = 0x3
_MAP_SHARED = 0x01
_MAP_PRIVATE = 0x02
_MAP_FIXED = 0x10
_MAP_ANONYMOUS = 0x20
_MAP_NORESERVE = 0x4000
_MAP_FIXED_NOREPLACE = 0x100000
_MAP_FAILED = ctypes.c_void_p(-1).value
REMOVE = 9
HUGEPAGE = 14
DONTDUMP = 16


def map_shared(fd: int, size: int, at: int | None = None, *, promised: bool = False) -> int:
    """Map `size` bytes of a file, shared and writable, and return the address.

    With `at` the mapping stands exactly there or FileExistsError is raised. Hugepages can be
    `promised` at once; others are allocated by whoever hands them out, with `os.posix_fallocate`. Raises OSError.
    """
    flags = _MAP_SHARED | (0 if promised else _MAP_NORESERVE) | (_MAP_FIXED_NOREPLACE if at is not None else 0)
    address = _map(at, size, _PROT_READ_WRITE, flags, fd, 0)
    if at is not None and address != at:  # before Linux 4.17 the flag is unknown and the address a mere hint
        unmap(address, size)
        raise FileExistsError(errno.EEXIST, f"something else is mapped at {at:#x}")
    return address


def reserve_addresses(size: int) -> int:
    """Return the address of `size` bytes where nothing can be read or written, for `map_over`. Raises OSError."""
    return _map(None, size, _PROT_NONE, _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE, -1, 0)


def map_over(fd: int, offset: int, size: int, at: int) -> None:
    """Map a piece of a file, shared and writable, over addresses that `reserve_addresses` gave. Raises OSError."""
    _map(at, size, _PROT_READ_WRITE, _MAP_SHARED | _MAP_FIXED, fd, offset)


def _map(at: int | None, size: int, rights: int, flags: int, fd: int, offset: int) -> int:
    address: int | None = _libc.mmap(at, size, rights, flags, fd, offset)
    if address is None or address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address


def unmap(address: int, size: int) -> None:
    """Take a mapping away. Raises OSError."""
    if _libc.munmap(address, size):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def advise(address: int, size: int, advice: int) -> bool:
    """Give the kernel advice on a range of pages; returns whether it took it."""
    return bool(_libc.madvise(address, size, advice) == 0)
