# SPDX-License-Identifier: BSD-3-Clause
"""The faults of a port: collected by whoever polls, forgotten by whoever heals, in different threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pollmode.eal.errors import DeviceFault

__all__ = ["Faults"]


class Faults:
    """Faults that were found and not healed yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._healings = 0  # begun and ended ones: odd while one is going on
        self._present: tuple[DeviceFault, ...] = ()

    @property
    def present(self) -> tuple[DeviceFault, ...]:
        """The faults, oldest first."""
        return self._present

    def collect(self, ask: Callable[[], list[DeviceFault]]) -> list[DeviceFault]:
        """Ask the device and return the faults that are new.

        A fault that the device tells no longer went with its peer: it is forgotten, and new when it comes back. An
        answer is dropped when a healing began since it was asked for: it may be about what is no longer so.
        """
        before = self._healings
        found = ask()
        with self._lock:
            if before != self._healings or before % 2:
                return []
            known = {(fault.queue, str(fault)) for fault in self._present}
            new = [fault for fault in found if (fault.queue, str(fault)) not in known]
            told = {(fault.queue, str(fault)) for fault in found}
            kept = [fault for fault in self._present if (fault.queue, str(fault)) in told]
            self._present = (*kept, *new)
            return new

    @contextmanager
    def healing(self) -> Iterator[None]:
        """Forget the faults while and after the device heals them."""
        self._count()
        try:
            yield
        finally:
            self._count()

    def _count(self) -> None:
        with self._lock:
            self._healings += 1
            self._present = ()
