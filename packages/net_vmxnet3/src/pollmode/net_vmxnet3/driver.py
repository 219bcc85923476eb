# SPDX-License-Identifier: BSD-3-Clause
"""net_vmxnet3: ids, probe, registration with the PCI bus. It takes no devargs, as in DPDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.bus_pci import PciDriver
from pollmode.eal.devargs import Parameters

from .layout import DEVICE, VENDOR

if TYPE_CHECKING:
    from pollmode.bus_pci import PciDevice, ProbeContext
    from pollmode.ethdev import Device

__all__ = ["DRIVER"]


def probe(context: ProbeContext, pci: PciDevice, name: str, arguments: dict[str, Any]) -> Device:
    """Make a device of an open PCI device. Raises UnsupportedError when it is of no revision we know."""
    from .device import Vmxnet3  # what it imports compiles; a driver that is not used should not wait for it

    return Vmxnet3(name, pci, context.environment)


DRIVER = PciDriver("net_vmxnet3", ((VENDOR, DEVICE),), Parameters({}), probe)
