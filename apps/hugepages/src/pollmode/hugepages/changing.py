# SPDX-License-Identifier: BSD-3-Clause
"""Clearing, reserving, mounting: checked before, done in DPDK's order, and taken back when a step fails."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError, HostError
from pollmode.host_report import Host
from pollmode.host_report.hugepage_counts import HugepageCount
from pollmode.host_report.mending import kernel_argument
from pollmode.hugepages.mounts import Mounts
from pollmode.hugepages.sizes import format_size

__all__ = ["Request", "change"]

REASON = "the kernel's reason: dmesg | tail"
GIGANTIC = 1 << 20
"""KiB from which on pages are gigantic: the kernel seldom finds room for one once it runs."""


@dataclass(frozen=True)
class Request:
    """What is asked for; sizes in KiB, `reserve` is None when nothing is."""

    clear: bool
    unmount: bool
    reserve: int | None
    mount: bool
    page_size: int
    directory: str
    user: str
    group: str


def change(host: Host, counts: Sequence[HugepageCount], request: Request) -> None:
    """Do what is asked on these nodes and sizes. Raises ConfigError before, HostError after all has been taken back."""
    mounts = Mounts(host)
    _check(counts, mounts, request)
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        with ExitStack() as undo:
            if request.clear:
                _clear(host, counts, undo)
            if request.unmount:
                _unmount(mounts, request.directory, undo)
            if request.reserve is not None:
                _reserve(host, counts, request, undo)
            if request.mount:
                _mount(mounts, request)
            undo.pop_all()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _check(counts: Sequence[HugepageCount], mounts: Mounts, request: Request) -> None:
    sizes = sorted({count.size for count in counts})
    if (request.reserve is not None or request.mount) and request.page_size not in sizes:
        valid = ", ".join(format_size(size) for size in sizes) or "none, this kernel has no hugepages"
        raise ConfigError(f"Invalid page size {request.page_size}. Valid sizes: {valid}")
    if request.reserve is not None and request.reserve % request.page_size:
        size, page = format_size(request.reserve), format_size(request.page_size)
        above = format_size((request.reserve // request.page_size + 1) * request.page_size)
        raise ConfigError(f"Huge reservation {size} is not a multiple of page size {page}; {above} is")
    if request.mount:
        mounts.check(request.directory)


def _set(host: Host, count: HugepageCount, pages: int, undo: ExitStack) -> int:
    """Ask for a number of pages and return how many there are now."""
    before = host.number(count.path) or 0
    undo.callback(_put_back, host, count.path, before)
    try:
        host.put(count.path, f"{pages}\n")
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            text, mend = "Permission denied: need to be root!", "run it with sudo"
        else:
            text, mend = f"{count.path}: {error.strerror}", REASON
        raise HostError(text, mend=mend, errno=error.errno) from None
    return host.number(count.path) or 0


def _put_back(host: Host, path: str, pages: int) -> None:
    if host.number(path) == pages:
        return
    try:
        host.put(path, f"{pages}\n")
    except OSError as error:
        print(f"Error: {path} could not be put back to {pages}: {error.strerror}", file=sys.stderr)


def _clear(host: Host, counts: Sequence[HugepageCount], undo: ExitStack) -> None:
    for count in counts:
        if left := _set(host, count, 0, undo):
            where = "" if count.node is None else f" of node {count.node}"
            hint = f"{left} pages of size {format_size(count.size)}{where} are in use: they go when their programs end"
            print(f"Hint: {hint}", file=sys.stderr)


def _unmount(mounts: Mounts, path: str, undo: ExitStack) -> None:
    if mount := mounts.at(path):
        mounts.unmount(path)
        undo.callback(_mount_again, mounts, path, mount.options)


def _mount_again(mounts: Mounts, path: str, options: str) -> None:
    try:
        mounts.mount(path, options)
    except HostError as error:
        print(f"Error: {path} could not be mounted again: {error}", file=sys.stderr)


def _reserve(host: Host, counts: Sequence[HugepageCount], request: Request, undo: ExitStack) -> None:
    wanted = (request.reserve or 0) // request.page_size
    for count in counts:
        if count.size != request.page_size:
            continue
        got = _set(host, count, wanted, undo)
        if got != wanted:
            text = f"Failed to reserve {wanted} pages of size {format_size(count.size)}, got {got} pages instead"
            where = "" if count.node is None else f" on node {count.node}"
            raise HostError(f"{text}{where}; all is as before", mend=_more(host, count.size, wanted, got))


def _more(host: Host, size: int, wanted: int, got: int) -> str:
    """Return what gives so many pages."""
    if got > wanted:
        return "the pages above that are in use: end the programs that hold them"
    if size >= GIGANTIC:
        return kernel_argument(host, f"hugepagesz={size >> 20}G hugepages={wanted}")
    return "free memory and let the kernel move what is in the way: echo 1 | sudo tee /proc/sys/vm/compact_memory"


def _mount(mounts: Mounts, request: Request) -> None:
    there = mounts.at(request.directory)
    if there is None:
        options = {"pagesize": str(request.page_size * 1024), "uid": request.user, "gid": request.group}
        mounts.mount(request.directory, ",".join(f"{name}={value}" for name, value in options.items() if value))
    elif there.page_size not in (0, request.page_size):
        sizes = f"pages of {format_size(there.page_size)}, not {format_size(request.page_size)}"
        hint = f"{request.directory} stays mounted with {sizes}; --unmount first, or mount at another --directory"
        print(f"Hint: {hint}", file=sys.stderr)
