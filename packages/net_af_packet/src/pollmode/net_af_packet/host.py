# SPDX-License-Identifier: BSD-3-Clause
"""What the driver needs of the machine, and Linux as what gives it; `testing.KernelModel` gives it without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .interface import Interface
from .sockets import Geometry, open_sockets
from .watch import LinkWatch

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts

__all__ = ["Host", "Linux", "NetworkInterface", "Rings", "Watch"]


class Rings(Protocol):
    """The rings of one queue pair; see `sockets.PacketSocket`."""

    rx_frames: npt.NDArray[np.int64]
    tx_frames: npt.NDArray[np.int64]

    @property
    def fd(self) -> int:
        """The descriptor that compiled code sends an empty message on to have the ring sent."""

    def drops(self) -> int:
        """Return the packets that found the ring full since the last call."""

    def kick(self) -> None:
        """Send what is in the ring."""

    def close(self) -> None:
        """Let go of the rings."""


class NetworkInterface(Protocol):
    """One interface; see `interface.Interface`."""

    index: int

    @property
    def name(self) -> str:
        """Its present name."""

    def mac(self) -> bytes:
        """Return its address."""

    def mtu(self) -> int:
        """Return its MTU."""

    def running(self) -> bool:
        """Tell whether it is up and has a carrier."""

    def speed(self) -> int | None:
        """Return its speed in Mbps, None when unknown."""

    def set_mtu(self, mtu: int) -> None:
        """Set its MTU."""

    def set_mac(self, mac: bytes) -> None:
        """Set its address."""

    def set_up(self, up: bool) -> None:
        """Take it up or down."""

    def promiscuous(self, on: bool) -> None:
        """Receive frames for any address."""

    def all_multicast(self, on: bool) -> None:
        """Receive every multicast frame."""

    def also(self, mac: bytes, on: bool) -> None:
        """Receive frames for a further address."""

    def close(self) -> None:
        """Let go of it."""


class Watch(Protocol):
    """Tells of changes until it is closed; see `watch.LinkWatch`."""

    def close(self) -> None:
        """Tell no more."""


class Host(Protocol):
    """Where interfaces, rings and news of them come from. Each method raises HostError or ConfigError."""

    def interface(self, where: str, name: str) -> NetworkInterface:
        """Open an interface; `where` opens error messages."""

    def rings(
        self, where: str, index: int, geometry: Geometry, pairs: Sequence[tuple[bool, bool]], mode: int, bypass: bool
    ) -> Sequence[Rings]:
        """Open the rings of queue pairs (receive, transmit) on the interface of that index."""

    def watch(
        self, where: str, index: int, interrupts: Interrupts, changed: Callable[[], None], gone: Callable[[], None]
    ) -> Watch:
        """Have changes of the interface told, in the interrupt thread."""


class Linux:
    """The machine itself."""

    interface = staticmethod(Interface)
    rings = staticmethod(open_sockets)
    watch = staticmethod(LinkWatch)
