# SPDX-License-Identifier: BSD-3-Clause
"""Machines made of files, for tests and pictures.

`sound_machine` is one on which every check is green; a test changes one thing and asks what is said.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pollmode.eal.hugepages import Mount
from pollmode.host_report.cores import LEVELS
from pollmode.host_report.host import Host

__all__ = ["FakeHost", "sound_machine", "touched"]

CPUS = 4


class FakeHost(Host):
    """A machine below a folder; what is no file stands in attributes that a test may set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.denied: set[str] = set()
        self.free = 1 << 34
        self.mounts = [Mount("/dev/hugepages", 2 << 20)]
        self.system_facts = ("Linux", "6.12.0", "x86_64")
        self.python_facts = ("CPython", "3.11.9", "python3")
        self.libraries = {"numba": "0.68.1", "numpy": "2.4.0"}
        self.routed: set[str] = set()
        self.drivers = ["net_af_packet", "net_null", "net_ring", "net_vhost", "net_virtio_user"]
        self.digest = "5e1f"

    def write(self, path: str, text: str | int) -> None:
        """Put a file there, its folders too."""
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_text(f"{text}\n")

    def folder(self, path: str) -> None:
        """Put a folder there."""
        self.at(path).mkdir(parents=True, exist_ok=True)

    def link_to(self, path: str, target: str) -> None:
        """Put a symbolic link there."""
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).symlink_to(target)

    def remove(self, path: str) -> None:
        """Take a file or a folder with all below it away."""
        there = self.at(path)
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)
        else:
            there.unlink()

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a text that stands in a file."""
        before = self.at(path).read_text()
        if old not in before:
            raise ValueError(f"{path} does not hold {old!r}")
        self.at(path).write_text(before.replace(old, new))

    def add_pci(
        self,
        address: str,
        ids: str,
        class_code: str,
        driver: str = "",
        interface: str = "",
        *,
        node: int = -1,
        group: str = "",
    ) -> None:
        """Put a device on the PCI bus, as sysfs shows it and lspci wants it."""
        folder = f"/sys/bus/pci/devices/{address}"
        vendor, device = ids.split(":")
        code = f"{int(class_code, 16):06x}"
        files: dict[str, str | int] = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{code}"}
        files |= {"numa_node": node, "irq": 11, "driver_override": "(null)"}
        files |= {"subsystem_vendor": "0x0000", "subsystem_device": "0x0000"}
        kind = f"bc{code[:2].upper()}sc{code[2:4].upper()}i{code[4:].upper()}"
        files["modalias"] = f"pci:v0000{vendor.upper()}d0000{device.upper()}sv00000000sd00000000{kind}"
        for name, value in files.items():
            self.write(f"{folder}/{name}", value)
        self.write(f"{folder}/resource", "\n".join(["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 13))
        header = bytes.fromhex(vendor)[::-1] + bytes.fromhex(device)[::-1] + bytes(4) + bytes(1)
        self.at(f"{folder}/config").write_bytes((header + bytes.fromhex(code)[::-1]).ljust(64, b"\0"))
        if driver:
            self.link_to(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")
            self.add_driver(driver)
        if group:
            self.link_to(f"{folder}/iommu_group", f"../../../../kernel/iommu_groups/{group}")
            self.folder(f"/sys/kernel/iommu_groups/{group}/devices/{address}")
        if interface:
            self.folder(f"{folder}/net/{interface}")

    def add_driver(self, name: str) -> None:
        """Load a PCI driver; its module has the same name."""
        folder = f"/sys/bus/pci/drivers/{name}"
        for file in ("bind", "unbind", "new_id"):
            if not self.exists(f"{folder}/{file}"):
                self.write(f"{folder}/{file}", "")
        self.folder(f"/sys/module/{name.replace('-', '_')}")

    def add_process(self, pid: int, *words: str, memory: str = "") -> None:
        """Run a process; `memory` is what the kernel calls its memory."""
        self.write(f"/proc/{pid}/cmdline", "\0".join(words) + "\0")
        if memory:
            self.link_to(f"/proc/{pid}/fd/3", memory)

    def may(self, path: str, mode: int) -> bool:
        """Everything there may be used unless it is denied."""
        return self.exists(path) and path not in self.denied

    def free_bytes(self, folder: str) -> int:
        """Return what `free` says."""
        return self.free

    def hugetlbfs_mounts(self) -> list[Mount]:
        """Return what `mounts` says."""
        return self.mounts

    def routed_interfaces(self) -> frozenset[str]:
        """Return what `routed` says."""
        return frozenset(self.routed)

    @property
    def system(self) -> tuple[str, str, str]:
        """What `system_facts` says."""
        return self.system_facts

    @property
    def python(self) -> tuple[str, str, str]:
        """What `python_facts` says."""
        return self.python_facts

    def requirements(self) -> list[str]:
        """Return bounds as Pollmode's packages declare them."""
        return ["numba<0.70,>=0.63", "numpy<3,>=2.0"]

    def version(self, library: str) -> str | None:
        """Return what `libraries` says."""
        return self.libraries.get(library)

    def commands(self) -> set[str]:
        """Return some of Pollmode's commands."""
        return {"testpmd", "l2fwd", "doctor"}

    def vdev_drivers(self) -> list[str]:
        """Return what `drivers` says."""
        return self.drivers

    def pci_drivers(self) -> dict[str, str]:
        """Return a driver."""
        return {"15ad:07b0": "net_vmxnet3"}

    @property
    def runtime_base(self) -> str:
        """Where an ordinary user's is."""
        return "/run/user/1000/dpdk"

    @property
    def cache_base(self) -> str:
        """Where an ordinary user's is."""
        return f"{self.home}/.cache/pollmode"

    @property
    def cache_digest(self) -> str:
        """What `digest` says."""
        return self.digest

    @property
    def home(self) -> str:
        """The home of an ordinary user."""
        return "/home/user"


