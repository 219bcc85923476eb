# SPDX-License-Identifier: BSD-3-Clause
"""Which file the EAL's memory is: hugepages of a memfd, a file in a hugetlbfs, or an ordinary memfd.

Every kind is one file of known length, so a vhost peer gets one descriptor, as if --single-file-segments were always
given. Hugepages are taken when there are enough; no machine needs to be set up for us. Refused: anonymous memory (no
peer can map it) and one file a hugepage (more descriptors than a vhost-user message carries).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.hugepages import (
    HugepagePool,
    available_memory,
    format_size,
    hugepage_pools,
    hugetlbfs_mounts,
)
from pollmode.eal.options import EalOptions

__all__ = ["Backing", "choose", "ordinary"]

DEFAULT_SIZE = 2 << 30
"""Bytes of ordinary memory without -m. A page is allocated when it is handed out: what is not used costs nothing."""
DEFAULT_HUGE = 1 << 30
"""Most bytes of hugepages without -m, and never more than half of the free ones: the peer beside us needs some. All are
promised to us at the start, so that neither we nor a peer that maps them can find them gone."""
LEAST_HUGE = 512 << 20
"""Without -m hugepages are left alone when half of the free ones is less: a pool of testpmd's default size needs it."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEMFD_NAME = 249  # bytes of a name, memfd_create(2)
_MIB = 1 << 20
_MOUNT = "run: sudo mkdir -p /dev/hugepages && sudo mount -t hugetlbfs none /dev/hugepages"


@dataclass(frozen=True)
class Backing:
    """An open file of `size` bytes in pages of `page_size`; `kind` says to people what it is.

    `path` is the file's name when it has one that stays until `remove`.
    """

    fd: int
    size: int
    page_size: int
    kind: str
    path: str | None = None

    @property
    def huge(self) -> bool:
        """Whether the pages are hugepages: all of them are promised to us when the file is mapped."""
        return self.page_size != _PAGE

    def remove(self) -> None:
        """Close the file and remove its name."""
        if self.path is not None:
            Path(self.path).unlink(missing_ok=True)
        os.close(self.fd)


def ordinary(size: int, name: str, kind: str = "ordinary memory") -> Backing:
    """Return a sparse memfd of at least `size` bytes. Raises HostError."""
    return _memfd(name, size, _PAGE, kind)


def choose(options: EalOptions) -> Backing:
    """Return the memory that the options ask for. Raises HostError when the machine has too little of it."""
    name = f"pollmode-{options.file_prefix}"
    wanted = None if options.memory_mb is None else options.memory_mb * _MIB
    if options.no_huge:
        return _ordinary(wanted, name, "ordinary memory (--no-huge)")
    if options.huge_dir is not None or options.huge_unlink != "existing":
        return _in_hugetlbfs(options, wanted)
    pools = hugepage_pools()
    pool, why_not = _pick(pools, wanted)
    if pool is not None:
        return _memfd(name, _huge_size(pool, wanted), pool.page_size, _huge_kind(pool, "memfd"))
    if wanted is not None and any(pool.total for pool in pools):
        raise _too_few(pools, wanted)
    return _ordinary(wanted, name, f"ordinary memory ({why_not})")


def _pick(pools: list[HugepagePool], wanted: int | None) -> tuple[HugepagePool | None, str]:
    """Return the pool to take from, of the largest pages that hold what is wanted, or None and the reason."""
    for pool in pools:
        if _huge_size(pool, wanted) <= pool.free_bytes and _huge_size(pool, wanted) >= (wanted or LEAST_HUGE):
            return pool, ""
    if not any(pool.free for pool in pools):
        return None, "no hugepages are free"
    return None, f"{_count(max(pools, key=lambda pool: pool.free_bytes))} are too few without -m"


