# SPDX-License-Identifier: BSD-3-Clause
"""One network interface of the kernel: its state, settings and address, by ioctls (netdevice(7)).

It is held by its index, as packet sockets hold it: a new name is the same interface, the same name may be another one.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys

from pollmode.eal.errors import ConfigError, HostError, nearest

from .layout import (
    PACKET_ADD_MEMBERSHIP,
    PACKET_DROP_MEMBERSHIP,
    PACKET_MR_ALLMULTI,
    PACKET_MR_PROMISC,
    PACKET_MR_UNICAST,
    SOL_PACKET,
)

__all__ = ["Interface", "open_packet_socket"]

# linux/sockios.h, linux/if.h, linux/if_arp.h, linux/ethtool.h
_SIOCGIFNAME, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8910, 0x8913, 0x8914
_SIOCGIFMTU, _SIOCSIFMTU = 0x8921, 0x8922
_SIOCSIFHWADDR, _SIOCGIFHWADDR, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8924, 0x8927, 0x8933, 0x8946
_IFREQ = struct.Struct("16s24s")
_IFF_UP, _IFF_RUNNING = 1 << 0, 1 << 6
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ETHTOOL_GSET = 1
_ETHTOOL_CMD = struct.Struct("<III H 6B II H 14x")  # 44 bytes: speed's halves are the fourth and the thirteenth
_MREQ = struct.Struct("iHH8s")
_GONE = (errno.ENODEV, errno.ENXIO)


def open_packet_socket(where: str) -> socket.socket:
    """Return a packet socket that receives nothing yet. Raises HostError without CAP_NET_RAW."""
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        python = os.path.realpath(sys.executable)
        raise HostError(
            f"{where}: a packet socket needs the capability CAP_NET_RAW",
            mend=f"run as root, or: setcap cap_net_raw,cap_net_admin+ep {python}",
            errno=errno.EPERM,
        ) from None
    except OSError as error:
        raise HostError(f"{where}: no packet socket: {error.strerror}", errno=error.errno) from None


class Interface:
    """An interface, with the packet socket that asks about it and keeps its modes.

    Raises HostError without permission, ConfigError for a name that is not there or is not Ethernet's. Once the
    interface is gone, what asks for its state answers "down", and what changes it raises HostError.
    """

    def __init__(self, where: str, name: str) -> None:
        self._where = where
        self._first_name = name
        self._socket = open_packet_socket(where)
        try:
            self.index = self._find(name)
            self._check_kind()
        except BaseException:
            self._socket.close()
            raise

    def _find(self, name: str) -> int:
        try:
            return int(struct.unpack_from("i", self._ioctl(_SIOCGIFINDEX, name))[0])
        except OSError as error:
            there = [other for _, other in socket.if_nameindex()]
            raise ConfigError(
                f"{self._where}: there is no interface {name!r}{nearest(name, there)}; there are {', '.join(there)}",
                errno=error.errno,
            ) from None

    def _check_kind(self) -> None:
        kind = struct.unpack_from("H", self._ask(_SIOCGIFHWADDR))[0]
        if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
            raise ConfigError(f"{self._where}: interface {self.name} (hardware type {kind}) does not carry Ethernet")

    @property
    def name(self) -> str:
        """The interface's present name."""
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFNAME, _IFREQ.pack(b"", struct.pack("i", self.index)))
        except OSError:
            return self._first_name
        name: bytes = _IFREQ.unpack(answer)[0]
        return name.rstrip(b"\0").decode()

    def mac(self) -> bytes:
        """Return the interface's address, 6 bytes."""
        return self._ask(_SIOCGIFHWADDR)[2:8]

    def mtu(self) -> int:
        """Return the interface's MTU."""
        return int(struct.unpack_from("i", self._ask(_SIOCGIFMTU))[0])

    def running(self) -> bool:
        """Tell whether the interface is up and has a carrier."""
        flags = self._flags()
        return bool(flags & _IFF_UP and flags & _IFF_RUNNING)

    def speed(self) -> int | None:
        """Return the speed in Mbps, None when the interface does not know."""
        command = ctypes.create_string_buffer(_ETHTOOL_CMD.pack(_ETHTOOL_GSET, *[0] * 12))
        try:
            self._ioctl(_SIOCETHTOOL, self.name, struct.pack("P", ctypes.addressof(command)))
        except OSError:
            return None
        words = _ETHTOOL_CMD.unpack(command.raw[: _ETHTOOL_CMD.size])
        speed = int(words[3] | words[12] << 16)
        return speed if 0 < speed < 0xFFFF_FFFF else None

    def set_mtu(self, mtu: int) -> None:
        """Set the interface's MTU."""
        self._change("set the MTU of", _SIOCSIFMTU, struct.pack("i", mtu))

    def set_mac(self, mac: bytes) -> None:
        """Set the interface's address."""
        kind = self._ask(_SIOCGIFHWADDR)[:2]
        self._change("set the address of", _SIOCSIFHWADDR, kind + mac)

    def set_up(self, up: bool) -> None:
        """Take the interface up or down."""
        flags = self._flags() | _IFF_UP if up else self._flags() & ~_IFF_UP
        self._change(f"take {'up' if up else 'down'}", _SIOCSIFFLAGS, struct.pack("H", flags))

    def promiscuous(self, on: bool) -> None:
        """Receive frames for any address, as long as this object lives."""
        self._member(PACKET_MR_PROMISC, on)

    def all_multicast(self, on: bool) -> None:
        """Receive every multicast frame, as long as this object lives."""
        self._member(PACKET_MR_ALLMULTI, on)

    def also(self, mac: bytes, on: bool) -> None:
        """Receive frames for a further address, as long as this object lives."""
        self._member(PACKET_MR_UNICAST, on, mac)

    def close(self) -> None:
        """Let go; the modes end."""
        self._socket.close()

    def _member(self, kind: int, on: bool, mac: bytes = b"") -> None:
        # Counted by the kernel for each socket, unlike the interface's own flags: what others asked for stays.
        request = _MREQ.pack(self.index, kind, len(mac), mac)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP if on else PACKET_DROP_MEMBERSHIP, request)
        except OSError as error:
            raise self._host_error("set the reception of", error) from None

    def _flags(self) -> int:
        try:
            return int(struct.unpack_from("H", self._ask(_SIOCGIFFLAGS))[0])
        except HostError:
            return 0

    def _ask(self, request: int) -> bytes:
        try:
            return self._ioctl(request, self.name)
        except OSError as error:
            raise self._host_error("ask about", error) from None

    def _change(self, action: str, request: int, words: bytes) -> None:
        try:
            self._ioctl(request, self.name, words)
        except OSError as error:
            raise self._host_error(action, error) from None

    def _ioctl(self, request: int, name: str, words: bytes = b"") -> bytes:
        answer: bytes = _IFREQ.unpack(fcntl.ioctl(self._socket, request, _IFREQ.pack(name.encode(), words)))[1]
        return answer

    def _host_error(self, action: str, error: OSError) -> HostError:
        mend = None
        if error.errno in (errno.EPERM, errno.EACCES):
            mend = "it needs the capability CAP_NET_ADMIN: run as root"
        elif error.errno in _GONE:
            mend = "it is gone"
        return HostError(
            f"{self._where}: cannot {action} interface {self.name}: {error.strerror}", mend=mend, errno=error.errno
        )
