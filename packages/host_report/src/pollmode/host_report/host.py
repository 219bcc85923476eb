# SPDX-License-Identifier: BSD-3-Clause
"""The machine as the checks see it: files below a root folder, and the few facts that are no file.

A file that is missing or must not be read is an empty one: in a container half of /sys may be absent. Tests put a made
tree at the root and a `testing.FakeHost` in the place of what is no file.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path

from pollmode.bus_vdev import Registry
from pollmode.eal import hugepages
from pollmode.eal.cache_folder import cache_base, sources_digest
from pollmode.eal.hugepages import HugepagePool, Mount
from pollmode.eal.runtime import runtime_base
from pollmode.host_report.routes import routed_interfaces

__all__ = ["Host"]

PCI_DRIVERS = {"15ad:07b0": "net_vmxnet3"}
"""The devices that Pollmode has drivers for. The drivers say so too, but bring along the compiler, which may lack."""
_DISTRIBUTIONS = ("pollmode-eal", "pollmode-testpmd")


class Host:
    """This machine. Paths are absolute texts, "/proc/self/status"; `at` says where they are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def at(self, path: str) -> Path:
        """Return where a path of the machine is."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """Return what a file holds, without white space at its ends."""
        try:
            return self.at(path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """Return the number that a file holds, None when it holds none."""
        try:
            return int(self.text(path), 0)
        except ValueError:
            return None

    def fields(self, path: str) -> dict[str, str]:
        """Return a file of lines "name: value"; of several lines of one name the first."""
        found: dict[str, str] = {}
        for line in self.text(path).splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found.setdefault(name.strip(), value.strip())
        return found

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted."""
        try:
            return sorted(os.listdir(self.at(folder)))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        return os.path.lexists(self.at(path))

    def link(self, path: str) -> str:
        """Return the last part of what a symbolic link points to."""
        try:
            return os.path.basename(os.readlink(self.at(path)))
        except OSError:
            return ""

    def folder_named(self, name: str, top: str) -> str:
        """Return the first folder of a name below another one, outer ones first; "" when there is none."""
        for parent, folders, _ in os.walk(self.at(top)):
            if name in folders:
                return f"/{Path(parent, name).relative_to(self.root)}"
        return ""

    def module(self, name: str) -> bool:
        """Whether a kernel module is loaded, or built in and seen in /sys/module."""
        return self.exists(f"/sys/module/{name}")

    def flags(self) -> frozenset[str]:
        """Return the features of the first cpu, in the kernel's words."""
        return frozenset(self.fields("/proc/cpuinfo").get("flags", "").split())

    @property
    def virtual(self) -> bool:
        """Whether this is a virtual machine."""
        return "hypervisor" in self.flags()

    @property
    def uid(self) -> int:
        """The effective user id."""
        return int(self.fields("/proc/self/status").get("Uid", "0 0").split()[1])

    def hugepage_pools(self) -> list[HugepagePool]:
        """Return the pools of hugepages, largest pages first."""
        return hugepages.hugepage_pools(self.root) if self.exists("/proc/self/mounts") else []

    def available_memory(self) -> int | None:
        """Return the bytes of ordinary memory that can be taken, None when it is not known."""
        try:
            return hugepages.available_memory(self.root)
        except (OSError, StopIteration):
            return None

    # What is no file, and what changes the machine

    def put(self, path: str, text: str) -> None:
        """Write to a file of the kernel, which must be there, in one go. Raises OSError as the kernel answers."""
        fd = os.open(self.at(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def run(self, words: Sequence[str]) -> str:
        """Run a program and return "", or in one line why it failed."""
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"{words[0]}: {error.strerror}"
        return "" if not done.returncode else " ".join(done.stderr.split()) or f"exit code {done.returncode}"

    def routed_interfaces(self) -> frozenset[str]:
        """Return the interfaces that the routing table names."""
        return routed_interfaces()

    def may(self, path: str, mode: int) -> bool:
        """Whether this process may use a path so; `mode` is of os.access."""
        return os.access(self.at(path), mode, effective_ids=os.access in os.supports_effective_ids)

    def free_bytes(self, folder: str) -> int:
        """Return the free bytes of the file system of a folder."""
        return shutil.disk_usage(self.at(folder)).free

    def hugetlbfs_mounts(self) -> list[Mount]:
        """Return the mounts of hugetlbfs."""
        try:
            return hugepages.hugetlbfs_mounts()
        except OSError:
            return []

    @property
    def system(self) -> tuple[str, str, str]:
        """The operating system, its release and the machine's architecture."""
        there = os.uname()
        return there.sysname, there.release, there.machine

    @property
    def python(self) -> tuple[str, str, str]:
        """The interpreter's name, version and command."""
        return platform.python_implementation(), platform.python_version(), sys.executable

    def requirements(self) -> list[str]:
        """Return the libraries that Pollmode needs, as packages declare them: "numba<0.70,>=0.63"."""
        found: set[str] = set()
        for name in _DISTRIBUTIONS:
            try:
                found.update(word for word in requires(name) or () if ";" not in word)
            except PackageNotFoundError:  # one that is not installed needs nothing
                continue
        return sorted(word for word in found if not word.startswith("pollmode-"))

    def version(self, library: str) -> str | None:
        """Return the version of a library, None when it is not installed."""
        try:
            return version(library)
        except PackageNotFoundError:
            return None

    def commands(self) -> set[str]:
        """Return the names of Pollmode's installed commands."""
        return {point.name for point in entry_points(group="console_scripts") if point.value.startswith("pollmode.")}

    def vdev_drivers(self) -> list[str]:
        """Return the names of the installed drivers of virtual devices."""
        return Registry().names()

    def pci_drivers(self) -> dict[str, str]:
        """Return the installed drivers of PCI devices by "vendor:device"."""
        installed = {point.name for point in entry_points(group="pollmode.pci")}
        return {ids: name for ids, name in PCI_DRIVERS.items() if name in installed}

    @property
    def runtime_base(self) -> str:
        """The directory above those of the file prefixes."""
        return str(runtime_base())

    @property
    def cache_base(self) -> str:
        """The directory above those of compiled code."""
        return str(cache_base())

    @property
    def cache_digest(self) -> str:
        """The name of the folder that holds the compiled code of the present sources."""
        return sources_digest()

    @property
    def home(self) -> str:
        """The user's home."""
        return os.path.expanduser("~")
