# SPDX-License-Identifier: BSD-3-Clause
"""Word of what happens to an interface, as the kernel sends it (rtnetlink(7)).

Only that something happened to it is taken from the messages, and whether it is gone; its state is asked for by
whoever is told. So a message that was lost (ENOBUFS) costs nothing: it counts as a change.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pollmode.eal.errors import HostError

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts

__all__ = ["LinkWatch", "events"]

_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_NLMSGHDR = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_ALIGN = 4
_MOST = 1 << 16
_FROM_KERNEL = 0


def events(data: bytes, index: int) -> Iterator[bool]:
    """Return what netlink messages say of interface `index`: for each, whether it is gone.

    A message that is cut short or says a false length ends them.
    """
    at = 0
    while at + _NLMSGHDR.size <= len(data):
        length, kind, *_ = _NLMSGHDR.unpack_from(data, at)
        if length < _NLMSGHDR.size or at + length > len(data):
            return
        if kind in (_RTM_NEWLINK, _RTM_DELLINK) and length >= _NLMSGHDR.size + _IFINFOMSG.size:
            family, _, number, *_ = _IFINFOMSG.unpack_from(data, at + _NLMSGHDR.size)
            # A bridge tells of its own ports in its own family.
            if number == index and family == socket.AF_UNSPEC:
                yield kind == _RTM_DELLINK
        at += -(-length // _ALIGN) * _ALIGN


class LinkWatch:
    """Calls `changed()` in the interrupt thread when something happened to an interface, `gone()` when it was removed.

    Raises HostError when there can be no netlink socket.
    """

    def __init__(
        self, where: str, index: int, interrupts: Interrupts, changed: Callable[[], None], gone: Callable[[], None]
    ) -> None:
        self._index = index
        self._interrupts = interrupts
        self._changed, self._gone = changed, gone
        flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            self._socket = socket.socket(socket.AF_NETLINK, flags, socket.NETLINK_ROUTE)
            self._socket.bind((0, _RTMGRP_LINK))
        except OSError as error:
            raise HostError(f"{where}: no netlink socket: {error.strerror}", errno=error.errno) from None
        interrupts.register(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Call nothing any more, also when it is being called right now."""
        self._interrupts.unregister(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        try:
            data, sender = self._socket.recvfrom(_MOST)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EAGAIN):
                raise
            if error.errno == errno.ENOBUFS:
                self._lost()
            return
        if sender[0] != _FROM_KERNEL:
            return
        for gone in events(data, self._index):
            if gone:
                self._gone()
            else:
                self._changed()

    def _lost(self) -> None:
        try:
            socket.if_indextoname(self._index)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                self._gone()
        else:
            self._changed()
