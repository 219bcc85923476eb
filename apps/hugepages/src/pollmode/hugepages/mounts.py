# SPDX-License-Identifier: BSD-3-Clause
"""Mounts of hugetlbfs, made and ended by mount(8) and umount(8)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError, HostError
from pollmode.host_report import Host
from pollmode.hugepages.sizes import parse_size

__all__ = ["Mount", "Mounts"]

MOUNTS = "/proc/self/mounts"


@dataclass(frozen=True)
class Mount:
    """A mounted hugetlbfs: its path and options as proc(5) shows them."""

    path: str
    options: str

    @property
    def page_size(self) -> int:
        """KiB of its pages, 0 when the kernel does not say."""
        found = re.search(r"pagesize=(\w+)", self.options)
        return parse_size(found[1]) if found else 0


class Mounts:
    """The mounts of a machine."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def all(self) -> list[Mount]:
        """Return them in the order they were mounted."""
        lines = [line.split() for line in self._host.text(MOUNTS).splitlines()]
        return [Mount(words[1], words[3]) for words in lines if len(words) > 3 and words[2] == "hugetlbfs"]

    def at(self, path: str) -> Mount | None:
        """Return the one that is seen at a path."""
        return next((mount for mount in reversed(self.all()) if mount.path == _escaped(path)), None)

    def check(self, path: str) -> None:
        """Raise ConfigError when nothing can be mounted at a path."""
        if not self._host.at(path).is_dir():
            raise ConfigError(f"{path} is no directory to mount at; sudo mkdir -p {path}")

    def mount(self, path: str, options: str) -> None:
        """Mount hugetlbfs. Raises HostError."""
        self._run("mount", "-t", "hugetlbfs", "-o", options, "nodev", path)

    def unmount(self, path: str) -> None:
        """End the mount at a path. Raises HostError."""
        self._run("umount", path)

    def _run(self, *words: str) -> None:
        if failed := self._host.run(words):
            text = f"Command failed: {' '.join(words)}: {failed.removesuffix('.')}"
            if "busy" in failed:
                raise HostError(text, mend=f"end the programs that use it: fuser -vm {words[-1]}")
            root = self._host.uid == 0
            raise HostError(text, mend="the kernel's reason: dmesg | tail" if root else "run it with sudo")


def _escaped(path: str) -> str:
    """Return a path as the kernel writes it in the table of mounts: without what would end the word."""
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\" else letter for letter in path)
