# SPDX-License-Identifier: BSD-3-Clause
"""The PCI bus: devices of this machine through its kernel, or of a QEMU process."""

from .access import Bar, Interrupt, PciDevice
from .address import PciAddress, PciId
from .doorbell import ring_doorbell

__all__ = ["Bar", "Interrupt", "PciAddress", "PciDevice", "PciId", "ring_doorbell"]
