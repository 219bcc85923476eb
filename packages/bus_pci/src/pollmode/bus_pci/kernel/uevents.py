# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's word that a device went away: uevents on netlink (Linux lib/kobject_uevent.c)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pollmode.bus_pci.address import PciAddress
from pollmode.eal import logs
from pollmode.eal.errors import ConfigError

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts

__all__ = ["Uevents", "removed_address"]

log = logs.get("bus.pci")

_NETLINK_KOBJECT_UEVENT = 15  # linux/netlink.h
_FROM_KERNEL = 1  # the multicast group
_LONGEST = 8192
_BUFFER = 1 << 20


def removed_address(message: bytes) -> PciAddress | None:
    """Return the address of the PCI device that a uevent says was removed."""
    words = dict(word.split(b"=", 1) for word in message.split(b"\0") if b"=" in word)
    if words.get(b"ACTION") != b"remove" or words.get(b"SUBSYSTEM") != b"pci":
        return None
    try:
        return PciAddress.parse(words.get(b"PCI_SLOT_NAME", b"").decode(errors="replace"))
    except ConfigError:
        return None


class Uevents:
    """Listens in the interrupt thread; `removed(address)` is called for each PCI device that goes."""

    def __init__(self, thread: Interrupts, removed: Callable[[PciAddress], None]) -> None:
        self._thread, self._removed = thread, removed
        self._socket: socket.socket | None = None
        try:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_KOBJECT_UEVENT)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            made.bind((0, _FROM_KERNEL))
        except OSError as error:  # in some containers
            log.info(f"the kernel does not tell when a device is unplugged: {error.strerror}")
            return
        self._socket = made
        thread.register(made.fileno(), self._read)

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._thread.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nothing there, or more than the buffer holds
            while self._socket is not None:
                message, sender = self._socket.recvfrom(_LONGEST)
                if sender[0] == 0 and (address := removed_address(message)) is not None:  # 0: from the kernel itself
                    self._removed(address)
