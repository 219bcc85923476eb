# SPDX-License-Identifier: BSD-3-Clause
"""Where the EAL's memory stands in this process, and where in the machine."""

from __future__ import annotations

import ctypes
import os

from pollmode.eal import libc
from pollmode.eal.backing import Backing
from pollmode.eal.errors import ConfigError, HostError, InternalError
from pollmode.eal.hugepages import format_size

__all__ = ["map_anywhere", "map_at", "map_from_default", "physical_address"]

DEFAULT_BASE = 0x1_0000_0000
"""Where the region is mapped without --base-virtaddr, or as little above as there is room: DPDK's choice."""
_LEAST_BASE = 16 << 20
_TRIES = 64
_ALIGN = 1 << 30  # the largest page there is
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Linux Documentation/admin-guide/mm/pagemap.rst
_PAGEMAP_ENTRY = 8
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1


def map_anywhere(backing: Backing) -> int:
    """Map the file where the kernel likes, and return the address. Raises HostError."""
    try:
        return libc.map_shared(backing.fd, backing.size, promised=backing.huge)
    except OSError as error:
        told = f"cannot map {format_size(backing.size)} of {backing.kind}: {error.strerror}"
        raise HostError(told, mend="ask for less with -m, or raise ulimit -v", errno=error.errno) from error


def map_at(backing: Backing, base: int) -> int:
    """Map the file at `base`, the value of --base-virtaddr. Raises ConfigError or HostError when that cannot be."""
    if base < _LEAST_BASE:
        raise ConfigError(f"--base-virtaddr {base:#x} (aligned down to 16 MiB): it must be {_LEAST_BASE:#x} or more")
    at = -(-base // backing.page_size) * backing.page_size
    try:
        return libc.map_shared(backing.fd, backing.size, at, promised=backing.huge)
    except FileExistsError:
        what = "is in use, at least in part"
    except OSError as error:
        what = f"cannot be mapped ({error.strerror})"
    told = f"--base-virtaddr {base:#x}: the {format_size(backing.size)} from there on {what}"
    raise HostError(told, mend="choose another address, for example 0x100000000, or leave the option out")


def map_from_default(backing: Backing) -> int:
    """Map the file at the default base or the first room above it, else anywhere. Raises HostError."""
    step = -(-backing.size // _ALIGN) * _ALIGN
    for at in range(DEFAULT_BASE, DEFAULT_BASE + _TRIES * step, step):
        try:
            return libc.map_shared(backing.fd, backing.size, at, promised=backing.huge)
        except OSError:
            continue
    return map_anywhere(backing)


def physical_address(address: int) -> int:
    """Return the physical address of a touched byte. Raises HostError without the right to know it."""
    ctypes.string_at(address, 1)  # a page that is allocated but was never touched has no entry
    try:
        with open("/proc/self/pagemap", "rb") as pagemap:
            raw = os.pread(pagemap.fileno(), _PAGEMAP_ENTRY, address // _PAGE * _PAGEMAP_ENTRY)
    except OSError as error:
        raise HostError(f"cannot read physical addresses from /proc/self/pagemap: {error.strerror}") from error
    entry = int.from_bytes(raw, "little")
    if not entry & _PRESENT:
        raise InternalError(f"the page of {address:#x} is not in memory")
    if not entry & _FRAME:
        mend = "run as root, or start with --iova-mode va"
        raise HostError("physical addresses (--iova-mode pa) are for root only (CAP_SYS_ADMIN)", mend=mend)
    return (entry & _FRAME) * _PAGE + address % _PAGE
