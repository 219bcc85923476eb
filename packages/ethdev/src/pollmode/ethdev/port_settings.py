# SPDX-License-Identifier: BSD-3-Clause
"""The settings of a port that may change at any time: reception modes, MTU, addresses, link."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError

from .checks import check_mac, check_mtu

if TYPE_CHECKING:
    from .device import Device

__all__ = ["PortSettings"]

DEFAULT_MTU = 1500  # RTE_ETHER_MTU


class PortSettings(ABC):
    """What `Port` has for settings. A setting the device lacks is an UnsupportedError, and changes nothing."""

    def __init__(self, device: Device, where: str) -> None:
        self.device = device
        self.mtu = DEFAULT_MTU
        self.promiscuous = device.promiscuous
        self.allmulticast = device.allmulticast
        self._where = where
        self._further_macs: tuple[bytes, ...] = ()

    @abstractmethod
    def _require_alive(self, action: str) -> None:
        """Raise ConfigError on a port that is closed or removed."""

    def set_promiscuous(self, enabled: bool) -> None:
        """Receive frames for any address, or not. A mode that is set already needs no support by the device."""
        self._require_alive("set promiscuous mode")
        if enabled == self.promiscuous:
            return
        self.device.set_promiscuous(enabled)
        self.promiscuous = enabled

    def set_allmulticast(self, enabled: bool) -> None:
        """Receive every multicast frame, or not; see `set_promiscuous`."""
        self._require_alive("set all-multicast mode")
        if enabled == self.allmulticast:
            return
        self.device.set_allmulticast(enabled)
        self.allmulticast = enabled

    def set_mtu(self, mtu: int) -> None:
        """Set the MTU in bytes. Raises ConfigError outside the device's bounds."""
        self._require_alive("set the MTU")
        check_mtu(self._where, self.device.info(), mtu)
        self.device.set_mtu(mtu)
        self.mtu = mtu

    def set_link(self, up: bool) -> None:
        """Take the link up or down administratively."""
        self._require_alive("set the link")
        self.device.set_link(up)

    @property
    def mac(self) -> bytes:
        """The port's own address, 6 bytes."""
        return self.device.mac

    @property
    def macs(self) -> tuple[bytes, ...]:
        """All addresses the port receives frames for, its own first."""
        return (self.device.mac, *self._further_macs)

    def set_mac(self, mac: bytes) -> None:
        """Make `mac` the port's own address. Raises ConfigError when it is not a unicast address of 6 bytes."""
        self._require_alive("set the MAC address")
        check_mac(self._where, mac)
        self.device.set_mac(mac)
        self.device.mac = mac

    def add_mac(self, mac: bytes) -> None:
        """Receive frames for `mac` too; one that is there already changes nothing.

        Raises ConfigError when the device has no room for one more.
        """
        self._require_alive("add a MAC address")
        check_mac(self._where, mac)
        if mac in self.macs:
            return
        most = self.device.info().max_mac_addrs
        if len(self.macs) >= most:
            raise ConfigError(
                f"{self._where}: all {most} MAC addresses are taken; remove one before adding {mac.hex(':')}",
                errno=errno.ENOSPC,
            )
        self._take_macs((*self._further_macs, mac))

    def remove_mac(self, mac: bytes) -> None:
        """Take an added address out. Raises ConfigError for the port's own and for one that is not there."""
        self._require_alive("remove a MAC address")
        if mac == self.device.mac:
            raise ConfigError(f"{self._where}: {mac.hex(':')} is the port's own address; set another one first")
        if mac not in self._further_macs:
            raise ConfigError(f"{self._where}: {mac.hex(':')} is not among its MAC addresses")
        self._take_macs(tuple(other for other in self._further_macs if other != mac))

    def _take_macs(self, macs: tuple[bytes, ...]) -> None:
        self.device.set_mac_list(macs)
        self._further_macs = macs
