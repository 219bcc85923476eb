# SPDX-License-Identifier: BSD-3-Clause
"""Our devbind and hugepages beside DPDK's on one made-up machine: its /sys and its routes are theirs in a namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.pci_machine import AVP, DEVICES, FIRST, FREE, NVME, SECOND, VFIO, made_machine
from support.usertools import Said, assert_devbind_agrees, assert_hugepages_agree, require_usertool

from pollmode.host_report.testing_kernel import FakeKernel

pytestmark = pytest.mark.peer

INSIDE = """
set -e
mount --bind "$1/sys" /sys
ip link add eth2 type veth peer name far
ip address add 192.0.2.1/24 dev eth2
ip link set far up
ip link set eth2 up
ip route add 198.51.100.0/24 nexthop via 192.0.2.7 nexthop via 192.0.2.8
shift
exec "$@"
"""


def inside(machine: FakeKernel, *words: str) -> Said:
    """Run a program where /sys is the machine's and eth2 has routes."""
    command = ["unshare", "--mount", "--net", "sh", "-c", INSIDE, "sh", str(machine.root), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "SUDO_USER": "root"})
    return Said(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())


def usable(machine: FakeKernel) -> FakeKernel:
    """Skip the test where no such namespaces may be made."""
    tried = inside(machine, "true")
    if tried.code:
        pytest.skip(f"no namespaces with mounts may be made here: {' '.join(tried.errors)}")
    return machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FakeKernel:
    return usable(made_machine(tmp_path_factory.mktemp("machine")))


def contents(machine: FakeKernel) -> dict[str, bytes]:
    """Return all that a tool could have written."""
    return {str(path): path.read_bytes() for path in machine.at("/sys").rglob("*") if path.is_file()}


def both(machine: FakeKernel, *words: str) -> None:
    tool = require_usertool("dpdk-devbind.py", "lspci", "ip", "unshare")
    before = contents(machine)
    theirs = inside(machine, sys.executable, tool, *words)
    ours = inside(machine, sys.executable, "-m", "pollmode.devbind", *words)
    assert_devbind_agrees(tool, ours, theirs)
    assert contents(machine) == before


def test_the_whole_machine_is_shown_alike(machine: FakeKernel) -> None:
    both(machine, "--status")
    shown = inside(machine, sys.executable, "-m", "pollmode.devbind", "-s").printed
    assert next(line for line in shown if "*Active*" in line).startswith(FIRST)
    assert sum(line[:4] in ("0000", "0001") for line in shown) == len(DEVICES) - 3


def test_a_device_without_a_numa_node_changes_the_lines_alike(tmp_path: Path) -> None:
    both(usable(made_machine(tmp_path, net_nodes=False)), "--status")


@pytest.mark.parametrize("kind", ["net", "misc"])
def test_each_kind_is_shown_alike(machine: FakeKernel, kind: str) -> None:
    both(machine, "--status-dev", kind)


@pytest.mark.parametrize(
    "words",
    [
        (),
        (FREE,),
        ("-u",),
        ("-b", "vfio-pci"),
        ("-b", "no_such_driver", FREE),
        ("-b", FREE, FIRST),
        ("-b", "eth2", FIRST),
        ("-b", "vfio-pci", "eth9"),
        ("-b", "vfio-pci", NVME),
        ("-b", "vfio-pci", "eth2"),
        ("-b", "vfio-pci", "03:00.0", "-s"),
        ("-b", "ixgbe", "03:00.1"),
        ("-b", "vfio-pci", VFIO),
        ("-b", "vfio-pci", "04:*"),
        ("-b", "uio_pci_generic", AVP, "--status-dev=net"),
        ("-u", FIRST),
        ("-u", FREE),
        ("--bind=None", "05:00.0"),
        ("-b", "vfio-pci", "-u", SECOND),
        ("--status-dev", "nothing"),
    ],
    ids=" ".join,
)
def test_what_changes_nothing_is_told_alike(machine: FakeKernel, words: tuple[str, ...]) -> None:
    both(machine, *words)


# --- hugepages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reserved(tmp_path_factory: pytest.TempPathFactory) -> FakeKernel:
    made = FakeKernel(tmp_path_factory.mktemp("machine"))
    made.folder("/sys/class/net")
    for node, pages in ((0, (512, 3)), (1, (0, 16)), (10, (1, 0))):
        for size, count in zip((2048, 1048576), pages, strict=True):
            made.write(f"/sys/devices/system/node/node{node}/hugepages/hugepages-{size}kB/nr_hugepages", count)
    return usable(made)


def both_hugepages(machine: FakeKernel, *words: str) -> None:
    tool = require_usertool("dpdk-hugepages.py", "ip", "unshare")
    before = contents(machine)
    theirs = inside(machine, sys.executable, tool, *words)
    ours = inside(machine, sys.executable, "-m", "pollmode.hugepages", *words)
    assert_hugepages_agree(tool, ours, theirs)
    assert contents(machine) == before


@pytest.mark.parametrize("words", [("-s",), (), ("-p", "2M"), ("-r", "5x"), ("-u", "-d", "/not/mounted")])
def test_hugepages_are_told_alike(reserved: FakeKernel, words: tuple[str, ...]) -> None:
    both_hugepages(reserved, *words)


def test_a_size_that_is_no_multiple_is_told_alike(reserved: FakeKernel) -> None:
    """Since DPDK 24 in the units of the tables; before, in kB."""
    tool = require_usertool("dpdk-hugepages.py", "ip", "unshare")
    if "Huge page filesystems" in Path(tool).read_text():
        both_hugepages(reserved, "-r", "3M")
    else:
        theirs = inside(reserved, sys.executable, tool, "-r", "3M")
        ours = inside(reserved, sys.executable, "-m", "pollmode.hugepages", "-r", "3M")
        assert (theirs.code, ours.code) == (1, 1)
        assert theirs.errors == ["Huge reservation 3072kB is not a multiple of page size 2048kB"]
        assert ours.errors == ["Error: Huge reservation 3Mb is not a multiple of page size 2Mb; 4Mb is"]