def _huge_size(pool: HugepagePool, wanted: int | None) -> int:
    if wanted is not None:
        return _round_up(wanted, pool.page_size)
    return min(pool.free_bytes // 2, DEFAULT_HUGE) // pool.page_size * pool.page_size


def _huge_kind(pool: HugepagePool, where: str) -> str:
    return f"{format_size(pool.page_size)} hugepages ({where})"


def _count(pool: HugepagePool) -> str:
    return f"{pool.free} hugepages of {format_size(pool.page_size)}"


def _too_few(pools: list[HugepagePool], wanted: int | None) -> HostError:
    size = wanted or 2 * LEAST_HUGE
    if not pools:
        return HostError("this kernel has no hugepages", mend="start with --no-huge")
    pool = max(pools, key=lambda pool: (pool.free_bytes, -pool.page_size))
    told = f"not enough hugepages: {format_size(size)} are needed and {_count(pool)} are free"
    return HostError(told, mend=f"{pool.mend(size)}, ask for less with -m, or start with --no-huge")


def _ordinary(wanted: int | None, name: str, kind: str) -> Backing:
    there = available_memory()
    if wanted is not None and wanted > there:
        free = format_size(there // _MIB * _MIB)
        told = f"not enough memory: -m asks for {format_size(wanted)} and {free} are available"
        raise HostError(told, mend="ask for less with -m, or end programs that hold memory")
    return ordinary(wanted if wanted is not None else DEFAULT_SIZE, name, kind)


def _memfd(name: str, size: int, page_size: int, kind: str) -> Backing:
    flags = os.MFD_CLOEXEC
    if page_size != _PAGE:
        flags |= os.MFD_HUGETLB | (page_size.bit_length() - 1) << os.MFD_HUGE_SHIFT
    try:
        fd = os.memfd_create(os.fsdecode(os.fsencode(name)[:_MEMFD_NAME]), flags)
    except OSError as error:
        mend = "start with --no-huge" if page_size != _PAGE else None
        raise HostError(f"cannot make {kind}: {error.strerror}", mend=mend) from error
    return _sized(Backing(fd, _round_up(size, page_size), page_size, kind))


def _in_hugetlbfs(options: EalOptions, wanted: int | None) -> Backing:
    """Return a file in a hugetlbfs: the one of --huge-dir, else the first that is mounted."""
    mounts = {mount.path: mount for mount in hugetlbfs_mounts()}
    folder = os.path.realpath(options.huge_dir) if options.huge_dir is not None else next(iter(mounts), None)
    if folder is None:
        raise HostError(f"--huge-unlink={options.huge_unlink} needs a hugetlbfs and none is mounted", mend=_MOUNT)
    if folder not in mounts:
        if not os.path.isdir(folder):
            raise ConfigError(f"--huge-dir {options.huge_dir}: no such directory{_others(mounts)}")
        mend = None if mounts else f"{_MOUNT}, then start with --huge-dir /dev/hugepages"
        raise HostError(f"--huge-dir {options.huge_dir} is no mounted hugetlbfs{_others(mounts)}", mend=mend)
    mount = mounts[folder]
    pools = [pool for pool in hugepage_pools() if pool.page_size == mount.page_size]
    if mount.free is not None:
        pools = [replace(pool, free=min(pool.free, mount.free)) for pool in pools]
    pool, _ = _pick(pools, wanted)
    if pool is None:
        raise _too_few(pools, wanted)
    size = _huge_size(pool, wanted)
    if options.in_memory:
        return _memfd(f"pollmode-{options.file_prefix}", size, pool.page_size, _huge_kind(pool, "memfd"))
    return _huge_file(Path(folder) / f"{options.file_prefix}map_0", size, pool, options.huge_unlink)


def _others(mounts: Collection[str]) -> str:
    return f", there is {', '.join(mounts)}" if mounts else ""


def _huge_file(path: Path, size: int, pool: HugepagePool, unlink: str) -> Backing:
    """Return the file that holds hugepages; `unlink` is --huge-unlink.

    existing: what an earlier run left is removed first, and our file when we end. always: the name is gone at once.
    never: an existing file is used again, emptied, and stays.
    """
    try:
        if path.exists():
            _refuse_if_used(path)
            if unlink != "never":
                path.unlink()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        mend = f"run: sudo chown {os.getuid()} {path.parent}" if isinstance(error, PermissionError) else None
        raise HostError(f"cannot make the hugepage file {path}: {error.strerror}", mend=mend) from error
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever cleans up after a dead process sees that we live
    os.ftruncate(fd, 0)
    if unlink == "always":
        path.unlink()
    kept = str(path) if unlink == "existing" else None
    return _sized(Backing(fd, size, pool.page_size, _huge_kind(pool, f"file in {path.parent}"), kept))


def _refuse_if_used(path: Path) -> None:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(f"the hugepage file {path} is in use", mend="choose another --file-prefix") from None


def _sized(backing: Backing) -> Backing:
    try:
        os.ftruncate(backing.fd, backing.size)
    except OSError as error:
        backing.remove()
        raise HostError(f"cannot make {format_size(backing.size)} of {backing.kind}: {error.strerror}") from error
    return backing


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
