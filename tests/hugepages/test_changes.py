# SPDX-License-Identifier: BSD-3-Clause
"""Reserving, clearing and mounting: in order, on which nodes, and back when a step fails."""

from __future__ import annotations

import errno
import os
import signal
import threading

import pytest

from pollmode.host_report.testing_kernel import FakeKernel

NODES = "/sys/devices/system/node"
SMALL = "hugepages/hugepages-2048kB/nr_hugepages"
BIG = "hugepages/hugepages-1048576kB/nr_hugepages"


def mounted(host: FakeKernel) -> list[str]:
    return [line for line in host.text("/proc/self/mounts").splitlines() if " hugetlbfs " in line]


def test_a_size_is_reserved_on_each_node(run, pages) -> None:
    assert run("-r", "8M") == (0, [], [])
    assert pages() == [4, 4, 0, 0]
    assert run("--reserve", "2Gb", "--pagesize", "1G", "--node", "1") == (0, [], [])
    assert pages() == [4, 4, 0, 2]
    assert run("-r", "0", "-n", "0") == (0, [], [])
    assert pages() == [0, 4, 0, 2]


def test_a_machine_without_nodes(without_nodes: FakeKernel, run) -> None:
    assert run("-r", "8M", "-s")[1] == [
        "Pages  Size  Total  ",
        "4       2Mb    8Mb  ",
        "",
        "No huge page filesystems mounted",
    ]
    told = "Error: NUMA node requested but not supported; leave --node out"
    assert run("-r", "2M", "-n", "0") == (1, [], [told])


def test_clear_takes_all_sizes_of_the_nodes_that_are_meant(run, pages) -> None:
    run("-r", "8M")
    run("-r", "1G", "-p", "1G")
    assert pages() == [4, 4, 1, 1]
    assert run("-c", "-n", "0") == (0, [], [])
    assert pages() == [0, 4, 0, 1]
    assert run("--clear") == (0, [], [])
    assert pages() == [0, 0, 0, 0]


