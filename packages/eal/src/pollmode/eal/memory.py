# SPDX-License-Identifier: BSD-3-Clause
"""The EAL's memory: one shareable region mapped at a chosen address, handed out in named zones.

DPDK grows its heap page by page, each page its own mapping; a vhost peer that gets more than eight of them gives up. We
map one file once, sparse, and allocate pages when a zone is reserved: an idle process is small, the peer gets one
descriptor, and a shortage is an error at `reserve`, never a SIGBUS at the first touch.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from pollmode.eal import libc, logs
from pollmode.eal.backing import Backing, choose, ordinary
from pollmode.eal.errors import ConfigError, HostError, InternalError, nearest
from pollmode.eal.hugepages import available_memory, format_size
from pollmode.eal.mapping import map_anywhere, map_at, map_from_default, physical_address
from pollmode.eal.memzone import Extents, Memzone
from pollmode.eal.options import EalOptions

__all__ = ["Memory", "MemoryWatcher", "Memzone", "Region", "private"]

log = logs.get("lib.eal")

_CACHE_LINE = 64
_FIRST_MIB = 1 << 20
"""Left out when the region is the memory of a PC: video memory and firmware hide a part of it."""
_WORTH_A_LOOK = 1 << 20  # smaller zones are not compared with the memory that is available


@dataclass(frozen=True)
class Region:
    """A mapped piece of a file, as a vhost peer needs it: where it is, and which part of which descriptor."""

    address: int
    size: int
    fd: int
    fd_offset: int
    page_size: int


class MemoryWatcher(Protocol):
    """Who follows what is reserved, to show it to a device. What `reserved` raises is raised by `Memory.reserve`."""

    def reserved(self, address: int, size: int) -> None:
        """Learn of a zone before it is handed out. Raises HostError when the device can't have it."""

    def freed(self, address: int, size: int) -> None:
        """Learn that a zone was given back."""


