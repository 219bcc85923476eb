# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts of QEMU's devices as eventfds, without a thread that looks for them.

QEMU's ivshmem-doorbell device writes an eventfd for a store of peer << 16 | vector to its doorbell register. It gets
the eventfds of its peers from a server on a socket (QEMU docs/specs/ivshmem-spec.txt): we are that server. A message
interrupt is a store to any address: a NIC whose MSI-X table names that register and word raises our descriptor. Each
set of interrupts is a peer of its own, so that a late store of the set before raises nothing of it.

Refused: messages into memory that a thread looks at (it takes a core), INTx through the test channel (shared, slow).
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import time

from pollmode.bus_pci.qemu.channel import PATIENCE, Channel, Ended
from pollmode.eal.errors import HostError

__all__ = ["Bells"]

# QEMU docs/specs/ivshmem-spec.txt
_VERSION, _OWN_ID, _MEMORY = 0, 0, -1
_MEMORY_SIZE = 4096
_DOORBELL = 12
_VECTOR_BITS = 16
_MOST_PEERS = 65535


class Bells:
    """The server's side of the socket. `address` is the doorbell register's, once the device's BAR has one."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self.address = 0
        self._peers = itertools.count(_OWN_ID + 1)
        memory = os.memfd_create("pollmode-bells", os.MFD_CLOEXEC)
        os.ftruncate(memory, _MEMORY_SIZE)
        self._tell(_VERSION)
        self._tell(_OWN_ID)
        self._tell(_MEMORY, memory)
        os.close(memory)

    def place(self, bar: int) -> None:
        """Take note where the device's registers are."""
        self.address = bar + _DOORBELL

    def hang(self, channel: Channel, eventfds: list[int]) -> list[int]:
        """Have QEMU know these eventfds and return the words that raise each; from then on, when it returns.

        Raises Ended and HostError.
        """
        peer = next(self._peers)
        if peer > _MOST_PEERS:
            raise HostError("interrupts were set up 65535 times: QEMU counts no further")
        for fd in eventfds:
            self._tell(peer, fd)
        words = [peer << _VECTOR_BITS | vector for vector in range(len(eventfds))]
        self._await(channel, words[-1], eventfds[-1])
        return words

    def take_down(self, word: int) -> None:
        """Have QEMU forget the eventfds of the set that `word` is of."""
        self._tell(word >> _VECTOR_BITS)

    def close(self) -> None:
        """End the server."""
        self._ours.close()
        self.theirs.close()

    def _tell(self, number: int, fd: int | None = None) -> None:
        try:
            socket.send_fds(self._ours, [struct.pack("<q", number)], [] if fd is None else [fd])
        except OSError as error:
            raise Ended from error

    def _await(self, channel: Channel, word: int, fd: int) -> None:
        """Ring until it rings: QEMU takes the socket's messages in its own time."""
        end = time.monotonic() + PATIENCE
        while True:
            channel.read(f"writel {self.address:#x} {word:#x}", "endianness")
            if select.select([fd], [], [], 0.01)[0]:
                os.eventfd_read(fd)
                return
            if time.monotonic() > end:
                raise HostError("QEMU's ivshmem-doorbell device does not raise interrupts")
