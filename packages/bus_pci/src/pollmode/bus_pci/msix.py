# SPDX-License-Identifier: BSD-3-Clause
"""The MSI-X capability (PCI 6.8.2), for hosts that program it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollmode.bus_pci.layout import (
    CAP_MSIX,
    MSIX,
    MSIX_BAR,
    MSIX_ENABLE,
    MSIX_ENTRY,
    MSIX_LAST_VECTOR,
    MSIX_MASK_ALL,
    MSIX_VECTOR_MASKED,
)
from pollmode.eal.layout import offset_of

if TYPE_CHECKING:
    from pollmode.bus_pci.access import PciDevice

__all__ = ["MsixCapability"]


@dataclass(frozen=True)
class MsixCapability:
    """Where a device's MSI-X capability and table are, and how many vectors it has."""

    at: int
    vectors: int
    bar: int
    table: int

    @classmethod
    def find(cls, device: PciDevice) -> MsixCapability | None:
        """Return a device's, None when it has none or a table that is not within its BAR."""
        at = device.capability(CAP_MSIX)
        if at is None:
            return None
        vectors = MSIX_LAST_VECTOR.get(device.config_read(at + MSIX["CONTROL"].offset, 2)) + 1
        where = device.config_read(at + MSIX["TABLE"].offset, 4)
        bar, table = MSIX_BAR.get(where), where & ~MSIX_BAR.mask
        fits = bar in device.bars and table + vectors * MSIX_ENTRY.itemsize <= device.bars[bar].size
        return cls(at, vectors, bar, table) if fits else None

    def enable(self, device: PciDevice, on: bool) -> None:
        """Switch MSI-X on, no vector masked by the function as a whole, or off."""
        control = device.config_read(self.at + MSIX["CONTROL"].offset, 2) & ~(MSIX_ENABLE | MSIX_MASK_ALL)
        device.config_write(self.at + MSIX["CONTROL"].offset, control | (MSIX_ENABLE if on else 0), 2)

    def program(self, device: PciDevice, vector: int, address: int, data: int) -> None:
        """Have a vector store `data` at `address`, unmasked."""
        entry, bar = self.table + vector * MSIX_ENTRY.itemsize, device.bar(self.bar)
        bar.write32(entry + offset_of(MSIX_ENTRY, "address_low"), address & 0xFFFFFFFF)
        bar.write32(entry + offset_of(MSIX_ENTRY, "address_high"), address >> 32)
        bar.write32(entry + offset_of(MSIX_ENTRY, "data"), data)
        self.mask(device, vector, on=False)

    def mask(self, device: PciDevice, vector: int, *, on: bool) -> None:
        """Mask a vector or unmask it."""
        entry = self.table + vector * MSIX_ENTRY.itemsize
        device.bar(self.bar).write32(entry + offset_of(MSIX_ENTRY, "control"), MSIX_VECTOR_MASKED if on else 0)
