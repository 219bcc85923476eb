# SPDX-License-Identifier: BSD-3-Clause
"""What the machine offers: hugepages by size, mounts of hugetlbfs, ordinary memory within the cgroup's limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "HugepagePool",
    "Mount",
    "available_memory",
    "cgroup_folders",
    "format_size",
    "hugepage_pools",
    "hugetlbfs_mounts",
]

_ROOT = Path("/")
_POOLS = Path("/sys/kernel/mm/hugepages")
_MOUNTS = Path("/proc/self/mounts")
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class HugepagePool:
    """The machine's hugepages of one size: bytes a page, pages in all, and pages nobody has or was promised."""

    page_size: int
    total: int
    free: int

    @property
    def free_bytes(self) -> int:
        """Bytes that can still be taken."""
        return self.free * self.page_size

    def mend(self, size: int) -> str:
        """Return the command that makes room for `size` more bytes."""
        pages = self.total - self.free + -(-size // self.page_size)
        where = _POOLS / f"hugepages-{self.page_size // 1024}kB" / "nr_hugepages"
        return f"run: echo {pages} | sudo tee {where}"


@dataclass(frozen=True)
class Mount:
    """A mounted hugetlbfs: where, the size of its pages in bytes, and pages it may still give (None: no limit)."""

    path: str
    page_size: int
    free: int | None = None


def hugepage_pools(root: Path = _ROOT) -> list[HugepagePool]:
    """Return the pools of hugepages, largest pages first; `root` is the folder that holds /proc and /sys.

    Pages that are promised to others, or that a cgroup keeps from this process, are not free.
    """
    pools = []
    there = _below(root, _POOLS)
    for folder in there.glob("hugepages-*kB") if there.is_dir() else ():
        page_size = int(folder.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        total, free, promised = (_number(folder / n) for n in ("nr_hugepages", "free_hugepages", "resv_hugepages"))
        least = min(max(free - promised, 0), _hugetlb_limit(page_size, root) // page_size)
        pools.append(HugepagePool(page_size, total, least))
    return sorted(pools, key=lambda pool: -pool.page_size)


def hugetlbfs_mounts() -> list[Mount]:
    """Return the mounts of hugetlbfs, in the order they were mounted."""
    mounts = []
    for path in (path for path, kind, _ in _mounts(_ROOT) if kind == "hugetlbfs"):
        there = os.statvfs(path)
        mounts.append(Mount(path, there.f_bsize, there.f_bavail if there.f_blocks else None))
    return mounts


def available_memory(root: Path = _ROOT) -> int:
    """Return how many bytes of ordinary memory can be taken: the machine's, or less where a cgroup says so.

    `root` is the folder that holds /proc and /sys.
    """
    lines = _below(root, _MEMINFO).read_text().splitlines()
    least = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    for folder in cgroup_folders("memory", root):
        for limit, usage, cache in (
            ("memory.max", "memory.current", "inactive_file"),  # cgroup v2
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # cgroup v1
        ):
            room = _room(folder, limit, usage)
            least = least if room is None else min(least, room + _statistic(folder / "memory.stat", cache))
    return max(least, 0)


def _hugetlb_limit(page_size: int, root: Path) -> int:
    """Return how many bytes of hugepages of a size the cgroups leave to this process."""
    unit = format_size(page_size).replace("i", "").replace(" ", "")  # "2MB": Linux mem_fmt of hugetlb_cgroup.c
    least = sys.maxsize
    for folder in cgroup_folders("hugetlb", root):
        for limit, usage in (
            (f"hugetlb.{unit}.max", f"hugetlb.{unit}.current"),  # cgroup v2
            (f"hugetlb.{unit}.rsvd.max", f"hugetlb.{unit}.rsvd.current"),
            (f"hugetlb.{unit}.limit_in_bytes", f"hugetlb.{unit}.usage_in_bytes"),  # cgroup v1
        ):
            room = _room(folder, limit, usage)
            least = least if room is None else min(least, room)
    return max(least, 0)


def format_size(size: int) -> str:
    """Return a size for people, in the largest unit that leaves it exact or in MiB: "2 MiB", "1 GiB", "300 B"."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << shift) == 0 and (shift > 10 or size < 1 << 20):
            return f"{size >> shift} {unit}"
    return f"{size} B" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"


def _mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    for line in _below(root, _MOUNTS).read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        yield path.encode().decode("unicode_escape"), kind, options


def cgroup_folders(controller: str, root: Path = _ROOT) -> Iterator[Path]:
    """Yield the folders of this process's cgroup for a controller and of those above it, as far as they are visible."""
    paths = {}
    own_groups = _below(root, _CGROUPS)
    for line in own_groups.read_text().splitlines() if own_groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    own = next((path for names, path in paths.items() if controller in names.split(",")), None)
    for mounted, kind, options in _mounts(root):
        inner = paths.get("") if kind == "cgroup2" else own if controller in options.split(",") else None
        if kind not in ("cgroup", "cgroup2") or inner is None:
            continue
        top = _below(root, Path(mounted))
        folder = top / inner.lstrip("/")
        yield from (level for level in (folder, *folder.parents) if level.is_relative_to(top))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _room(folder: Path, limit: str, usage: str) -> int | None:
    """Return what a cgroup's limit leaves, None where there is none."""
    top = _number(folder / limit, none=-1)
    return None if top < 0 else top - _number(folder / usage)


def _number(path: Path, none: int = 0) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return none


def _statistic(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(value) for name, _, value in (line.partition(" ") for line in lines) if name == key), 0)
