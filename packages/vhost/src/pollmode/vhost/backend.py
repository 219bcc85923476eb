# SPDX-License-Identifier: BSD-3-Clause
"""What a driver implements to be the back end of a vhost-user front end.

A `Session` (session.py) speaks the protocol and calls these methods; a driver offers features and moves packets. All
are called on the thread that serves the session (normally the interrupt thread), one at a time.

The promise a driver relies on: between `on_vring_ready(vring)` and the return of `on_vring_stopped(vring)` the ring's
addresses are mapped, its descriptors are open and nothing in the vring changes, except as `on_vring_file` tells. The
promise a driver gives: when `on_vring_stopped` returns, no thread of its uses the ring any more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pollmode.vhost.messages import Protocol
from pollmode.vhost.virtqueue import VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1, features

if TYPE_CHECKING:
    from pollmode.vhost.session import Session
    from pollmode.vhost.vring import Vring

__all__ = ["DEFAULT_PROTOCOL_FEATURES", "Backend"]

DEFAULT_PROTOCOL_FEATURES = features(
    Protocol.MQ,
    Protocol.RARP,
    Protocol.REPLY_ACK,
    Protocol.NET_MTU,
    Protocol.BACKEND_REQ,
    Protocol.RESET_DEVICE,
    Protocol.CONFIGURE_MEM_SLOTS,
    Protocol.STATUS,
)


class Backend:
    """The owner of a session; a driver derives from it and overrides what it cares about.

    `name` stands in log lines, `features` are the virtio feature bits on offer, `queue_pairs` how many pairs a front
    end may use (1 to 128).
    """

    name: str = "vhost"
    features: int = features(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES)
    protocol_features: int = DEFAULT_PROTOCOL_FEATURES
    queue_pairs: int = 1

    def preparation(self, session: Session, features: int) -> Callable[[], None] | None:
        """Return what has to be compiled before running rings take these features; it is called in another thread.

        The rings run on with the old ones meanwhile, and the front end waits. None when it takes no time.
        """
        return None

    def on_features(self, session: Session, features: int) -> None:
        """The front end chose its features; no ring runs before this, and none runs while it is called."""

    def on_vring_ready(self, session: Session, vring: Vring) -> None:
        """A ring may be used from now on."""

    def on_vring_file(self, session: Session, vring: Vring) -> None:
        """A ring that runs, and goes on, has another kick, call or error descriptor, or none. Called `paused`."""

    def on_vring_stopped(self, session: Session, vring: Vring) -> int:
        """Stop using a ring and return the available index that comes next (`base` for who continues).

        Called before its memory goes, or anything about it changes but its descriptors.
        """
        return vring.base

    def paused(self, session: Session) -> AbstractContextManager[None]:
        """Keep every thread of the driver's out of all rings within this context; they run on behind it.

        For what changes under running rings: the translations of an IOMMU, descriptors.
        """
        return nullcontext()

    def on_translations(self, session: Session) -> None:
        """The front end told translations (`session.iotlb`): a ring that waits for one may go on. Called `paused`.

        A driver that offers VIRTIO_F_IOMMU_PLATFORM asks for what is missing with `iotlb.ask`.
        """

    def on_mtu(self, session: Session, mtu: int) -> bool:
        """The front end announces its MTU, 68 to 65535; False refuses it."""
        return True

    def on_rarp(self, session: Session, mac: bytes) -> None:
        """A guest that migrated here asks for a RARP frame with this address to be sent to the network."""

    def on_status(self, session: Session, status: int) -> None:
        """The front end's driver set its device status."""

    def on_closed(self, session: Session, reason: str) -> None:
        """The session is over: every ring was stopped, all memory is unmapped, all descriptors are closed."""
