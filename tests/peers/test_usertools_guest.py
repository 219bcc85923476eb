# SPDX-License-Identifier: BSD-3-Clause
"""Our devbind and hugepages in a Linux guest with a virtual IOMMU, in turn with DPDK's: drivers change for real.

One boot. Each test leaves the guest as it found it: every device at the kernel's driver, no hugepages.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.guest import KERNEL, Guest, require_guest, write_initramfs
from support.guest_python import python_files, run_in_guest
from support.initramfs import PROGRAMS, module_images
from support.usertools import Said, assert_devbind_agrees, assert_hugepages_agree, require_usertool

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]  # an emulated CPU on a busy machine

MODULES = ("virtio_pci", "virtio_net", "vmxnet3", "vfio_pci", "vfio_iommu_type1", "uio_pci_generic")
VMXNET3, VIRTIO = "0000:00:03.0", "0000:00:04.0"
NICS = [
    *("-device", "intel-iommu,intremap=on,caching-mode=on"),
    *("-netdev", "hubport,id=h0,hubid=0", "-device", "vmxnet3,netdev=h0,addr=3,romfile="),
    *("-netdev", "hubport,id=h1,hubid=0"),
    *("-device", "virtio-net-pci,netdev=h1,addr=4,disable-legacy=on,iommu_platform=on,romfile="),
]
IMPORTS = """
import argparse, glob, grp, math, platform, pwd, re, subprocess, typing
import pollmode.devbind.__main__, pollmode.devbind.cli, pollmode.hugepages.__main__, pollmode.hugepages.cli
from pollmode.devbind import binding, status
from pollmode.hugepages import changing, showing
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    pollmode.devbind.cli.main(["--status", "--bind", "no-such-driver", "--uid", "0", "eth9"])
    pollmode.hugepages.cli.main(["--show"])
"""
PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"


@dataclass
class Machine:
    """The guest, and both tools in it."""

    guest: Guest
    tools: dict[str, str]

    def ours(self, name: str, words: str) -> Said:
        return self._run(f"pollmode.{name} {words}")

    def theirs(self, name: str, words: str) -> Said:
        return self._run(f"/tools/dpdk-{name}.py {words}")

    def _run(self, words: str) -> Said:
        code, printed, errors = run_in_guest(self.guest, words)
        return Said(code, printed.splitlines(), errors.splitlines())

    def same(self, name: str, words: str, before: str = ":") -> Said:
        """Have both tools do the same, each after `before`, and compare; return what ours said."""
        self.guest.run(before)
        theirs = self.theirs(name, words)
        self.guest.run(before)
        ours = self.ours(name, words)
        compare = assert_devbind_agrees if name == "devbind" else assert_hugepages_agree
        compare(self.tools[name], ours, theirs)
        return ours

    def driver(self, address: str) -> str:
        path = self.guest.run(f"readlink /sys/bus/pci/devices/{address}/driver || true").strip()
        return path.rpartition("/")[2]

    def override(self, address: str) -> str:
        return self.guest.run(f"cat /sys/bus/pci/devices/{address}/driver_override").strip()

    def interface(self, address: str) -> str:
        return self.guest.run(f"basename $(find /sys/bus/pci/devices/{address}/ -path '*/net/*' | head -1)").strip()

    def reserved(self) -> int:
        return int(self.guest.run(f"cat {PAGES}"))


def module_lists(folder: Path) -> dict[str, bytes]:
    """Return what depmod makes of the guest's modules, by path."""
    (source,) = KERNEL.glob("lib/modules/*")
    there = folder / "lib/modules" / source.name
    (there / "kernel").mkdir(parents=True)
    for name, image in module_images(KERNEL, MODULES).items():
        (there / "kernel" / f"{name}.ko").write_bytes(image)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, there)
    depmod = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin")
    assert depmod
    subprocess.run([depmod, "-b", str(folder), source.name], check=True, capture_output=True)
    return {str(path.relative_to(folder)): path.read_bytes() for path in there.glob("modules.*")}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    require_guest("lspci", "depmod")
    tools = {name: require_usertool(f"dpdk-{name}.py") for name in ("devbind", "hugepages")}
    start, files = python_files(IMPORTS)
    files |= {f"tools/dpdk-{name}.py": Path(path).read_bytes() for name, path in tools.items()}
    files |= {"usr/share/misc/pci.ids": Path("/usr/share/misc/pci.ids").read_bytes()}
    files |= module_lists(tmp_path_factory.mktemp("modules"))
    folder = tmp_path_factory.mktemp("guest")
    initramfs = write_initramfs(folder, programs=(*PROGRAMS, "lspci"), modules=MODULES, files=files)
    guest = Guest(initramfs, options=NICS, memory=640, append="intel_iommu=on loglevel=1")
    try:
        guest.wait_for_boot()
        guest.run("mkdir -p /dev/hugepages /etc; echo root:x:0:0::/: > /etc/passwd; ln -sf /proc/mounts /etc/mtab")
        guest.run(start)
        yield Machine(guest, tools)
    finally:
        guest.close()


