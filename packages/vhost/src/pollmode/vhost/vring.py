# SPDX-License-Identifier: BSD-3-Clause
"""The back end's view of one vring: what the front end said about it, and whether it may run."""

from __future__ import annotations

import fcntl
import os

from pollmode.vhost.connection import close_fd
from pollmode.vhost.faults import MalformedMessage
from pollmode.vhost.memory import Region, RegionsRecord, user_to_host
from pollmode.vhost.virtqueue import (
    AVAIL_ALIGN,
    DESC_ALIGN,
    USED_ALIGN,
    avail_size,
    desc_size,
    used_size,
)

__all__ = ["Vring", "check_eventfd"]

_EVENTFD = "anon_inode:[eventfd]"


class Vring:
    """One ring. A driver reads it in `on_vring_ready`; everything in it stays as it is until `on_vring_stopped`.

    - `index`: even rings carry packets to the front end, odd ones from it; rings 2i and 2i+1 are pair i
    - `num`: entries; `base`: the available index to begin with
    - `desc`, `avail`, `used`: addresses in this process, 0 while the ring is stopped
    - `kick_fd`, `call_fd`, `err_fd`: eventfds of the front end, -1 when there is none; the session owns them
    - `regions`: address of this ring's own REGIONS record, for `translate`
    - `memory`: address of the table of the guest's memory, for `guest_address`
    - `log_address`: guest address of the used ring for dirty logging, or -1 when it is not logged
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.num = 0
        self.base = 0
        self.desc = self.avail = self.used = 0
        self.kick_fd = self.call_fd = self.err_fd = -1
        self.log_address = -1
        self.kicked = False
        self.enable: bool | None = None
        self.running = False
        self.user_addresses: tuple[int, int, int] | None = None
        self._record = RegionsRecord()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"vring {self.index} ({state}, {self.num} entries, base {self.base})"

    @property
    def regions(self) -> int:
        """Address of the ring's REGIONS record."""
        return self._record.address

    @property
    def memory(self) -> int:
        """Address of the table of the guest's memory."""
        return self._record.table.address

    def locate(self, regions: list[Region]) -> tuple[int, int, int]:
        """Return where descriptors, available and used ring lie in this process.

        Raises MalformedMessage when one is not whole inside one region, or not aligned.
        """
        if self.user_addresses is None:
            raise MalformedMessage(f"{self}: its addresses were not given", queue=self.index)
        parts = (
            ("descriptor table", desc_size(self.num), DESC_ALIGN),
            ("available ring", avail_size(self.num), AVAIL_ALIGN),
            ("used ring", used_size(self.num), USED_ALIGN),
        )
        found: list[int] = []
        for (what, size, align), address in zip(parts, self.user_addresses, strict=True):
            here = user_to_host(regions, address, size)
            if not here or here % align:
                problem = f"not aligned to {align}" if here else f"not inside one memory region with its {size} bytes"
                raise MalformedMessage(f"{self}: its {what} at {address:#x} is {problem}", queue=self.index)
            found.append(here)
        desc, avail, used = found
        return desc, avail, used

    def place(self, regions: list[Region]) -> None:
        """Take the places `locate` finds, and the regions for `translate`."""
        self.desc, self.avail, self.used = self.locate(regions)
        self._record.fill(regions)

    def displace(self) -> None:
        """Forget the places: the memory may go now."""
        self.desc = self.avail = self.used = 0
        self._record.fill([])

    def set_file(self, which: str, fd: int) -> None:
        """Replace `kick_fd`, `call_fd` or `err_fd`, closing the one before; the descriptor is the vring's now."""
        close_fd(getattr(self, which))
        setattr(self, which, fd)

    def forget(self) -> None:
        """Return to the state of a ring nothing was said about; closes its descriptors."""
        for which in ("kick_fd", "call_fd", "err_fd"):
            self.set_file(which, -1)
        self.num = self.base = 0
        self.log_address = -1
        self.kicked = False
        self.enable = None
        self.user_addresses = None
        self.displace()


def check_eventfd(fd: int) -> None:
    """Raise MalformedMessage unless the descriptor is an eventfd; make it non-blocking.

    Compiled code writes to it in a polling loop. A pipe or a socket that its owner filled would stop that loop.
    """
    try:
        kind = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        kind = _EVENTFD  # no /proc here: what cannot be asked is taken at its word
    if kind != _EVENTFD:
        raise MalformedMessage(f"a kick, call or error descriptor is {kind}, not an eventfd")
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
