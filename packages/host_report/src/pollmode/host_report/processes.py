# SPDX-License-Identifier: BSD-3-Clause
"""Other Pollmode and DPDK processes: which run, with which file prefix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pollmode.host_report.finding import Finding, green, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.leftovers import is_alive

__all__ = ["Running", "processes", "running"]

MEMORY = "/memfd:pollmode-"
"""How the kernel names our memory in /proc/PID/fd; the file prefix follows (eal.backing)."""
DEFAULT_PREFIX = "rte"
OPTION = "--file-prefix"


@dataclass(frozen=True)
class Running:
    """A process, its program's name and its file prefix."""

    pid: int
    program: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid}, prefix {self.prefix})"


def running(host: Host) -> list[Running]:
    """Return the other Pollmode and DPDK processes, in order of pid.

    Ours are known by their memory, which only their user and root see, and all by their command line.
    """
    own = host.link("/proc/self")
    ours = host.commands() - {"doctor"}
    found = []
    for name in sorted(filter(str.isdigit, host.names("/proc")), key=int):
        words = host.text(f"/proc/{name}/cmdline").split("\0")
        prefix = _prefix_of_memory(host, name)
        program = _program(ours, words)
        if name != own and (program or prefix):
            known = program or os.path.basename(words[0]) or "process"
            found.append(Running(int(name), known, prefix or _prefix_of_words(words)))
    return found


def _program(ours: set[str], words: list[str]) -> str:
    """Return the name of the program when it is one of ours or DPDK's, else nothing."""
    name = os.path.basename(words[0])
    if name.startswith("python") and len(words) > 2:
        name = words[2] if words[1] == "-m" else os.path.basename(words[1])
    if name.startswith("pollmode."):
        name = name.split(".")[1]
    return name if name in ours or (name.startswith("dpdk-") and not name.endswith(".py")) else ""


def _prefix_of_memory(host: Host, pid: str) -> str:
    for number in host.names(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(host.at(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue
        if target.startswith(MEMORY):
            return target.removeprefix(MEMORY).removesuffix(" (deleted)")
    return ""


def _prefix_of_words(words: list[str]) -> str:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == OPTION:
            return following
        if word.startswith(f"{OPTION}="):
            return word.partition("=")[2]
    return DEFAULT_PREFIX


def processes(host: Host) -> Iterator[Finding]:
    """Say which other processes run, and whether one has the default file prefix."""
    others = running(host)
    told = ", ".join(map(str, others))
    default = f"{host.runtime_base}/{DEFAULT_PREFIX}"
    if host.exists(default) and is_alive(host, default):
        holder = told or f"{default} is locked"
        yield yellow(f"the default file prefix is taken: {holder}", "testpmd --file-prefix second ...")
    elif others:
        yield green(told)
    else:
        yield green("none")
