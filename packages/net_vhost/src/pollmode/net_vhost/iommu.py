# SPDX-License-Identifier: BSD-3-Clause
"""Queues behind an IOMMU: what happens when a callback meets an address that nobody has translated yet.

The callback notes the address in its queue's record, writes an eventfd and does nothing more. The interrupt thread asks
the front end, once. Whatever translation comes, queues whose address it brings go on where they were.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from pollmode.eal.errors import HostError
from pollmode.vhost.iotlb import Iotlb, ask, tell_access_failure
from pollmode.vhost.patience import Loop
from pollmode.vhost.session import Session

from .queue import Queue

__all__ = ["Misses"]


class Misses:
    """The eventfd `fd` by which the queues of a device say that an address is missing, or may not be used so.

    `session()` is the present one. Raises HostError when the process may have no more descriptors.
    """

    def __init__(self, loop: Loop, queues: Iterable[Queue], session: Callable[[], Session | None]) -> None:
        try:
            self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            raise HostError(f"no eventfd: {error.strerror}", mend="raise ulimit -n", errno=error.errno) from None
        self._loop = loop
        self._queues = list(queues)
        self._session = session
        loop.register(self.fd, self._told)

    def _told(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        session = self._session()
        if session is None:
            return
        for queue in self._queues:
            missing = queue.missing()
            if missing is not None:
                ask(session, *missing)
            denied = queue.take_denied()
            if denied is not None:
                tell_access_failure(session, *denied)

    def resume(self, iotlb: Iotlb) -> None:
        """Let those queues go on whose missing address is known now. No lcore may be inside their callbacks.

        One whose translation allows too little goes on too: its callback sees that, and breaks the queue.
        """
        for queue in self._queues:
            missing = queue.missing()
            if missing is not None and iotlb.knows(missing[0]):
                queue.resume()

    def close(self) -> None:
        """Close the eventfd; no callback may run any more."""
        self._loop.unregister(self.fd)
        os.close(self.fd)
