# SPDX-License-Identifier: BSD-3-Clause
"""What is shown, what does not parse, and how it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pollmode.host_report.testing_kernel import FakeKernel
from pollmode.hugepages import cli


def test_nothing_is_reserved(run) -> None:
    assert run("-s") == (0, ["No huge pages reserved", "", "No huge page filesystems mounted"], [])


def test_the_table_and_the_mounts(host: FakeKernel, run) -> None:
    run("-r", "256M")
    run("-r", "3G", "-p", "1G", "-n", "1")
    host.folder("/mnt/b")
    for path in ("/dev/hugepages", "/mnt/b"):
        run("-m", "-d", path)
    assert run("--show")[1] == [
        "Node  Pages  Size  Total  ",
        "0       128   2Mb  256Mb  ",
        "1         3   1Gb    3Gb  ",
        "1       128   2Mb  256Mb  ",
        "",
        "Huge page filesystems mounted at: /dev/hugepages /mnt/b",
    ]
    assert len(run("-s", "-n", "0")[1]) == 4


def test_a_change_and_its_result_in_one_command(run) -> None:
    assert run("--setup", "4M", "-n", "1", "-s")[1] == [
        "Node  Pages  Size  Total  ",
        "1         2   2Mb    4Mb  ",
        "",
        "Huge page filesystems mounted at: /dev/hugepages",
    ]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "Error: no action specified; give --show"),
        (("-p", "2M"), 2, "Error: no action specified; give --show"),
        (("-n", "one", "-s"), 2, "Error: Invalid value for '-n' / '--node': "),
        (("-r",), 2, "Error: Option '-r' requires an argument"),
        (("-r", "3M"), 1, "Error: Huge reservation 3Mb is not a multiple of page size 2Mb; 4Mb is"),
        (("-r", "2T"), 1, "Error: 2T is not a valid size; write a number with K, M or G behind it"),
        (("-r", "-2M"), 1, "Error: -2M is not a valid size"),
        (("-r", "512"), 1, "Error: 512 are bytes, less than any page; write 512M or 512G"),
        (("-r", "4M", "--setup", "2M"), 1, "Error: --setup 2M reserves by itself; leave --reserve 4M out"),
        (("-m", "-d", ""), 1, "Error: --directory names no directory; /dev/hugepages is usual"),
        (("-m", "-U", "1,gid=0"), 1, "Error: --user 1,gid=0: give one name or number; `id` tells a user's"),
        (("-r", "2M", "-p", "4K"), 1, "Error: Invalid page size 4. Valid sizes: 2Mb, 1Gb"),
        (("-m", "-p", "0"), 1, "Error: Invalid page size 0. Valid sizes: 2Mb, 1Gb"),
        (("-s", "-n", "7"), 1, "Error: --node 7: this machine has nodes 0, 1"),
        (("--setup", "2M", "-d", "/mnt/none"), 1, "Error: /mnt/none is no directory to mount at; sudo mkdir -p /mnt/n"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(host: FakeKernel, run, words, code: int, text: str) -> None:
    ended, lines, errors = run(*words)
    assert (ended, lines, len(errors)) == (code, [], 1), errors
    assert errors[0].startswith(text)
    assert (host.written, host.commands_run) == ([], [])


def test_a_kernel_without_a_default_size_is_told_one(host: FakeKernel, run, pages) -> None:
    host.write("/proc/meminfo", "MemTotal: 16384000 kB")
    told = "Error: '\"Hugepagesize\" not found in /proc/meminfo'; say the size: --pagesize 2M"
    assert run("-r", "4M") == (1, [], [told])
    assert run("-r", "4M", "-p", "2M") == (0, [], [])
    assert pages()[:2] == [2, 2]


def test_a_kernel_without_hugepages(host: FakeKernel, run) -> None:
    host.remove("/sys")
    assert run("-s")[:2] == (0, ["No huge pages reserved", "", "No huge page filesystems mounted"])
    assert "Valid sizes: none, this kernel has no hugepages" in run("-r", "2M")[2][0]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pollmode-hugepages ")


def test_this_machine_can_be_shown_without_the_compiler() -> None:
    code = (
        "import sys; from pollmode.hugepages import cli; code = cli.main(sys.argv[1:])\n"
        "print('heavy:', sorted({'numba', 'numpy', 'structlog'} & set(sys.modules)), code)"
    )
    for words in (["--help"], ["-s"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
        assert done.stdout.endswith("heavy: [] 0\n"), done
