# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong with a vhost-user peer, by what is done about it."""

from __future__ import annotations

import errno

from pollmode.eal.errors import DeviceFault, HostError, UnsupportedError

__all__ = ["MalformedMessage", "PeerGone", "PeerTimeout", "RefusedMessage", "WaitInterrupted"]


class MalformedMessage(DeviceFault):
    """The peer broke the protocol: its connection is closed."""


class RefusedMessage(UnsupportedError):
    """A well-formed request that is not granted: answered "no" where the peer asked for an answer, else closed."""


class PeerGone(HostError):
    """The peer closed its end, or its end went away."""

    errno = errno.EPIPE


class PeerTimeout(HostError):
    """The peer did not answer, or did not read what it was sent, within the time limit."""

    errno = errno.ETIMEDOUT


class WaitInterrupted(HostError):
    """The application was asked to end while it waited for the peer."""

    errno = errno.EINTR
