# SPDX-License-Identifier: BSD-3-Clause
"""The back end's view of one vring: what the front end said about it, and whether it may run."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pollmode.vhost.connection import close_fd
from pollmode.vhost.faults import MalformedMessage
from pollmode.vhost.memory import (
    ACCESS_BOTH,
    ACCESS_READ,
    ACCESS_WRITE,
    ADDRESS_LIMIT,
    Region,
    RegionsRecord,
    user_to_host,
)
from pollmode.vhost.virtqueue import (
    AVAIL_ALIGN,
    DESC_ALIGN,
    USED_ALIGN,
    avail_size,
    desc_size,
    used_size,
)

if TYPE_CHECKING:
    from pollmode.vhost.iotlb import Iotlb

__all__ = ["Vring", "check_eventfd"]

_EVENTFD = "anon_inode:[eventfd]"


class Vring:
    """One ring. A driver reads it in `on_vring_ready`; everything in it stays as it is until `on_vring_stopped`.

    - `index`: even rings carry packets to the front end, odd ones from it; rings 2i and 2i+1 are pair i
    - `num`: entries; `base`: the available index to begin with
    - `desc`, `avail`, `used`: addresses in this process, 0 while the ring is stopped
    - `kick_fd`, `call_fd`, `err_fd`: eventfds of the front end, -1 when there is none; the session owns them
    - `regions`: address of this ring's own REGIONS record, for `translate`; behind an IOMMU it has the IOTLB's ranges
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

    def forget_hit(self) -> None:
        """Have the next translation search the table, which changed. Only while no thread uses the ring."""
        self._record.forget_hit()

    def _parts(self) -> list[tuple[str, int, int, int, int]]:
        """What each part is, its address as the front end names it, its size, alignment, and what we do there."""
        if self.user_addresses is None:
            raise MalformedMessage(f"{self}: its addresses were not given", queue=self.index)
        desc, avail, used = self.user_addresses
        return [
            ("descriptor table", desc, desc_size(self.num), DESC_ALIGN, ACCESS_READ),
            ("available ring", avail, avail_size(self.num), AVAIL_ALIGN, ACCESS_READ),
            ("used ring", used, used_size(self.num), USED_ALIGN, ACCESS_BOTH),
        ]

    def lies_in(self, start: int, end: int) -> bool:
        """Tell whether a part of the ring lies in these I/O virtual addresses, `end` excluded."""
        if self.user_addresses is None:
            return False
        return any(address < end and start < address + size for _, address, size, _, _ in self._parts())

    def locate(self, regions: list[Region], iotlb: Iotlb | None = None) -> tuple[int, int, int]:
        """Return where descriptors, available and used ring lie in this process.

        With an `iotlb` their addresses are I/O virtual ones, else the front end's own. Raises MalformedMessage when one
        is not whole inside one region, or not aligned; Unknown for one that the front end has to translate first.
        """
        found: list[int] = []
        for what, address, size, align, access in self._parts():
            if iotlb is None:
                here = user_to_host(regions, address, size)
            else:
                here = iotlb.host(address, size, access) if address + size <= ADDRESS_LIMIT else 0
            if not here or here % align:
                problem = f"not aligned to {align}" if here else f"not inside one memory region with its {size} bytes"
                raise MalformedMessage(f"{self}: its {what} at {address:#x} is {problem}", queue=self.index)
            found.append(here)
        desc, avail, used = found
        return desc, avail, used

    def place(self, regions: list[Region], iotlb: Iotlb | None = None) -> None:
        """Take the places `locate` finds, and the regions, or the IOTLB, for `translate`."""
        self.desc, self.avail, self.used = self.locate(regions, iotlb)
        self._record.fill(regions)
        if iotlb is not None:
            self._record.use(iotlb.table, ACCESS_READ if self.index % 2 else ACCESS_WRITE)

    def displace(self) -> None:
        """Forget the places: the memory may go now."""
        self.desc = self.avail = self.used = 0
        self._record.fill([])

    def set_file(self, which: str, fd: int) -> None:
        """Replace `kick_fd`, `call_fd` or `err_fd`, closing the one before; the descriptor is the vring's now."""
        close_fd(getattr(self, which))
        setattr(self, which, fd)

    def lose_call(self) -> None:
        """Put a sink in the place of `call_fd`: a thread that still writes to it harms nobody. The number is lost."""
        if self.call_fd >= 0:
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), self.call_fd, inheritable=False)
            self.call_fd = -1

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
