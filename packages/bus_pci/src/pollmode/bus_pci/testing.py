# SPDX-License-Identifier: BSD-3-Clause
"""A PCI device that is only memory: the fake beside the kernel's and QEMU's devices, and the base of a driver's model.

Each BAR is bytes of the EAL's memory at `bar.mapped`. A model says with `on_read` and `on_write` what the control
plane's accesses do; compiled code's doorbells are stores into those bytes, where the model finds them:

    device = FakeDevice(memory, PciId(0x15AD, 0x07B0), {0: 4096, 1: 4096})
    device.bars[1].on_read = model.read_register      # (offset, size) -> value
    device.bars[1].on_write = model.write_register    # (offset, value, size)
    device.raise_interrupt(0)
    device.unplug()

`FakeHost` has such devices for a `PciBus`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pollmode.bus_pci.access import Bar, Interrupt, PciDevice, all_ones
from pollmode.bus_pci.address import PciAddress, PciId
from pollmode.bus_pci.host import Found, PciHost
from pollmode.bus_pci.layout import CONFIG, CONFIG_SIZE, DOORBELL_STORE
from pollmode.eal.errors import UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

__all__ = ["FakeBar", "FakeDevice", "FakeHost", "FakeInterrupt"]


class FakeBar(Bar):
    """Registers in memory. Without `on_read` a read returns what stands there; a write is stored, then told."""

    def __init__(self, device: FakeDevice, index: int, zone: Memzone, size: int) -> None:
        super().__init__(device, index, size, mapped=zone.address)
        self.on_read: Callable[[int, int], int] | None = None
        self.on_write: Callable[[int, int, int], None] | None = None

    def _read(self, offset: int, size: int) -> int:
        if self.on_read is not None:
            return self.on_read(offset, size) & all_ones(size)
        return int.from_bytes(ctypes.string_at(self.mapped + offset, size), "little")

    def _write(self, offset: int, value: int, size: int) -> None:
        ctypes.memmove(self.mapped + offset, value.to_bytes(size, "little"), size)
        if self.on_write is not None:
            self.on_write(offset, value, size)

    def doorbell_fields(self, offset: int, size: int) -> Mapping[str, Any]:
        """Have compiled code store into the BAR's memory."""
        return {"kind": DOORBELL_STORE, "target": self.mapped + offset}


class FakeInterrupt(Interrupt):
    """An eventfd; raised while masked it stays pending."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.masked = self._pending = False

    def acknowledge(self) -> int:
        """Take what was raised."""
        try:
            return os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0

    def mask(self) -> None:
        """Hold back what comes."""
        self.masked = True

    def unmask(self) -> None:
        """Let it through, and what was held back."""
        self.masked = False
        if self._pending:
            self.trigger()

    def trigger(self) -> None:
        """Raise it, as the device does."""
        self._pending = self.masked
        if not self.masked:
            os.eventfd_write(self.fd, 1)


class FakeDevice(PciDevice):
    """A device whose BARs are memory; `bars` gives their sizes by index. Addresses are virtual ones: IOVA as VA."""

    bars: dict[int, FakeBar]

    def __init__(
        self,
        memory: Memory,
        identity: PciId,
        bars: Mapping[int, int],
        *,
        vectors: int = 32,
        address: PciAddress | None = None,
    ) -> None:
        super().__init__(address or PciAddress(0, 0xFA, 0, 0), memory)
        self.id = identity
        self.interrupt_limit = vectors
        self.config_size = CONFIG_SIZE
        self.config = bytearray(CONFIG_SIZE)
        self.resets = 0
        self.raised: list[FakeInterrupt] = []
        self._closed = False
        self._fill_config()
        self._zones = {index: memory.reserve(f"{self}_bar{index}", size, 4096) for index, size in bars.items()}
        self.bars = {index: FakeBar(self, index, self._zones[index], size) for index, size in bars.items()}

    def _fill_config(self) -> None:
        words = {
            "VENDOR": self.id.vendor,
            "DEVICE": self.id.device,
            "SUBSYSTEM_VENDOR": self.id.subsystem_vendor,
            "SUBSYSTEM_DEVICE": self.id.subsystem_device,
        }
        for name, value in words.items():
            self._config_write(CONFIG[name].offset, value, 2)
        self.config[CONFIG["PROGRAMMING"].offset : CONFIG["CLASS"].offset + 1] = self.id.class_code.to_bytes(
            3, "little"
        )

    def interrupts(self, count: int) -> list[Interrupt]:
        """Make eventfds."""
        if count > self.interrupt_limit:
            raise UnsupportedError(f"{self} has {self.interrupt_limit} interrupts, not {count}")
        self._close_interrupts()
        self.raised = [FakeInterrupt() for _ in range(count)]
        return list(self.raised)

    def raise_interrupt(self, vector: int) -> None:
        """Raise an interrupt as the device does; one that the driver did not ask for goes nowhere."""
        if vector < len(self.raised):
            self.raised[vector].trigger()

    def unplug(self) -> None:
        """Take the device away."""
        self.set_gone()

    def reset(self) -> bool:
        """Zero the BARs."""
        self.resets += 1
        for index, zone in self._zones.items():
            ctypes.memset(zone.address, 0, self.bars[index].size)
        return True

    def _config_read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.config[offset : offset + size], "little")

    def _config_write(self, offset: int, value: int, size: int) -> None:
        self.config[offset : offset + size] = value.to_bytes(size, "little")

    def _close_interrupts(self) -> None:
        for interrupt in self.raised:
            os.close(interrupt.fd)
        self.raised = []

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._close_interrupts()
        for zone in self._zones.values():
            self.memory.free(zone)


class FakeHost(PciHost):
    """A host of devices that `make` makes. `found` may be changed at any time; `opened` are those not yet closed."""

    name = "fake"

    def __init__(self, found: Sequence[Found], make: Callable[[Found], FakeDevice], *, asked_for: bool = False) -> None:
        self.found = list(found)
        self.asked_for = asked_for
        self.prepared: list[Found] = []
        self.opened: list[FakeDevice] = []
        self.closed = False
        self._make = make

    def scan(self) -> list[Found]:
        """Return what is there."""
        return list(self.found)

    def prepare(self, chosen: Sequence[Found]) -> None:
        """Take note."""
        self.prepared = list(chosen)

    def open(self, found: Found) -> FakeDevice:
        """Make a device."""
        self.opened.append(self._make(found))
        return self.opened[-1]

    def close(self) -> None:
        """Take note."""
        self.closed = True