def test_pages_in_use_stay_and_are_told(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-r", "8M", "-n", "1")
    real = host.put
    monkeypatch.setattr(host, "put", lambda path, text: real(path, "3" if "node1" in path and "2048" in path else text))
    hint = "Hint: 3 pages of size 2Mb of node 1 are in use: they go when their programs end"
    assert run("-c") == (0, [], [hint])


def test_setup_clears_unmounts_reserves_and_mounts(host: FakeKernel, run, pages) -> None:
    run("-r", "2M")
    run("-m")
    assert run("-p", "1G", "--setup", "2G", "-U", "7", "-G", "users") == (0, [], [])
    assert pages() == [0, 0, 2, 2]
    assert host.commands_run == [
        ["mount", "-t", "hugetlbfs", "-o", "pagesize=2097152", "nodev", "/dev/hugepages"],
        ["umount", "/dev/hugepages"],
        ["mount", "-t", "hugetlbfs", "-o", "pagesize=1073741824,uid=7,gid=users", "nodev", "/dev/hugepages"],
    ]
    assert len(mounted(host)) == 1


def test_a_directory_is_the_same_however_it_is_written(host: FakeKernel, run) -> None:
    assert run("-m", "-d", "/dev/hugepages/")[0] == run("-m", "-d", "/dev/../dev/hugepages")[0] == 0
    assert len(mounted(host)) == 1
    assert run("-u", "-d", "/dev/hugepages//")[0] == 0
    assert mounted(host) == []


def test_a_mount_that_is_there_stays_and_another_page_size_is_told(host: FakeKernel, run) -> None:
    host.folder("/mnt/huge pages")
    assert run("-m", "-d", "/mnt/huge pages") == (0, [], [])
    host.replace("/proc/self/mounts", "huge pages", r"huge\040pages")  # as the kernel writes it
    assert run("-m", "-d", "/mnt/huge pages") == (0, [], [])
    code, lines, errors = run("-m", "-p", "1G", "-d", "/mnt/huge pages")
    assert (code, lines, len(errors)) == (0, [], 1)
    assert errors[0].startswith("Hint: /mnt/huge pages stays mounted with pages of 2Mb, not 1Gb; --unmount first, or")
    assert len(mounted(host)) == 1


def test_unmounting_what_is_not_mounted_is_no_error(host: FakeKernel, run) -> None:
    assert run("-u") == (0, [], [])
    assert host.commands_run == []


# --- what fails -------------------------------------------------------------------------------------------------------


def test_too_few_pages_are_given_back(host: FakeKernel, run, pages) -> None:
    run("-r", "4M")
    host.page_limit[f"{NODES}/node1/{SMALL}"] = 5
    code, _, errors = run("-r", "16M")
    assert (code, len(errors)) == (1, 1)
    assert errors[0].startswith(
        "Error: Failed to reserve 8 pages of size 2Mb, got 5 pages instead on node 1; all is as before; free memory"
    )
    assert pages() == [2, 2, 0, 0]


def test_too_few_gigantic_pages_are_for_the_next_start(host: FakeKernel, run) -> None:
    host.page_limit[f"{NODES}/node0/{BIG}"] = 0
    errors = run("-p", "1G", "-r", "4G")[2]
    assert errors[0].endswith("all is as before; add to the kernel's command line: hugepagesz=1G hugepages=4")


def test_fewer_pages_than_are_in_use(host: FakeKernel, run, pages, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-r", "16M")
    real = host.put
    monkeypatch.setattr(host, "put", lambda path, text: real(path, f"{max(int(text), 6)}"))
    errors = run("-r", "2M")[2]
    assert "got 6 pages instead on node 0; all is as before; the pages above that are in use" in errors[0]
    assert pages() == [8, 8, 0, 0]


@pytest.mark.parametrize("program", ["mount", "umount"])
def test_a_setup_that_fails_leaves_all_as_it_was(host: FakeKernel, run, pages, program: str) -> None:
    run("-r", "4M")
    run("-m")
    before = mounted(host)
    host.command_fails = program
    real_run = host.run
    if program == "mount":  # the first fails, and the one that takes the unmount back does not
        fails = iter(["mount", ""])

        def fail_once(words: list[str]) -> str:
            host.command_fails = next(fails) if words[0] == "mount" else ""
            return real_run(words)

        host.run = fail_once  # type: ignore[method-assign]
    code, _, errors = run("--setup", "8M")
    assert (code, len(errors)) == (1, 1)
    assert errors[0].startswith(f"Error: Command failed: {program} ")
    assert pages() == [2, 2, 0, 0]
    assert [line.split()[1] for line in mounted(host)] == [line.split()[1] for line in before]


def test_a_mount_that_cannot_be_made_again_is_told(host: FakeKernel, run, pages) -> None:
    run("-m")
    host.command_fails = "mount"
    code, _, errors = run("--setup", "8M")
    assert code == 1
    assert errors[0].startswith("Error: /dev/hugepages could not be mounted again: Command failed: mount -t hugetlbfs")
    assert errors[1].startswith("Error: Command failed: mount -t hugetlbfs -o pagesize=2097152 nodev /dev/hugepages")
    assert pages() == [0, 0, 0, 0]


def test_a_mount_in_use_names_who_holds_it(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-m")
    monkeypatch.setattr(host, "run", lambda words: "umount: /dev/hugepages: target is busy.")
    told = "Error: Command failed: umount /dev/hugepages: umount: /dev/hugepages: target is busy; end the programs"
    assert run("-u")[2][0].startswith(told)


def test_an_ordinary_user_learns_that_it_takes_root(host: FakeKernel, run, pages) -> None:
    host.denied.add(f"{NODES}/node1/{SMALL}")
    told = "Error: Permission denied: need to be root!; run it with sudo"
    assert run("-r", "8M") == (1, [], [told])
    assert pages() == [0, 0, 0, 0]
    host.write("/proc/self/status", "Uid:\t9\t9\t9\t9")
    host.command_fails = "mount"
    assert run("-m")[2][0].endswith("permission denied; run it with sudo")


def test_a_kernel_that_refuses_a_number(host: FakeKernel, run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, text: str) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(host, "put", refuse)
    told = f"Error: {NODES}/node0/{SMALL}: Invalid argument; the kernel's reason: dmesg | tail"
    assert run("-r", "8M") == (1, [], [told])


def test_a_number_that_cannot_be_put_back_is_told(host: FakeKernel, run) -> None:
    run("-r", "4M")
    real, fails = host.put, iter([False, False, True, True])
    host.page_limit[f"{NODES}/node1/{SMALL}"] = 5

    def put(path: str, text: str) -> None:
        if next(fails):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(path, text)

    host.put = put  # type: ignore[method-assign]
    errors = run("-r", "16M")[2]
    assert errors[0] == f"Error: {NODES}/node1/{SMALL} could not be put back to 2: Device or resource busy"
    assert errors[1] == f"Error: {NODES}/node0/{SMALL} could not be put back to 2: Device or resource busy"


def test_a_signal_waits_until_all_is_done(host: FakeKernel, run, pages) -> None:
    real, seen = host.put, []

    def put(path: str, text: str) -> None:
        real(path, text)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    host.put = put  # type: ignore[method-assign]
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(pages()))
    try:
        assert run("-r", "8M")[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [[4, 4, 0, 0]]
