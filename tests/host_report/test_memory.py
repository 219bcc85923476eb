# SPDX-License-Identifier: BSD-3-Clause
"""Memory, limits and hugepages: each verdict on a machine made of files."""

from __future__ import annotations

import pytest

from pollmode.eal.hugepages import Mount
from pollmode.host_report import Verdict
from pollmode.host_report.testing import FakeHost

PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB"
NODES = "/sys/devices/system/node"


def test_too_little_memory_stops_a_run(host: FakeHost, only) -> None:
    host.replace("/proc/meminfo", "12582912", "204800")
    assert only("memory").verdict is Verdict.RED
    assert only("memory").text == "200 MiB available, a first run takes 384 MiB"


def test_a_cgroup_that_leaves_too_little_memory(host: FakeHost, only) -> None:
    host.write("/sys/fs/cgroup/memory.max", 300 << 20)
    host.write("/sys/fs/cgroup/memory.current", 200 << 20)
    assert only("memory").text == "100 MiB available, a first run takes 384 MiB"


def test_memory_that_cannot_be_read(host: FakeHost, only) -> None:
    host.remove("/proc/meminfo")
    assert only("memory").verdict is Verdict.YELLOW


@pytest.mark.parametrize(
    ("name", "limit", "mend"),
    [
        ("Max address space", 4 << 30, "ulimit -v unlimited"),
        ("Max file size    ", 1 << 30, "ulimit -f unlimited"),
        ("Max open files   ", 20, "ulimit -n 1024"),
    ],
)
def test_a_limit_that_stops_a_run(name: str, limit: int, mend: str, host: FakeHost, only) -> None:
    before = "1024 " if "open" in name else "unlimited"
    host.replace("/proc/self/limits", f"{name}         {before}", f"{name}         {limit:<9}")
    assert only("limits").verdict is Verdict.RED
    assert only("limits").mend == mend


def test_none_reserved(host: FakeHost, only) -> None:
    for name in ("nr", "free"):
        host.write(f"{PAGES}/{name}_hugepages", 0)
    assert only("hugepages").verdict is Verdict.YELLOW
    assert only("hugepages").text == "none reserved (2 MiB): Pollmode takes ordinary memory"
    assert only("hugepages").mend == f"echo 512 | sudo tee {PAGES}/nr_hugepages"


def test_a_kernel_without_hugepages(host: FakeHost, only) -> None:
    host.remove("/sys/kernel/mm")
    assert only("hugepages").mend == "testpmd --no-huge ..."


def test_too_few_are_free(host: FakeHost, only) -> None:
    host.write(f"{PAGES}/free_hugepages", 100)
    assert only("hugepages").text == "2 MiB: 100 of 1024 free: a start without -m takes ordinary memory"
    assert only("hugepages").mend == f"echo {1024 - 100 + 512} | sudo tee {PAGES}/nr_hugepages"


def test_pages_that_a_cgroup_keeps_are_not_free(host: FakeHost, only) -> None:
    host.write("/sys/fs/cgroup/hugetlb.2MB.max", 64 << 20)
    host.write("/sys/fs/cgroup/hugetlb.2MB.current", 0)
    assert only("hugepages").text.startswith("2 MiB: 32 of 1024 free for this process, 1024 unused")


def test_a_numa_node_without_pages(host: FakeHost, only, look) -> None:
    host.write(f"{NODES}/node1/hugepages/hugepages-2048kB/nr_hugepages", 0)
    assert only("hugepages").text == "2 MiB by NUMA node: node0 1024, node1 0"
    assert only("hugepages").mend == f"echo 512 | sudo tee {NODES}/node1/hugepages/hugepages-2048kB/nr_hugepages"
    host.write(f"{NODES}/node1/hugepages/hugepages-2048kB/nr_hugepages", 1024)
    assert look("hugepages")[1].text == "2 MiB by NUMA node: node0 1024, node1 1024"
    assert look("hugepages")[1].verdict is Verdict.GREEN


def test_no_mount(host: FakeHost, only, look) -> None:
    host.mounts = []
    assert only("hugetlbfs").mend.endswith("sudo mount -t hugetlbfs none /dev/hugepages")
    host.remove(PAGES)
    assert [finding.verdict for finding in look("hugetlbfs")] == [Verdict.GREEN]


def test_a_mount_of_someone_else(host: FakeHost, only, look) -> None:
    host.mounts.append(Mount("/mnt/huge", 1 << 30))
    host.folder("/mnt/huge")
    assert [finding.text for finding in look("hugetlbfs")] == ["/dev/hugepages (2 MiB)", "/mnt/huge (1 GiB)"]
    host.denied.add("/mnt/huge")
    assert only("hugetlbfs").mend == "sudo chown $(id -u) /mnt/huge"
