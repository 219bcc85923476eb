# SPDX-License-Identifier: BSD-3-Clause
"""A machine made of files whose kernel answers: drivers bind, hugepages come, file systems are mounted."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pollmode.host_report.pci_devices import PCI
from pollmode.host_report.testing import FakeHost

__all__ = ["FakeKernel"]

MOUNTS = "/proc/self/mounts"


class FakeKernel(FakeHost):
    """A machine below a folder that can be changed.

    `refused` holds the errno with which a driver refuses a device, `page_limit` the most pages of a path's kind, and
    `knows` the devices that a driver takes of its own accord; `written` is what was written, in order.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.refused: dict[tuple[str, str], int] = {}
        self.page_limit: dict[str, int] = {}
        self.knows: dict[str, set[str]] = {}
        self.written: list[tuple[str, str]] = []
        self.commands_run: list[list[str]] = []
        self.command_fails = ""
        self._interfaces: dict[str, list[str]] = {}

    def put(self, path: str, text: str) -> None:
        """Do what the kernel does with a write."""
        if path in self.denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if not self.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.written.append((path, text))
        driver = re.fullmatch("/sys/bus/pci/drivers/(.*)/(bind|unbind)", path)
        if driver and driver[2] == "bind":
            self._bind(driver[1], text)
        elif driver:
            self._unbind(driver[1], text)
        elif path.endswith("/driver_override"):
            self.write(path, text.strip("\0\n") or "(null)")
        elif path.endswith("/nr_hugepages"):
            self.write(path, min(int(text), self.page_limit.get(path, 1 << 20)))
        else:
            self.write(path, text)

    def run(self, words: Sequence[str]) -> str:
        """Do what mount(8) and umount(8) do."""
        self.commands_run.append(list(words))
        if self.command_fails == words[0]:
            return f"{words[0]}: permission denied."
        lines = self.text(MOUNTS).splitlines()
        if words[0] == "mount":
            options = ",".join(words[number + 1] for number, word in enumerate(words) if word == "-o")
            lines.append(f"nodev {words[-1]} hugetlbfs rw,relatime,{options} 0 0")
        else:
            lines = [line for line in lines if line.split()[1] != words[-1]]
        self.write(MOUNTS, "\n".join(lines))
        return ""

    def _bind(self, driver: str, address: str) -> None:
        folder = f"{PCI}/{address}"
        override = self.text(f"{folder}/driver_override")
        ids = ":".join(self.text(f"{folder}/{name}").removeprefix("0x") for name in ("vendor", "device"))
        fits = override == driver if override != "(null)" else ids in self.knows.get(driver, ())
        if not self.exists(folder) or self.exists(f"{folder}/driver") or not fits:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if number := self.refused.get((driver, address)):
            raise OSError(number, os.strerror(number))
        self.link_to(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")
        if driver == "vfio-pci" and (group := self.link(f"{folder}/iommu_group")):
            self.write(f"/dev/vfio/{group}", "")
        for name in self._interfaces.get(address, []) if ids in self.knows.get(driver, ()) else []:
            self.folder(f"{folder}/net/{name}")

    def _unbind(self, driver: str, address: str) -> None:
        folder = f"{PCI}/{address}"
        if self.link(f"{folder}/driver") != driver:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.remove(f"{folder}/driver")
        if names := self.names(f"{folder}/net"):
            self._interfaces[address] = names
            self.remove(f"{folder}/net")
