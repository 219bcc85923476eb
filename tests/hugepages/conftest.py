# SPDX-License-Identifier: BSD-3-Clause
"""A machine made of files with two NUMA nodes and two sizes of hugepages, and the command on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pollmode.host_report.testing_kernel import FakeKernel
from pollmode.hugepages import cli

Ran = tuple[int, list[str], list[str]]
Run = Callable[..., Ran]
NODES = "/sys/devices/system/node"
WHOLE = "/sys/kernel/mm/hugepages"


@pytest.fixture
def host(tmp_path: Path) -> FakeKernel:
    made = FakeKernel(tmp_path / "machine")
    made.write("/proc/self/status", "Uid:\t0\t0\t0\t0")
    made.write("/proc/self/mounts", "sys /sys sysfs rw 0 0")
    made.write("/proc/meminfo", "MemTotal: 16384000 kB\nHugepagesize:       2048 kB")
    made.folder("/dev/hugepages")
    made.write(f"{NODES}/online", "0-1")
    for node in (0, 1):
        for size in (2048, 1048576):
            made.write(f"{NODES}/node{node}/hugepages/hugepages-{size}kB/nr_hugepages", 0)
    return made


@pytest.fixture
def without_nodes(host: FakeKernel) -> FakeKernel:
    host.remove(NODES)
    for size in (2048, 1048576):
        host.write(f"{WHOLE}/hugepages-{size}kB/nr_hugepages", 0)
    return host


@pytest.fixture
def run(host: FakeKernel, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the machine; return its exit code and the lines on standard output and standard error."""

    def run(*words: str) -> Ran:
        code = cli.main(words, host)
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err.splitlines()

    return run


@pytest.fixture
def pages(host: FakeKernel) -> Callable[[], list[int | None]]:
    """Return the pages of 2 MiB on node 0 and 1, then those of 1 GiB."""

    def read() -> list[int | None]:
        return [
            host.number(f"{NODES}/node{node}/hugepages/hugepages-{size}kB/nr_hugepages")
            for size in (2048, 1048576)
            for node in (0, 1)
        ]

    return read
