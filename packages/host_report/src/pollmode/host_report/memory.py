# SPDX-License-Identifier: BSD-3-Clause
"""Memory: ordinary, hugepages and where they are mounted, and the limits of this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from pollmode.eal.hugepages import HugepagePool, format_size
from pollmode.host_report.finding import Finding, green, red, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.hugepage_counts import hugepage_counts

__all__ = ["NEEDED", "hugepages", "hugetlbfs", "limits", "memory"]

NEEDED = 384 << 20
"""Bytes that testpmd's demonstration holds, compiler included, with some to spare."""
REGION = 2 << 30
"""Bytes of eal.backing.DEFAULT_SIZE: the sparse file that memory is taken from without -m."""
ADDRESSES = 5 << 30
"""Bytes of addresses that the demonstration takes: the region once for each side, libraries, stacks of threads."""
HUGE = 1 << 30
"""Bytes of free hugepages at which a start without -m takes some: twice eal.backing.LEAST_HUGE."""


def memory(host: Host) -> Iterator[Finding]:
    """Say how much ordinary memory is left."""
    there = host.available_memory()
    if there is None:
        yield yellow("the available memory cannot be read", "mount -t proc proc /proc")
    elif there < NEEDED:
        text = f"{format_size(there)} available, a first run takes {format_size(NEEDED)}"
        yield red(text, "ps aux --sort=-rss | head, then end a program that holds much")
    else:
        yield green(f"{there / (1 << 30):.1f} GiB available")


def limits(host: Host) -> Iterator[Finding]:
    """Say which limits of this process are too low (getrlimit(2), /proc/self/limits)."""
    told = False
    for name, least, letter, unit in (
        ("Max address space", ADDRESSES, "v", "bytes"),
        ("Max file size", REGION, "f", "bytes"),
        ("Max open files", 64, "n", "files"),
    ):
        limit = soft_limit(host, name)
        if limit is not None and limit < least:
            told = True
            shown = format_size(limit) if unit == "bytes" else limit
            wanted = format_size(least) if unit == "bytes" else least
            raised = "unlimited" if unit == "bytes" else 1024
            yield red(f"{name[4:]}: {shown}, a first run takes {wanted}", f"ulimit -{letter} {raised}")
    if not told:
        yield green("address space, file size and open files suffice")


def soft_limit(host: Host, name: str) -> int | None:
    """Return a soft limit of this process, None when there is none or it is unknown."""
    found = re.search(rf"^{name} +(\d+)", host.text("/proc/self/limits"), re.MULTILINE)
    return int(found[1]) if found else None


def hugepages(host: Host) -> Iterator[Finding]:
    """Say which hugepages a start can take, of each size and on each NUMA node."""
    pools = host.hugepage_pools()
    reserved = [pool for pool in pools if pool.total]
    if not pools:
        yield yellow("this kernel shows none: Pollmode takes ordinary memory", "testpmd --no-huge ...")
    elif not reserved:
        sizes = ", ".join(format_size(pool.page_size) for pool in pools)
        yield yellow(f"none reserved ({sizes}): Pollmode takes ordinary memory", _reserve(pools[-1]))
    elif max(pool.free_bytes for pool in reserved) >= HUGE:
        yield green("; ".join(_told(host, pool) for pool in reserved))
    else:
        told = "; ".join(_told(host, pool) for pool in reserved)
        yield yellow(f"{told}: a start without -m takes ordinary memory", _reserve(reserved[-1]))
    for pool in reserved:
        yield from _nodes(host, pool)


def _reserve(pool: HugepagePool) -> str:
    return pool.mend(HUGE).removeprefix("run: ")


def _folder(pool: HugepagePool) -> str:
    return f"hugepages-{pool.page_size // 1024}kB"


def _told(host: Host, pool: HugepagePool) -> str:
    text = f"{format_size(pool.page_size)}: {pool.free} of {pool.total} free"
    unused = host.number(f"/sys/kernel/mm/hugepages/{_folder(pool)}/free_hugepages") or 0
    return f"{text} for this process, {unused} unused" if unused > pool.free else text


def _nodes(host: Host, pool: HugepagePool) -> Iterator[Finding]:
    """A node without hugepages of its own reaches for those of another, across the sockets."""
    there = [count for count in hugepage_counts(host) if count.node is not None and count.size * 1024 == pool.page_size]
    if len(there) < 2:
        return
    by_node = ", ".join(f"node{count.node} {count.pages}" for count in there)
    text = f"{format_size(pool.page_size)} by NUMA node: {by_node}"
    empty = [count for count in there if not count.pages]
    if empty:
        share = max(count.pages for count in there) // 2
        yield yellow(text, f"echo {share} | sudo tee {empty[0].path}")
    else:
        yield green(text)


def hugetlbfs(host: Host) -> Iterator[Finding]:
    """Say whether hugepages can be files. Pollmode needs that for --huge-dir alone, else it takes a memfd."""
    mounts = host.hugetlbfs_mounts()
    if not mounts and not any(pool.total for pool in host.hugepage_pools()):
        yield green("none mounted, and there are no hugepages to mount")
    elif not mounts:
        mend = "sudo mkdir -p /dev/hugepages && sudo mount -t hugetlbfs none /dev/hugepages"
        yield yellow("none mounted: --huge-dir and DPDK's programs need one", mend)
    for mount in mounts:
        text = f"{mount.path} ({format_size(mount.page_size)})"
        if host.may(mount.path, os.W_OK | os.X_OK):
            yield green(text)
        else:
            yield yellow(f"{text} is not yours to write: --huge-dir needs that", f"sudo chown $(id -u) {mount.path}")
