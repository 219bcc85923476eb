# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts that are eventfds: those of VFIO and of a QEMU process, and of the fake."""

from __future__ import annotations

import os
from collections.abc import Callable

from pollmode.bus_pci.access import Interrupt

__all__ = ["EventInterrupt"]


class EventInterrupt(Interrupt):
    """An eventfd. `hold(True)` masks the interrupt at its source, `hold(False)` unmasks it.

    `rearm`: the source masks it by itself each time it is raised, so `acknowledge` unmasks it (a level: INTx).
    """

    def __init__(self, hold: Callable[[bool], None], *, rearm: bool = False) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._hold = hold
        self._rearm = rearm
        self._masked = False

    def acknowledge(self) -> int:
        """Take what was raised."""
        try:
            count = os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0
        if self._rearm and not self._masked:
            self._hold(False)
        return count

    def mask(self) -> None:
        """Hold back what comes."""
        self._masked = True
        self._hold(True)

    def unmask(self) -> None:
        """Let it through, and what was held back."""
        self._masked = False
        self._hold(False)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
