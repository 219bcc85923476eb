# SPDX-License-Identifier: BSD-3-Clause
"""The front end's memory in this process: files that came over the socket, checked and mapped.

The descriptor is closed as soon as the file is mapped: the mapping keeps the file, and its inode keeps its identity.
A file shorter than the region it stands for would be a SIGBUS in a polling loop, so its size is asked first. A front
end that shortens its file later still can do that to us; no interface of the kernel prevents it for a file of others.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.eal.hugepages import format_size
from pollmode.vhost.faults import MalformedMessage, RefusedMessage
from pollmode.vhost.memory import ADDRESS_LIMIT, MAX_REGIONS, Region, overlap
from pollmode.vhost.messages import RegionEntry

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_IN_PLACE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
_MAP_FAILED = ctypes.c_void_p(-1).value
_FILE_LIMIT = 1 << 63  # off_t
_USER_LIMIT = 1 << 64

Identity = tuple[int, int, RegionEntry]


class MappedFile:
    """`size` bytes at `offset` of a file, mapped shared and writable; `address` is their first byte.

    Raises MalformedMessage for a descriptor that is no regular file or a file too short, RefusedMessage when the
    kernel does not map it. The descriptor stays the caller's.
    """

    def __init__(self, fd: int, offset: int, size: int) -> None:
        about = _regular_file(fd, offset, size)
        # A file in huge pages is mapped in whole pages of that size, which is its block size.
        block = max(about.st_blksize, mmap.PAGESIZE)
        start = offset - offset % block
        self._length = -(-(offset + size - start) // block) * block
        found = _libc.mmap(None, self._length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, start)
        if found in (_MAP_FAILED, None):
            reason = _reason(ctypes.get_errno())
            raise RefusedMessage(f"{size:#x} bytes at offset {offset:#x} of the descriptor cannot be mapped: {reason}")
        self._base = int(found)
        self.address = self._base + offset - start
        self.size = size
        self.inode = (about.st_dev, about.st_ino)

    @property
    def pages(self) -> tuple[int, int]:
        """Address and length of the mapping: whole pages around the `size` bytes."""
        return self._base, self._length

    def close(self, *, entangled: bool = False) -> None:
        """Unmap. Closing twice is harmless.

        `entangled`: a thread may still use the memory. The file goes, but private zeros take its place, so that the
        thread harms nobody; that range of addresses is lost.
        """
        if self._base and entangled:
            _libc.mmap(self._base, self._length, mmap.PROT_READ | mmap.PROT_WRITE, _IN_PLACE, -1, 0)
        elif self._base:
            _libc.munmap(self._base, self._length)
        self._base = self.address = 0


def _reason(number: int) -> str:
    """Return the text of a mapping's errno, and the limit of this process that may be behind it."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if number == errno.ENOMEM and limit != resource.RLIM_INFINITY:
        return f"{os.strerror(number)}: this process may map {format_size(limit)} in all; raise ulimit -v"
    return os.strerror(number)


def _regular_file(fd: int, offset: int, size: int) -> os.stat_result:
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        raise MalformedMessage("a descriptor of memory is not a regular file (memfd, hugetlbfs, tmpfs)")
    if size <= 0 or offset + size > _FILE_LIMIT:
        raise MalformedMessage(f"offset {offset:#x} and size {size:#x} are no part of a file", word=offset)
    if about.st_size < offset + size:
        raise MalformedMessage(
            f"a file of {about.st_size:#x} bytes comes for {size:#x} bytes at offset {offset:#x}", word=offset
        )
    return about


def check_entries(entries: Sequence[RegionEntry]) -> None:
    """Raise MalformedMessage unless the regions could be the memory of one machine: no overflow, no overlap."""
    if len(entries) > MAX_REGIONS:
        raise MalformedMessage(f"{len(entries)} memory regions; at most {MAX_REGIONS}", word=len(entries))
    for entry in entries:
        if entry.size == 0 or entry.guest_address + entry.size > ADDRESS_LIMIT:
            raise MalformedMessage(f"guest memory at {entry.guest_address:#x} of size {entry.size:#x} is no region")
        if entry.user_address + entry.size > _USER_LIMIT or entry.offset + entry.size > _FILE_LIMIT:
            raise MalformedMessage(
                f"memory of size {entry.size:#x} ends beyond 64 bits: user {entry.user_address:#x}, "
                f"offset {entry.offset:#x}"
            )
    for what, starts in (("guest", [e.guest_address for e in entries]), ("user", [e.user_address for e in entries])):
        pair = overlap(list(zip(starts, [entry.size for entry in entries], strict=True)))
        if pair:
            raise MalformedMessage(f"memory regions {pair[0]} and {pair[1]} overlap in {what} addresses")


@dataclass(frozen=True)
class MappedRegion:
    """One region and the mapping behind it."""

    entry: RegionEntry
    file: MappedFile

    @property
    def identity(self) -> Identity:
        """What makes two regions the same memory at the same places."""
        return (*self.file.inode, self.entry)

    @property
    def region(self) -> Region:
        """Where the region lies, for translation."""
        entry = self.entry
        return Region(entry.guest_address, entry.size, entry.user_address, self.file.address)


def identity(entry: RegionEntry, fd: int) -> Identity:
    """Return what `MappedRegion.identity` would be of a region in the file of this descriptor."""
    about = os.fstat(fd)
    return about.st_dev, about.st_ino, entry


def map_region(entry: RegionEntry, fd: int) -> MappedRegion:
    """Map one region; the descriptor stays the caller's. Raises what MappedFile raises."""
    return MappedRegion(entry, MappedFile(fd, entry.offset, entry.size))


def map_table(entries: Sequence[RegionEntry], fds: Sequence[int]) -> list[MappedRegion]:
    """Map all regions or none; the descriptors stay the caller's.

    Raises MalformedMessage for regions that overlap, overflow or lack their descriptor; see also MappedFile.
    """
    if len(entries) != len(fds):
        raise MalformedMessage(f"{len(entries)} memory regions with {len(fds)} descriptors", word=len(fds))
    check_entries(entries)
    mapped: list[MappedRegion] = []
    try:
        for entry, fd in zip(entries, fds, strict=True):
            mapped.append(map_region(entry, fd))
    except BaseException:
        unmap(mapped)
        raise
    return mapped


def unmap(regions: Sequence[MappedRegion], *, entangled: bool = False) -> None:
    """Unmap them all; see `MappedFile.close`."""
    for region in regions:
        region.file.close(entangled=entangled)
