# SPDX-License-Identifier: BSD-3-Clause
"""What the bus asks of a host: the devices it has, and an open one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.bus_pci.access import PciDevice
from pollmode.bus_pci.address import PciAddress, PciId

__all__ = ["Found", "PciHost"]


@dataclass(frozen=True)
class Found:
    """A device that a scan found; `told` says to people what has it now. `why_not` is why it can't be opened, or ""."""

    address: PciAddress
    id: PciId
    told: str
    why_not: str = ""


class PciHost(ABC):
    """Where PCI devices come from."""

    name: str
    asked_for = False
    """Whether each device was asked for by whoever started the host: then it must be usable."""

    @abstractmethod
    def scan(self) -> list[Found]:
        """Return the devices that are there now, by address."""

    @abstractmethod
    def open(self, found: Found) -> PciDevice:
        """Open a device. Raises PollmodeError when it can't be."""

    def prepare(self, chosen: Sequence[Found]) -> None:  # noqa: B027 - a host with nothing to choose
        """Learn which devices are going to be opened, before the first of them is. Raises PollmodeError."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; every device was closed. Closing twice is no error."""