def test_both_see_the_same_devices_and_refuse_the_one_with_a_route(machine: Machine) -> None:
    shown = machine.same("devbind", "--status")
    assert sum(line.startswith("0000:") for line in shown.printed) == 2
    name = machine.interface(VMXNET3)
    machine.guest.run(f"ip addr add 192.0.2.1/24 dev {name}; ip link set {name} up; ip -o route | grep {name}")
    active = machine.same("devbind", f"--status-dev net --bind vfio-pci {name}")
    assert "*Active*" in "".join(active.printed)
    assert len(active.errors) == 1
    assert machine.driver(VMXNET3) == "vmxnet3"
    machine.guest.run(f"ip addr flush dev {name}; ip link set {name} down")


def test_vmxnet3_goes_to_vfio_and_dpdk_takes_it_back(machine: Machine) -> None:
    assert machine.ours("devbind", "-b vfio-pci -U root 00:03.0") == Said(0, [], [])
    assert (machine.driver(VMXNET3), machine.override(VMXNET3)) == ("vfio-pci", "(null)")
    group = machine.guest.run(f"basename $(readlink /sys/bus/pci/devices/{VMXNET3}/iommu_group)").strip()
    machine.guest.run(f"test -c /dev/vfio/{group}")
    machine.same("devbind", "-s")
    assert machine.theirs("devbind", f"-b vmxnet3 {VMXNET3}").code == 0
    assert machine.driver(VMXNET3) == "vmxnet3"
    assert machine.interface(VMXNET3).startswith("eth")


def test_virtio_is_taken_back_from_where_dpdk_bound_it(machine: Machine) -> None:
    assert machine.theirs("devbind", f"-b uio_pci_generic {machine.interface(VIRTIO)}").code == 0
    assert machine.driver(VIRTIO) == "uio_pci_generic"
    machine.same("devbind", "--status-dev net")
    assert machine.ours("devbind", "-u dpdk") == Said(0, [], [])
    assert machine.driver(VIRTIO) == ""
    assert machine.ours("devbind", f"-b uio_pci_generic {VIRTIO}") == Said(0, [], [])
    machine.guest.run("test -c /dev/uio0")
    assert machine.ours("devbind", f"-b virtio-pci {VIRTIO}") == Said(0, [], [])
    assert machine.driver(VIRTIO) == "virtio-pci"
    assert machine.interface(VIRTIO).startswith("eth")


def test_a_driver_that_refuses_leaves_the_old_one(machine: Machine) -> None:
    said = machine.ours("devbind", f"-b vmxnet3 {VIRTIO}")
    assert (said.code, len(said.errors)) == (1, 1)
    assert "; it is back at driver virtio-pci; vmxnet3 may not know 1af4:1041" in said.errors[0]
    assert machine.driver(VIRTIO) == "virtio-pci"
    assert machine.interface(VIRTIO).startswith("eth")
    theirs = machine.theirs("devbind", f"-b vmxnet3 {VIRTIO}")
    assert any(said.errors[0].startswith(line) for line in theirs.errors), theirs
    assert machine.driver(VIRTIO) in ("virtio-pci", "")  # DPDK's own way back may fail
    machine.guest.run(f"echo {VIRTIO} >/sys/bus/pci/drivers/virtio-pci/bind 2>/dev/null || true")


def test_hugepages_come_and_go_alike(machine: Machine) -> None:
    assert machine.reserved() == 0
    machine.same("hugepages", "--setup 16M --show", before="umount /dev/hugepages 2>/dev/null; true")
    assert machine.reserved() == 8
    assert "/dev/hugepages hugetlbfs rw" in machine.guest.run("cat /proc/mounts")
    machine.same("hugepages", "--reserve 8M --node 0 -s")
    assert machine.reserved() == 4
    machine.same("hugepages", "--unmount --clear -s", before="mount -t hugetlbfs none /dev/hugepages 2>/dev/null; true")
    assert machine.reserved() == 0


def test_hugepages_that_are_not_there_change_nothing(machine: Machine) -> None:
    assert machine.ours("hugepages", "-r 8M -m") == Said(0, [], [])
    said = machine.ours("hugepages", "--setup 4G")
    assert (said.code, len(said.errors)) == (1, 1)
    assert said.errors[0].startswith("Error: Failed to reserve 2048 pages of size 2Mb, got ")
    assert machine.reserved() == 4
    assert "/dev/hugepages hugetlbfs rw" in machine.guest.run("cat /proc/mounts")
    machine.guest.run("cp /init /dev/hugepages/ 2>/dev/null; exec 7</dev/hugepages; true")
    said = machine.ours("hugepages", "--setup 16M")
    assert (said.code, machine.reserved()) == (1, 4)
    assert "umount" in said.errors[0]
    assert machine.guest.run("exec 7<&-; true") == ""
    assert machine.ours("hugepages", "-u -c") == Said(0, [], [])
    assert machine.reserved() == 0
