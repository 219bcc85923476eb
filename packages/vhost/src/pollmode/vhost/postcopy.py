# SPDX-License-Identifier: BSD-3-Clause
"""Post-copy migration, the back end's half: a guest that runs here while its pages still arrive.

The front end asks for a userfaultfd of ours (ADVISE), then tells the memory (LISTEN, SET_MEM_TABLE). It is told where
we mapped the memory, says that it is ready, and from then on a thread of ours that touches a page that has not arrived
sleeps until the front end has filled and woken it. END, or the end of the session, lets every thread go on.

Who waits is an lcore in a ring, or the thread that serves the session while a ring starts or stops. The latter may hold
up other sessions, so a message that takes longer than `PAGE_SECONDS` ends its session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pollmode.eal import logs
from pollmode.eal.errors import HostError
from pollmode.eal.userfault import Userfault
from pollmode.vhost.connection import Message
from pollmode.vhost.faults import MalformedMessage, PeerTimeout, RefusedMessage
from pollmode.vhost.mapping import MappedRegion, map_table, unmap
from pollmode.vhost.messages import U64, Request, pack_table, request_name, unpack_table

if TYPE_CHECKING:
    from pollmode.vhost.session import Session

__all__ = ["PAGE_SECONDS", "POSTCOPY_HANDLERS", "PostCopy", "set_mem_table"]

PAGE_SECONDS = 10.0
"""How long the thread that serves a session may wait for its pages."""

log = logs.get("lib.vhost.config")


class PostCopy:
    """What a session knows of a post-copy migration. `release` may be called from any thread."""

    def __init__(self) -> None:
        self.listening = False
        self.told: list[MappedRegion] | None = None  # mapped, told to the front end, not agreed to yet
        self._faults: Userfault | None = None
        self._watched: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    @property
    def advised(self) -> bool:
        """Whether the front end has our userfaultfd."""
        return self._faults is not None

    def advise(self) -> int:
        """Make the userfaultfd; return its descriptor, which stays ours. Raises HostError."""
        faults = Userfault()
        with self._lock:
            self._faults = faults
        return faults.fileno()

    def watch(self, regions: Sequence[MappedRegion]) -> None:
        """Have the faults on these regions told from now on, and no others. Raises HostError."""
        ranges = [region.file.pages for region in regions] if self.listening else []
        with self._lock:
            faults = self._faults
            if faults is None:
                return
            for gone in set(self._watched) - set(ranges):
                faults.unwatch(*gone)
                self._watched.remove(gone)
            for new in set(ranges) - set(self._watched):
                faults.watch(*new)
                self._watched.append(new)

    def release(self) -> None:
        """End it: whoever waits for a page goes on. The front end's copy of the descriptor is worth nothing more."""
        with self._lock:
            faults, self._faults = self._faults, None
            watched, self._watched = self._watched, []
        self.listening = False
        if faults is not None:
            for pages in watched:
                faults.unwatch(*pages)
            faults.close()

    def close(self) -> None:
        """Release, and unmap what was not agreed to."""
        self.release()
        told, self.told = self.told, None
        unmap(told or [])

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Serve a message; raises PeerTimeout when pages that did not come held it up for `PAGE_SECONDS`."""
        if not self.listening:
            yield
            return
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.release()

        timer = threading.Timer(PAGE_SECONDS, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if late.is_set():
            raise PeerTimeout(f"pages of the front end's memory did not come within {PAGE_SECONDS:g} s")

    def check(self, message: Message) -> None:
        """Raise MalformedMessage for anything but the agreement, while the front end owes that."""
        if self.told is not None and message.request != Request.SET_MEM_TABLE:
            name = request_name(message.request)
            raise MalformedMessage(f"{name} before the front end agreed to where its memory is mapped")


# --- handlers ---------------------------------------------------------------------------------------------------------


def _advise(session: Session, message: Message) -> tuple[bytes, Sequence[int]]:
    if session.postcopy.advised:
        raise MalformedMessage("a second post-copy before the first has ended")
    try:
        return b"", [session.postcopy.advise()]
    except HostError as error:
        raise RefusedMessage(f"post-copy is not possible: {error}") from error


def _listen(session: Session, message: Message) -> None:
    if not session.postcopy.advised:
        raise MalformedMessage("post-copy without its announcement (POSTCOPY_ADVISE)")
    if session.memory:
        raise MalformedMessage("post-copy for memory that was shared before (SET_MEM_TABLE before POSTCOPY_LISTEN)")
    session.postcopy.listening = True


def _end(session: Session, message: Message) -> bytes:
    session.postcopy.release()
    log.info(f"{session.name}: post-copy has ended, all memory is here")
    return U64.pack(0)


def set_mem_table(session: Session, message: Message) -> bytes | None:
    """SET_MEM_TABLE while listening: map and tell where, then, at the front end's word, watch and use it."""
    told, session.postcopy.told = session.postcopy.told, None
    if told is None:
        mapped = map_table(unpack_table(message.payload), message.fds)
        session.postcopy.told = mapped
        return pack_table([replace(region.entry, user_address=region.file.address) for region in mapped])
    if message.fds or any(message.payload):
        unmap(told)
        raise MalformedMessage("the front end does not agree to where its memory is mapped")
    try:
        session.stop_rings()
    finally:
        session.replace_memory(told)
    session.start_rings()
    return None


POSTCOPY_HANDLERS: dict[int, Callable[[Session, Message], bytes | tuple[bytes, Sequence[int]] | None]] = {
    Request.POSTCOPY_ADVISE: _advise,
    Request.POSTCOPY_LISTEN: _listen,
    Request.POSTCOPY_END: _end,
}