def sound_machine(root: Path) -> FakeHost:
    """Return a machine on which nothing is to mend: a physical one with four cpus, two of them set aside."""
    host = FakeHost(root)
    _add_process_files(host)
    _add_cpus(host)
    _add_hugepages(host)
    _add_passthrough(host)
    for folder in ("/tmp", "/dev/shm", "/run/user/1000", f"{host.cache_base}/{host.digest}", "/dev/hugepages"):
        host.folder(folder)
    host.write("/sys/class/net/lo/type", 772)
    host.write("/sys/class/net/lo/flags", "0x9")
    host.write("/sys/class/net/eth0/type", 1)
    host.write("/sys/class/net/eth0/flags", "0x1003")
    return host


def _add_process_files(host: FakeHost) -> None:
    host.write("/proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0")
    host.write("/proc/self/cgroup", "0::/user.slice")
    host.write("/sys/fs/cgroup/user.slice/cpu.max", "max 100000")
    host.write("/proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3")
    host.write(
        "/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max file size             unlimited            unlimited            bytes\n"
        "Max open files            1024                 1048576              files\n"
        "Max locked memory         unlimited            unlimited            bytes\n"
        "Max address space         unlimited            unlimited            bytes",
    )
    host.write("/proc/meminfo", "MemTotal:       16384000 kB\nMemAvailable:   12582912 kB\nHugepagesize:       2048 kB")
    host.write("/proc/stat", "cpu  1000 0 500 90000 10 0 20 0 0 0")
    host.write("/proc/misc", "200 tun\n238 vhost-net\n196 vfio")
    for path in ("/proc/modules", "/proc/net/packet", "/proc/net/unix", "/dev/net/tun"):
        host.write(path, "")


def _add_cpus(host: FakeHost) -> None:
    wanted = " ".join(sorted(set().union(*(flags for _, flags in LEVELS))))
    flags = f"fpu {wanted} constant_tsc nonstop_tsc"
    host.write("/proc/cpuinfo", f"vendor_id\t: GenuineIntel\nmodel name\t: Example cpu\nflags\t\t: {flags}")
    host.write("/proc/cmdline", "root=/dev/sda1 intel_iommu=on iommu=pt isolcpus=2-3 nohz_full=2-3")
    cpus = "/sys/devices/system/cpu"
    host.write(f"{cpus}/online", f"0-{CPUS - 1}")
    host.write(f"{cpus}/isolated", "2-3")
    host.write(f"{cpus}/nohz_full", "2-3")
    for number in range(CPUS):
        host.write(f"{cpus}/cpu{number}/topology/thread_siblings_list", number)
        host.write(f"{cpus}/cpu{number}/cpufreq/scaling_governor", "performance")


def _add_hugepages(host: FakeHost) -> None:
    folder = "/sys/kernel/mm/hugepages/hugepages-2048kB"
    for name, pages in (("nr", 1024), ("free", 1024), ("resv", 0)):
        host.write(f"{folder}/{name}_hugepages", pages)
    host.write("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", 1024)


def _add_passthrough(host: FakeHost) -> None:
    for path in ("kernel/iommu_groups/0", "kernel/iommu_groups/1", "class/iommu/dmar0", "module/vfio_pci"):
        host.folder(f"/sys/{path}")
    host.write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N")
    for name in ("vfio", "12"):
        host.write(f"/dev/vfio/{name}", "")


def touched(host: Host, path: str, seconds_ago: float) -> None:
    """Let a file or folder have been changed some seconds ago."""
    there = host.at(path).stat().st_mtime - seconds_ago
    os.utime(host.at(path), (there, there))
