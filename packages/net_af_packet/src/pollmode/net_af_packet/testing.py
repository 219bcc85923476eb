# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's side of the rings, in memory: a port of this driver without an interface and without root.

`KernelModel` is a host for `AfPacketDevice`. Frames are delivered to a queue and taken from it as the kernel does;
what a kernel never does can be done with `rx_header` and `tx_header`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pollmode.eal.memzone import array_at

from .layout import (
    RX_DATA,
    TP_STATUS_AVAILABLE,
    TP_STATUS_KERNEL,
    TP_STATUS_SEND_REQUEST,
    TP_STATUS_USER,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    TPACKET2_HDR,
    TX_DATA,
)
from .sockets import Geometry

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts

__all__ = ["KernelModel", "ModelInterface", "ModelRings"]

_FILLER = 0xA5


class ModelRings:
    """The rings of one queue pair. They hold 0xA5 wherever nobody wrote."""

    def __init__(self, geometry: Geometry, *, receive: bool, transmit: bool) -> None:
        self.geometry = geometry
        self._memory = np.full(2 * geometry.size, _FILLER, np.uint8)
        start = int(self._memory.ctypes.data)
        none = np.empty(0, np.int64)
        self.rx_frames = geometry.addresses(start) if receive else none
        self.tx_frames = geometry.addresses(start + geometry.size) if transmit else none
        for frame in (*self.rx_frames, *self.tx_frames):
            array_at(int(frame), TPACKET2_HDR)["status"] = TP_STATUS_KERNEL
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._theirs.setblocking(False)
        self._next_rx = self._next_tx = 0
        self.dropped = 0
        self.closed = False

    @property
    def fd(self) -> int:
        """What compiled code kicks."""
        return self._ours.fileno()

    def drops(self) -> int:
        """Return and forget how many packets found the ring full."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def kick(self) -> None:
        """Do nothing: the model sends when `take` is called."""

    def close(self) -> None:
        """Close the descriptors."""
        self._ours.close()
        self._theirs.close()
        self.closed = True

    def kicks(self) -> int:
        """Return and forget how often compiled code has kicked."""
        count = 0
        while True:
            try:
                self._theirs.recv(1)
            except BlockingIOError:
                return count
            count += 1

    def refuse_kicks(self) -> None:
        """Answer every kick from now on with an error, as an interface that is down does."""
        self._theirs.close()

    def rx_header(self, index: int) -> npt.NDArray[Any]:
        """Return the header of a received frame, writable."""
        return array_at(int(self.rx_frames[index]), TPACKET2_HDR)

    def tx_header(self, index: int) -> npt.NDArray[Any]:
        """Return the header of a frame to send, writable."""
        return array_at(int(self.tx_frames[index]), TPACKET2_HDR)

    def deliver(self, packet: bytes, *, tag: int | None = None, tpid: int = 0, status: int = 0) -> bool:
        """Receive a packet, with the VLAN tag that was taken out of it; returns False and counts when there is no room.

        A packet that is longer than the frame is cut short.
        """
        header = self.rx_header(self._next_rx)
        if header["status"][0] != TP_STATUS_KERNEL:
            self.dropped += 1
            return False
        kept = packet[: self.geometry.frame_size - RX_DATA]
        start = int(self.rx_frames[self._next_rx]) + RX_DATA
        array_at(start, np.uint8, len(kept))[:] = np.frombuffer(kept, np.uint8)
        header["len"], header["snaplen"], header["mac"] = len(packet), len(kept), RX_DATA
        if tag is not None:
            header["vlan_tci"], header["vlan_tpid"] = tag, tpid
            status |= TP_STATUS_VLAN_VALID | (TP_STATUS_VLAN_TPID_VALID if tpid else 0)
        header["status"] = status | TP_STATUS_USER
        self._next_rx = (self._next_rx + 1) % len(self.rx_frames)
        return True

    def take(self, most: int = 1 << 30) -> list[bytes]:
        """Send what was asked for, in order, at most so many packets; return them."""
        sent: list[bytes] = []
        while len(sent) < most:
            header = self.tx_header(self._next_tx)
            if header["status"][0] != TP_STATUS_SEND_REQUEST:
                break
            start = int(self.tx_frames[self._next_tx]) + TX_DATA
            sent.append(array_at(start, np.uint8, int(header["len"][0])).tobytes())
            header["status"] = TP_STATUS_AVAILABLE
            self._next_tx = (self._next_tx + 1) % len(self.tx_frames)
        return sent


class ModelInterface:
    """An interface whose state is what was set."""

    index = 7

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = bytes.fromhex("020000000007")
        self.is_up = True
        self.size = 1500
        self.modes: set[str] = set()
        self.further: set[bytes] = set()
        self.closed = False

    def mac(self) -> bytes:
        """Return the address."""
        return self.address

    def mtu(self) -> int:
        """Return the MTU."""
        return self.size

    def running(self) -> bool:
        """Tell whether it is up."""
        return self.is_up

    def speed(self) -> int | None:
        """Return 10 Gbps."""
        return 10000

    def set_mtu(self, mtu: int) -> None:
        """Set the MTU."""
        self.size = mtu

    def set_mac(self, mac: bytes) -> None:
        """Set the address."""
        self.address = mac

    def set_up(self, up: bool) -> None:
        """Take it up or down."""
        self.is_up = up

    def promiscuous(self, on: bool) -> None:
        """Note the mode."""
        (self.modes.add if on else self.modes.discard)("promiscuous")

    def all_multicast(self, on: bool) -> None:
        """Note the mode."""
        (self.modes.add if on else self.modes.discard)("all multicast")

    def also(self, mac: bytes, on: bool) -> None:
        """Note the address."""
        (self.further.add if on else self.further.discard)(mac)

    def close(self) -> None:
        """Note the end."""
        self.closed = True


class KernelModel:
    """A host with one interface, the rings that were opened on it, and the news of it in the caller's hands."""

    def __init__(self) -> None:
        self.device = ModelInterface("model0")
        self.opened: list[ModelRings] = []
        self.changed: Callable[[], None] = lambda: None
        self.gone: Callable[[], None] = lambda: None

    def interface(self, where: str, name: str) -> ModelInterface:
        """Return the interface, whatever it is called."""
        self.device.name = name
        return self.device

    def rings(
        self, where: str, index: int, geometry: Geometry, pairs: Sequence[tuple[bool, bool]], mode: int, bypass: bool
    ) -> list[ModelRings]:
        """Make rings in memory."""
        self.opened = [ModelRings(geometry, receive=receive, transmit=transmit) for receive, transmit in pairs]
        return self.opened

    def watch(
        self, where: str, index: int, interrupts: Interrupts, changed: Callable[[], None], gone: Callable[[], None]
    ) -> KernelModel:
        """Keep what is to be called on a change and on removal: `changed` and `gone`."""
        self.changed, self.gone = changed, gone
        return self

    def close(self) -> None:
        """End the watch."""
        self.changed = self.gone = lambda: None
