# SPDX-License-Identifier: BSD-3-Clause
"""Packet sockets with mapped rings, one a queue pair (packet_mmap, "How to use mmap() directly").

The sockets of one port share what arrives (PACKET_FANOUT). They exist only while the port is started: a stopped port
receives nothing, and the kernel fills no ring that nobody reads.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pollmode.eal import libc
from pollmode.eal.errors import HostError

from .interface import open_packet_socket
from .layout import (
    ETH_P_ALL,
    FANOUT_FLAG_ROLLOVER,
    FANOUT_FLAG_UNIQUEID,
    FANOUT_ID_MASK,
    FANOUT_MODE_SHIFT,
    FANOUT_MODES,
    PACKET_FANOUT,
    PACKET_IGNORE_OUTGOING,
    PACKET_LOSS,
    PACKET_QDISC_BYPASS,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_TX_RING,
    PACKET_VERSION,
    SOL_PACKET,
    TPACKET_REQ,
    TPACKET_STATS,
    TPACKET_V2,
)

__all__ = ["Geometry", "PacketSocket", "open_sockets"]

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# linux/filter.h: one instruction, BPF_RET | BPF_K, 0 bytes: nothing passes.
_PASS_NOTHING = np.array([0x06], np.uint64)


@dataclass(frozen=True)
class Geometry:
    """The sizes of a ring: bytes of a block and of a frame, and frames; a frame lies within one block."""

    block_size: int
    frame_size: int
    frames: int

    @property
    def frames_per_block(self) -> int:
        """Frames that one block holds."""
        return self.block_size // self.frame_size

    @property
    def blocks(self) -> int:
        """Blocks of a ring."""
        return self.frames // self.frames_per_block

    @property
    def size(self) -> int:
        """Bytes of a ring."""
        return self.block_size * self.blocks

    def request(self) -> bytes:
        """Return the kernel's struct tpacket_req."""
        return np.array([(self.block_size, self.blocks, self.frame_size, self.frames)], TPACKET_REQ).tobytes()

    def addresses(self, ring: int) -> npt.NDArray[np.int64]:
        """Return the address of each frame of the ring that is mapped at `ring`."""
        blocks = ring + self.block_size * np.arange(self.blocks, dtype=np.int64)
        within = self.frame_size * np.arange(self.frames_per_block, dtype=np.int64)
        return np.ascontiguousarray((blocks[:, None] + within[None, :]).ravel())


class PacketSocket:
    """One socket with a ring for each direction that its queue pair has.

    `rx_frames` and `tx_frames` are the addresses of the frames, empty for a direction that is not there. Raises
    HostError for what the kernel refuses.
    """

    def __init__(self, where: str, geometry: Geometry, *, receive: bool, transmit: bool, qdisc_bypass: bool) -> None:
        self._where = where
        self._size = geometry.size * (receive + transmit)
        self._map = 0
        self.socket = open_packet_socket(where)
        try:
            self._set("PACKET_VERSION", PACKET_VERSION, TPACKET_V2)
            # A packet that the kernel finds wrong is skipped, instead of blocking the ring for good.
            self._set("PACKET_LOSS", PACKET_LOSS, 1)
            self._set("PACKET_IGNORE_OUTGOING", PACKET_IGNORE_OUTGOING, 1)
            if qdisc_bypass:
                self._set("PACKET_QDISC_BYPASS", PACKET_QDISC_BYPASS, 1)
            if receive:
                self._set("PACKET_RX_RING", PACKET_RX_RING, geometry.request())
            if transmit:
                self._set("PACKET_TX_RING", PACKET_TX_RING, geometry.request())
            self._map = self._mapped()
        except BaseException:
            self.close()
            raise
        none = np.empty(0, np.int64)
        # packet_mmap: the receive ring is mapped first.
        self.rx_frames = geometry.addresses(self._map) if receive else none
        self.tx_frames = geometry.addresses(self._map + geometry.size * receive) if transmit else none

    @property
    def fd(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def bind(self, interface: int, *, receive: bool) -> None:
        """Tie the socket to an interface, closed to packets until `pass_packets`."""
        filter_words = struct.pack("HP", 1, _PASS_NOTHING.ctypes.data)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_words)
        name = _name_of(interface)
        try:
            if name is None:
                raise OSError(errno.ENODEV, "it is gone")
            self.socket.bind((name, ETH_P_ALL if receive else 0))
        except OSError as error:
            raise self._refused(f"bind to interface {name or interface}", error) from None

    def join(self, mode: int, group: int | None) -> int:
        """Share packets with the other sockets of a fanout group, a new one for None; returns its number."""
        flags = FANOUT_FLAG_UNIQUEID if group is None else 0
        if mode != FANOUT_MODES["rollover"]:  # a flag beside every other mode (packet(7))
            flags |= FANOUT_FLAG_ROLLOVER
        try:
            word = (mode | flags) << FANOUT_MODE_SHIFT | (group or 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("I", word))
            return self.socket.getsockopt(SOL_PACKET, PACKET_FANOUT) & FANOUT_ID_MASK
        except OSError as error:
            raise self._refused("join the fanout group (PACKET_FANOUT); is the interface up?", error) from None

    def pass_packets(self) -> None:
        """Let packets come."""
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def drops(self) -> int:
        """Return how many packets found the ring full since the last call."""
        answer = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, TPACKET_STATS.itemsize)
        return int(np.frombuffer(answer, TPACKET_STATS)["drops"][0])

    def kick(self) -> None:
        """Have the kernel try again to send what is in the ring."""
        self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # told once that the interface went down
        try:
            self.socket.send(b"", socket.MSG_DONTWAIT)
        except OSError:  # down or gone: the packets stay
            pass

    def close(self) -> None:
        """Unmap and close."""
        if self._map:
            libc.unmap(self._map, self._size)
            self._map = 0
        self.socket.close()

    def _set(self, name: str, option: int, value: int | bytes) -> None:
        try:
            self.socket.setsockopt(SOL_PACKET, option, value)
        except OSError as error:
            raise self._refused(f"set {name}", error) from None

    def _mapped(self) -> int:
        try:
            return libc.map_shared(self.fd, self._size)
        except OSError as error:
            raise self._refused(f"map rings of {self._size} bytes", error) from None

    def _refused(self, action: str, error: OSError) -> HostError:
        mend = "ask for smaller rings: framecnt, framesz, qpairs" if error.errno == errno.ENOMEM else None
        return HostError(f"{self._where}: cannot {action}: {error.strerror}", mend=mend, errno=error.errno)


def open_sockets(
    where: str, interface: int, geometry: Geometry, directions: Sequence[tuple[bool, bool]], mode: int, bypass: bool
) -> list[PacketSocket]:
    """Open one socket for each pair (receive, transmit) of `directions`, bound to the interface and open to packets.

    Each packet reaches one of the sockets that receive: they pass none until all of them share. Raises HostError.
    """
    made: list[PacketSocket] = []
    try:
        for receive, transmit in directions:
            made.append(PacketSocket(where, geometry, receive=receive, transmit=transmit, qdisc_bypass=bypass))
            made[-1].bind(interface, receive=receive)
        receivers = [each for each, (receive, _) in zip(made, directions, strict=True) if receive]
        group: int | None = None
        for each in receivers if len(receivers) > 1 else []:
            group = each.join(mode, group)
        for each in receivers:
            each.pass_packets()
    except BaseException:
        for each in made:
            each.close()
        raise
    return made


def _name_of(interface: int) -> str | None:
    try:
        return socket.if_indextoname(interface)
    except OSError:
        return None
