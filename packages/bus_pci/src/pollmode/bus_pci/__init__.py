# SPDX-License-Identifier: BSD-3-Clause
"""The PCI bus: devices of this machine through its kernel, or of a QEMU process."""

from pollmode.eal.probing import ProbeContext

from .access import Bar, Interrupt, PciDevice
from .address import PciAddress, PciId
from .bus import PciBus
from .doorbell import ring_doorbell
from .driver import GROUP, PciDriver, Registry
from .host import Found, PciHost

__all__ = [
    "GROUP",
    "Bar",
    "Found",
    "Interrupt",
    "PciAddress",
    "PciBus",
    "PciDevice",
    "PciDriver",
    "PciHost",
    "PciId",
    "ProbeContext",
    "Registry",
    "ring_doorbell",
]
