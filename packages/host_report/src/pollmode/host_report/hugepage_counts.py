# SPDX-License-Identifier: BSD-3-Clause
"""Reserved hugepages by NUMA node and size, and the files of the kernel that change their number."""

from __future__ import annotations

from dataclasses import dataclass

from pollmode.host_report.host import Host

__all__ = ["NODES", "HugepageCount", "hugepage_counts"]

NODES = "/sys/devices/system/node"
WHOLE = "/sys/kernel/mm/hugepages"


@dataclass(frozen=True)
class HugepageCount:
    """Pages of a size (in KiB) that are reserved on a node; `node` is None where the kernel knows no nodes.

    `path` is the file that holds the number.
    """

    node: int | None
    size: int
    pages: int
    path: str


def hugepage_counts(host: Host) -> list[HugepageCount]:
    """Return the counts of each node and size, nodes in order, larger pages first; those of 0 pages too."""
    if not host.exists(NODES):
        return _in_folder(host, None, WHOLE)
    numbers = [name.removeprefix("node") for name in host.names(NODES)]
    nodes = sorted(int(number) for number in numbers if number.isdecimal())
    return [count for node in nodes for count in _in_folder(host, node, f"{NODES}/node{node}/hugepages")]


def _in_folder(host: Host, node: int | None, folder: str) -> list[HugepageCount]:
    sizes = [name.removeprefix("hugepages-").removesuffix("kB") for name in host.names(folder)]
    paths = {int(size): f"{folder}/hugepages-{size}kB/nr_hugepages" for size in sizes if size.isdecimal()}
    return [HugepageCount(node, size, host.number(paths[size]) or 0, paths[size]) for size in sorted(paths)[::-1]]
