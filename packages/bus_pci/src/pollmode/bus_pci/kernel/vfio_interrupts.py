# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts of VFIO as eventfds: MSI-X, MSI or INTx, and the kernel's wish to have the device back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from pollmode.bus_pci.access import Interrupt
from pollmode.bus_pci.eventfds import EventInterrupt
from pollmode.bus_pci.kernel.container import ask, filled
from pollmode.bus_pci.kernel.vfio_layout import (
    ACTION_MASK,
    ACTION_TRIGGER,
    ACTION_UNMASK,
    DEVICE_GET_IRQ_INFO,
    DEVICE_SET_IRQS,
    IRQ_INFO,
    IRQ_INTX,
    IRQ_MSI,
    IRQ_MSIX,
    IRQ_REQUEST,
    IRQ_SET,
    SET_EVENTFDS,
    SET_NOTHING,
)
from pollmode.eal import logs
from pollmode.eal.errors import HostError, UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts

__all__ = ["VfioInterrupts"]

log = logs.get("bus.pci")


class VfioInterrupts:
    """The interrupts of one device, `limit` at most. `lost()` is called when the kernel wants the device back."""

    def __init__(self, fd: int, name: str, thread: Interrupts, lost: Callable[[], None]) -> None:
        self._fd, self._name, self._thread, self._lost = fd, name, thread, lost
        self._kind, self.limit = next(
            ((kind, count) for kind in (IRQ_MSIX, IRQ_MSI, IRQ_INTX) if (count := self._count(kind))), (IRQ_INTX, 0)
        )
        self._held = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._taken: list[EventInterrupt] = []
        self._waiting: set[int] = set()
        self._request = -1
        try:
            self._watch_request()
        except BaseException:
            self.close()
            raise

    def take(self, count: int) -> list[Interrupt]:
        """Have the first `count` interrupts raise eventfds; 0 takes all away. Raises UnsupportedError and HostError."""
        if count > self.limit:
            raise UnsupportedError(f"{self._name} can have {self.limit} interrupts, not {count}")
        self._drop()
        if count == 0:
            return []
        hold = self._hold_level if self._kind == IRQ_INTX else self._hold_message
        self._taken = [
            EventInterrupt(lambda on, vector=vector: hold(vector, on), rearm=self._kind == IRQ_INTX)  # type: ignore[misc]
            for vector in range(count)
        ]
        try:
            self._set(SET_EVENTFDS | ACTION_TRIGGER, self._kind, 0, [interrupt.fd for interrupt in self._taken])
        except OSError as error:
            self._drop()
            told = f"{self._name}: {count} interrupts cannot be set up: {error.strerror}"
            raise HostError(told, errno=error.errno) from error
        return list(self._taken)

    def close(self) -> None:
        """Take all away."""
        self._drop()
        if self._request >= 0:
            self._thread.unregister(self._request)
            os.close(self._request)
        os.close(self._held)

    def _hold_level(self, vector: int, on: bool) -> None:
        self._set(SET_NOTHING | (ACTION_MASK if on else ACTION_UNMASK), IRQ_INTX, vector, [], 1)

    def _hold_message(self, vector: int, on: bool) -> None:
        """Hold a message back: VFIO masks none, so it goes to a descriptor that nobody waits for, and is passed on."""
        interrupt = self._taken[vector]
        if on:
            self._set(SET_EVENTFDS | ACTION_TRIGGER, self._kind, vector, [self._held])
            self._waiting.add(vector)
            return
        self._waiting.discard(vector)
        self._set(SET_EVENTFDS | ACTION_TRIGGER, self._kind, vector, [interrupt.fd])
        with contextlib.suppress(BlockingIOError):
            if os.eventfd_read(self._held):  # which of those that were held it was is not known: all learn of it
                for waiting in self._waiting | {vector}:
                    os.eventfd_write(self._taken[waiting].fd, 1)

    def _drop(self) -> None:
        if self._taken:
            with contextlib.suppress(OSError):  # the device may be gone
                self._set(SET_NOTHING | ACTION_TRIGGER, self._kind, 0, [])
        for interrupt in self._taken:
            interrupt.close()
        self._taken, self._waiting = [], set()

    def _watch_request(self) -> None:
        if not self._count(IRQ_REQUEST):
            return
        self._request = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set(SET_EVENTFDS | ACTION_TRIGGER, IRQ_REQUEST, 0, [self._request])
        self._thread.register(self._request, self._requested)

    def _requested(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._request)
        log.warning(f"{self._name}: the kernel wants the device back")
        self._lost()

    def _count(self, kind: int) -> int:
        try:
            return int(ask(self._fd, DEVICE_GET_IRQ_INFO, IRQ_INFO, filled(IRQ_INFO, index=kind))["count"])
        except OSError:
            return 0

    def _set(self, flags: int, kind: int, start: int, fds: list[int], count: int | None = None) -> None:
        words = filled(IRQ_SET, 4 * len(fds), flags=flags, index=kind, start=start, count=count or len(fds))
        struct.pack_into(f"{len(fds)}i", words, IRQ_SET.itemsize, *fds)
        fcntl.ioctl(self._fd, DEVICE_SET_IRQS, words)