class Memory:
    """One region of shared memory and the zones in it. Any thread may reserve and free."""

    def __init__(self, backing: Backing, address: int, iova_mode: str = "va") -> None:
        self._backing = backing
        self._address = address
        self._lock = threading.Lock()
        self._extents = Extents(backing.size)
        self._zones: dict[str, Memzone] = {}
        self._frames: dict[int, int] = {}
        self._watchers: list[MemoryWatcher] = []
        self._pinned = False
        self._closed = False
        self._keeping = False
        self.iova_mode = iova_mode
        libc.advise(address, backing.size, libc.DONTDUMP)
        if not backing.huge:
            libc.advise(address, backing.size, libc.HUGEPAGE)  # the administrator decides whether it counts

    @classmethod
    def create(cls, options: EalOptions) -> Memory:
        """Return the memory that the EAL's options ask for, and say which it is.

        Raises HostError when the machine has too little of it, or of the right to it, and ConfigError.
        """
        backing = choose(options)
        iova_mode = options.iova_mode or "va"
        base = options.base_virtaddr
        try:
            if iova_mode == "pa" and not backing.huge:
                mend = "reserve hugepages, or start with --iova-mode va"
                raise HostError("physical addresses (--iova-mode pa) need hugepages: other pages move", mend=mend)
            address = map_from_default(backing) if base is None else map_at(backing, base)
        except BaseException:
            backing.remove()
            raise
        memory = cls(backing, address, iova_mode)
        try:
            if any(text != "kernel" for text in options.pci_hosts):
                memory.reserve("the first MiB, not all of which is memory in a PC", _FIRST_MIB)
            memory.free(memory.reserve("probe of the address mode", _CACHE_LINE))
        except BaseException:
            memory.close()
            raise
        log.notice(f"memory: {memory.description}")
        return memory

    @property
    def kind(self) -> str:
        """What file it is, for people."""
        return self._backing.kind

    @property
    def description(self) -> str:
        """What this memory is, for people."""
        backing = self._backing
        mode = self.iova_mode.upper()
        most = "" if backing.huge else "up to "
        return f"{most}{format_size(backing.size)} of {backing.kind} at {self._address:#x}, IOVA as {mode}"

    def reserve(self, name: str, size: int, align: int = _CACHE_LINE) -> Memzone:
        """Return a new zone of at least `size` zeroed bytes, aligned to `align` bytes and to a cache line.

        With physical addresses a zone within a page's size is contiguous for devices; a larger one need not be. Raises
        ConfigError for a name that is taken or an alignment that is no power of two, HostError when memory is short.
        """
        self._check_request(name, size, align)
        size = -(-size // _CACHE_LINE) * _CACHE_LINE
        with self._lock:
            if name in self._zones:
                raise ConfigError(f"a memory zone named {name!r} exists already", errno=errno.EEXIST)
            boundary = self._backing.page_size if self.iova_mode == "pa" else 0
            offset = self._extents.take(size, max(align, _CACHE_LINE), boundary)
            if offset is None:
                raise self._region_is_full(name, size)
            try:
                self._allocate(name, offset, size)
                address = self._address + offset
                zone = Memzone(name, address, size, self.iova(address))
                self._show(zone)
            except BaseException:
                self._extents.give(offset, size)
                raise
            self._zones[name] = zone
        return zone

    def free(self, zone: Memzone) -> None:
        """Give a zone back; nobody may use its memory any more. Raises ConfigError for a zone that is not reserved."""
        with self._lock:
            if self._zones.get(zone.name) != zone:
                raise ConfigError(f"memory zone {zone.name!r} is not reserved here")
            for watcher in self._watchers:
                watcher.freed(zone.address, zone.size)
            del self._zones[zone.name]
            if self._keeping:
                return
            self._clear(zone.address, zone.size)
            self._extents.give(zone.address - self._address, zone.size)

    def require_own(self, what: str, done: str) -> None:
        """Raise UnsupportedError when the memory is another process's, where `what` can't be `done` by this one."""

    def keep(self) -> None:
        """Leave the bytes of freed zones as they are from now on, and reserved: another process still uses them."""
        self._keeping = True

    def lookup(self, name: str) -> Memzone:
        """Return the zone of that name. Raises ConfigError when there is none."""
        try:
            return self._zones[name]
        except KeyError:
            told = f"no memory zone is named {name!r}{nearest(name, self._zones)}"
            raise ConfigError(told, errno=errno.ENOENT) from None

    def zones(self) -> list[Memzone]:
        """Return the reserved zones, by address."""
        return sorted(self._zones.values(), key=lambda zone: zone.address)

    def regions(self) -> list[Region]:
        """Return what a peer must map to reach every zone: one region."""
        backing = self._backing
        return [Region(self._address, backing.size, backing.fd, 0, backing.page_size)]

    def iova(self, address: int) -> int:
        """Return the address a device uses for a reserved `address`. Raises InternalError outside the memory."""
        if not self._address <= address < self._address + self._backing.size:
            raise InternalError(f"{address:#x} is not in the memory at {self._address:#x}")
        if self.iova_mode == "va":
            return address
        if self.iova_mode == "offset":
            return address - self._address
        page, within = divmod(address, self._backing.page_size)
        if page not in self._frames:  # hugepages don't move while they are mapped
            self._frames[page] = physical_address(page * self._backing.page_size)
        return self._frames[page] + within

    def use_iova(self, mode: str) -> None:
        """Translate from now on for devices that reach memory so, before any of them uses a zone.

        "va": by the process's addresses, through an IOMMU; "pa": by physical addresses; "offset": by the offset in the
        region, which is the memory of the machine the devices are in. Raises HostError when that cannot be done.
        """
        if mode == "pa" and not self._backing.huge:
            mend = "reserve hugepages, or have an IOMMU and vfio-pci"
            raise HostError("devices that use physical addresses need hugepages: other pages move", mend=mend)
        if mode != self.iova_mode:
            self.iova_mode = mode
            log.notice(f"memory: IOVA as {mode.upper()} from now on")

    def watch(self, watcher: MemoryWatcher) -> None:
        """Tell `watcher` of every zone that is reserved, those that are there first, and freed.

        From now on the pages of a freed zone stay: a device may have them.
        """
        with self._lock:
            self._pinned = True
            for zone in self._zones.values():
                watcher.reserved(zone.address, zone.size)
            self._watchers.append(watcher)

    def unwatch(self, watcher: MemoryWatcher) -> None:
        """Tell `watcher` nothing more."""
        with self._lock:
            self._watchers.remove(watcher)

    def close(self) -> None:
        """Unmap everything; every zone and every view of one is gone. Closing twice is no error."""
        if self._closed:
            return
        self._closed = True
        self._zones.clear()
        libc.unmap(self._address, self._backing.size)
        self._backing.remove()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _show(self, zone: Memzone) -> None:
        """Tell those who watch of a new zone; all of them or none."""
        for number, watcher in enumerate(self._watchers):
            try:
                watcher.reserved(zone.address, zone.size)
            except BaseException:
                for told in self._watchers[:number]:
                    told.freed(zone.address, zone.size)
                raise

    def _check_request(self, name: str, size: int, align: int) -> None:
        if self._closed:
            raise ConfigError(f"cannot reserve {name!r}: the memory is closed")
        if not name or size <= 0:
            raise ConfigError(f"cannot reserve {size} bytes as {name!r}: a zone has a name and at least one byte")
        if align <= 0 or align & (align - 1):
            raise ConfigError(f"cannot reserve {name!r}: its alignment {align} is no power of two")

    def _region_is_full(self, name: str, size: int) -> HostError:
        whole, needed, largest = map(format_size, (self._backing.size, size, self._extents.largest))
        told = f"the memory of {whole} is used up: {name!r} needs {needed}, the largest free piece is {largest}"
        need = -(-(self._backing.size + size) // (1 << 20))  # enough, however the free pieces lie
        return HostError(told, mend=f"start with -m {need} or more", errno=errno.ENOMEM)

    def _allocate(self, name: str, offset: int, size: int) -> None:
        """Have the kernel allocate the pages of a zone now, so that touching them can't fail."""
        page = self._backing.page_size
        first, end = offset // page * page, -(-(offset + size) // page) * page
        huge = self._backing.huge
        if not huge and size >= _WORTH_A_LOOK and size > (there := available_memory()):
            told = f"not enough memory for {name!r}: it needs {format_size(size)}, {format_size(there)} are available"
            mend = "end programs that hold memory, or raise the limit of the cgroup"
            raise HostError(told, mend=mend, errno=errno.ENOMEM)
        try:
            os.posix_fallocate(self._backing.fd, first, end - first)
        except OSError as error:
            what = f"{format_size(page)} hugepages" if huge else "memory"
            told = f"not enough {what} for {name!r}, which needs {format_size(size)}: {error.strerror}"
            mend = "reserve more of them, or start with --no-huge" if huge else "end programs that hold memory"
            raise HostError(told, mend=mend, errno=errno.ENOMEM) from error

    def _clear(self, address: int, size: int) -> None:
        """Zero a zone: free memory is always zero. Ordinary pages go back to the kernel, hugepages stay ours."""
        page = self._backing.page_size
        first, end = -(-address // page) * page, (address + size) // page * page
        if self._backing.huge or self._pinned or first >= end or not libc.advise(first, end - first, libc.REMOVE):
            ctypes.memset(address, 0, size)
            return
        ctypes.memset(address, 0, first - address)
        ctypes.memset(end, 0, address + size - end)


def private(size: int = 64 << 20) -> Memory:
    """Return memory of its own, `size` bytes of an ordinary memfd anywhere: for tests and small programs."""
    backing = ordinary(size, "pollmode-private")
    try:
        return Memory(backing, map_anywhere(backing))
    except BaseException:
        backing.remove()
        raise
