# SPDX-License-Identifier: BSD-3-Clause
"""The front end's side of the channel on which a back end makes requests of its own."""

from __future__ import annotations

import socket

from pollmode.eal.errors import PollmodeError
from pollmode.vhost.connection import Connection
from pollmode.vhost.faults import MalformedMessage
from pollmode.vhost.messages import FLAG_NEED_REPLY, REPLY_FLAGS, U64, VERSION, BackendRequest

__all__ = ["BackendRequests"]


class BackendRequests:
    """The channel on which the back end asks something of us; readable when it does."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.name = name
        self._connection = Connection(sock, self._check_header)

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 once closed."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()

    def receive(self) -> bool:
        """Read one request; True when it says that the device's configuration changed, False when none is there.

        A request for something that is not supported is refused. Raises PeerGone or MalformedMessage; the channel is
        closed then.
        """
        try:
            message = self._connection.receive()
            if message is None:
                return False
            with message:
                changed = message.request == BackendRequest.CONFIG_CHANGE_MSG
                if message.flags & FLAG_NEED_REPLY:
                    self._connection.send(message.request, REPLY_FLAGS, U64.pack(0 if changed else 1))
                return changed
        except PollmodeError:
            self.close()
            raise

    def _check_header(self, request: int, flags: int, size: int) -> None:
        known = [int(kind) for kind in BackendRequest]
        if request not in known or flags & ~(VERSION | FLAG_NEED_REPLY):
            raise MalformedMessage(
                f"{self.name}: the back end asks {request} (flags {flags:#x}): unknown", word=request
            )
