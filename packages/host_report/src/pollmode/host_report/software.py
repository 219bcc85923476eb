# SPDX-License-Identifier: BSD-3-Clause
"""What Pollmode runs on: system, interpreter, libraries, and the folder of compiled code."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from pollmode.eal.cache_folder import TEMPORARY
from pollmode.eal.hugepages import format_size
from pollmode.host_report.finding import Finding, counted, green, red, yellow
from pollmode.host_report.host import Host

__all__ = ["cache", "libraries", "python", "system"]

OLDEST_PYTHON = (3, 11)
CACHE_ROOM = 200 << 20
"""Bytes that the compiled code of some versions takes."""


def system(host: Host) -> Iterator[Finding]:
    """Say whether compiled code is made for this system."""
    name, release, machine = host.system
    if (name, machine) == ("Linux", "x86_64"):
        yield green(f"{name} {release} on {machine}")
    else:
        yield red(f"{name} on {machine}: Pollmode is made for Linux on x86_64", "qemu-system-x86_64 ..., with Linux")


def python(host: Host) -> Iterator[Finding]:
    """Say whether the interpreter is one that Pollmode runs on."""
    name, version, _ = host.python
    if name == "CPython" and _numbers(version) >= OLDEST_PYTHON:
        yield green(f"{name} {version}")
    else:
        yield red(f"{name} {version}: Pollmode needs CPython 3.11 or newer", "python3.11 start.py")


def libraries(host: Host) -> Iterator[Finding]:
    """Say whether each library is there, in a version that Pollmode was tried with."""
    fine = []
    for requirement in host.requirements():
        name = re.split(r"[<>=!~ ]", requirement, maxsplit=1)[0]
        version = host.version(name)
        install = f"{shlex.quote(host.python[2])} -m pip install {shlex.quote(requirement)}"
        if version is None:
            yield red(f"{name} is not installed", install)
        elif not _within(version, requirement.removeprefix(name)):
            yield yellow(f"{name} {version} is not of {requirement}, the versions that were tried", install)
        else:
            fine.append(f"{name} {version}")
    if fine:
        yield green(", ".join(fine))


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "2.4.0rc1" is (2, 4, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _within(version: str, bounds: str) -> bool:
    """Whether a version is within bounds such as "<0.70,>=0.63"; others than < and >= bind nothing here."""
    there = _numbers(version)
    for bound in bounds.split(","):
        if bound.startswith(">=") and there < _numbers(bound[2:]):
            return False
        if bound.startswith("<") and not bound.startswith("<=") and there >= _numbers(bound[1:]):
            return False
    return True


def cache(host: Host) -> Iterator[Finding]:
    """Say whether compiled code can be kept, whether the present code is there, and what is stale."""
    base = host.cache_base
    shown = _short(host, base)
    nearest = base
    while not host.exists(nearest) and nearest != "/":
        nearest = os.path.dirname(nearest)
    folders = host.names(base)
    kept = host.may(nearest, os.W_OK | os.X_OK)
    if kept:
        present = host.cache_digest in folders
        told = "holds the present code" if present else "has no code of these sources: the first start compiles"
        size = format_size(_size(host.at(base)))
        yield green(f"{shown} {told} ({size}, {counted(len(folders) - present, 'older version')})")
        if host.free_bytes(nearest) < CACHE_ROOM:
            mend = f"export XDG_CACHE_HOME=..., or free {format_size(CACHE_ROOM)} there"
            yield yellow(f"{format_size(host.free_bytes(nearest))} free at {_short(host, nearest)}", mend)
    elif host.may("/tmp", os.W_OK | os.X_OK):
        yield yellow(
            f"{shown} is not yours to write: compiled code is kept in /tmp, until the machine starts anew",
            "export XDG_CACHE_HOME=..., a folder of yours that stays",
        )
    else:
        yield red(f"neither {shown} nor /tmp is yours to write: compiled code has no place", "mount -t tmpfs none /tmp")
    in_use = "" if kept else f"{TEMPORARY}{host.uid}"
    temporary = [f"/tmp/{name}" for name in host.names("/tmp") if name.startswith(TEMPORARY) and name != in_use]
    if temporary:
        size = format_size(sum(_size(host.at(folder)) for folder in temporary))
        told = f"{counted(len(temporary), 'folder')} of earlier runs without a cache, {size}"
        yield yellow(told, f"rm -r {' '.join(temporary)}")


def _short(host: Host, path: str) -> str:
    return path.replace(host.home, "~", 1) if path.startswith(host.home + "/") else path


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder; what goes away meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
