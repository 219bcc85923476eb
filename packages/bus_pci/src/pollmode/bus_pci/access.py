# SPDX-License-Identifier: BSD-3-Clause
"""The seam between a driver and a PCI device: who holds a `PciDevice` needs nothing else to drive it.

Behind it is the kernel (VFIO, UIO), a QEMU process, or a model in this process (`testing.FakeDevice`); a driver does
not know which. Its probe function gets an open device and

- finds out what it is: `device.id`, `device.config_read(offset, size)`, `device.capabilities()`;
- reads and writes registers from the control plane: `device.bar(1).read32(CMD)`, `.write32(CMD, value)`. Writes are
  posted as on the bus: a read from the same device returns only when the device has seen the writes before it;
- gives the device addresses it can use: `Memzone.iova`, an mbuf's `buf_iova`, or `device.iova(address)`, from when the
  probe function is called on. DMA works after `device.set_master(True)`;
- rings doorbells from compiled code: `record = device.doorbell(bar, offset, size)` once a queue, then
  `ring_doorbell(record, value)` in the burst callback. One lcore at a time uses one record. Where `bar.mapped` is not 0
  compiled code may also load and store at `bar.mapped + offset`;
- takes interrupts: `device.interrupts(count)` returns objects with a descriptor that becomes readable; whoever is woken
  calls `acknowledge()`;
- learns that the device is gone: `device.gone`, `device.on_removed(callback)`. A device that is gone answers all ones
  and swallows what is written, as the hardware does: reading and writing never raise for it.

Accesses out of bounds or not aligned raise InternalError: the driver is wrong.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pollmode.bus_pci.address import PciAddress, PciId
from pollmode.bus_pci.layout import (
    CAP_POINTER,
    COMMAND_MASTER,
    CONFIG,
    DOORBELL,
    DOORBELL_SIZE,
    MAX_CAPABILITIES,
    NO_DEVICE,
    STATUS_CAPABILITIES,
)
from pollmode.eal import logs
from pollmode.eal.errors import HostError, InternalError, UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory, Memzone

__all__ = ["Bar", "Interrupt", "PciDevice"]

log = logs.get("bus.pci")


def all_ones(size: int) -> int:
    """Return what a device that is not there answers to a read of `size` bytes."""
    return (1 << 8 * size) - 1


def check_access(what: str, offset: int, size: int, limit: int) -> None:
    """Raise InternalError for an access of `size` bytes that is not aligned or not below `limit`."""
    if size not in (1, 2, 4, 8) or offset % size or not 0 <= offset <= limit - size:
        raise InternalError(f"{what}: {size} bytes at {offset:#x} are not aligned, or not within its {limit:#x} bytes")


class Bar(ABC):
    """One base address register's range: `size` bytes of registers or memory, or of ports when `port` is set.

    `mapped` is where compiled code finds it in this process, 0 when it cannot be mapped.
    """

    def __init__(self, device: PciDevice, index: int, size: int, *, port: bool = False, mapped: int = 0) -> None:
        self.device = device
        self.index = index
        self.size = size
        self.port = port
        self.mapped = mapped

    def read(self, offset: int, size: int) -> int:
        """Return `size` bytes at `offset` as an unsigned number; all ones may mean that the device is gone."""
        check_access(f"BAR {self.index} of {self.device}", offset, size, self.size)
        value = all_ones(size) if self.device.gone else self._read(offset, size)
        if value == all_ones(size):
            self.device.check_presence()
        return value

    def write(self, offset: int, value: int, size: int) -> None:
        """Write the low `size` bytes of `value` at `offset`."""
        check_access(f"BAR {self.index} of {self.device}", offset, size, self.size)
        if not self.device.gone:
            self._write(offset, value & all_ones(size), size)

    def read8(self, offset: int) -> int:
        """Return the byte at `offset`."""
        return self.read(offset, 1)

    def read16(self, offset: int) -> int:
        """Return the 16 bits at `offset`."""
        return self.read(offset, 2)

    def read32(self, offset: int) -> int:
        """Return the 32 bits at `offset`."""
        return self.read(offset, 4)

    def read64(self, offset: int) -> int:
        """Return the 64 bits at `offset`."""
        return self.read(offset, 8)

    def write8(self, offset: int, value: int) -> None:
        """Write a byte."""
        self.write(offset, value, 1)

    def write16(self, offset: int, value: int) -> None:
        """Write 16 bits."""
        self.write(offset, value, 2)

    def write32(self, offset: int, value: int) -> None:
        """Write 32 bits."""
        self.write(offset, value, 4)

    def write64(self, offset: int, value: int) -> None:
        """Write 64 bits."""
        self.write(offset, value, 8)

    @abstractmethod
    def _read(self, offset: int, size: int) -> int:
        """Read from a device that is there; all ones when it turns out not to be."""

    @abstractmethod
    def _write(self, offset: int, value: int, size: int) -> None:
        """Write to a device that is there."""

    @abstractmethod
    def doorbell_fields(self, offset: int, size: int) -> Mapping[str, Any]:
        """Return the fields of the DOORBELL record that has compiled code write `size` bytes at `offset`."""


class Interrupt(ABC):
    """One interrupt of a device: `fd` becomes readable when it was raised."""

    fd: int

    @abstractmethod
    def acknowledge(self) -> int:
        """Take what was raised and let the next one come; returns how many there were. Does not wait."""

    @abstractmethod
    def mask(self) -> None:
        """Keep the device from raising it; what it would have raised comes after `unmask`."""

    @abstractmethod
    def unmask(self) -> None:
        """Let the device raise it."""


class PciDevice(ABC):
    """An open PCI device. `bars` are its base address registers by index; a 64-bit one has the lower index.

    `memory` is the EAL's; `interrupt_limit` the most interrupts it can have, `numa_node` -1 when it is not known.
    """

    address: PciAddress
    id: PciId
    bars: Mapping[int, Bar]
    config_size: int
    interrupt_limit: int
    numa_node: int = -1

    def __init__(self, address: PciAddress, memory: Memory) -> None:
        self.address = address
        self.memory = memory
        self.gone = False
        self._lock = threading.Lock()
        self._when_removed: list[Callable[[], None]] = []
        self._doorbells: list[Memzone] = []

    def __str__(self) -> str:
        return str(self.address)

    # --- configuration space

    def config_read(self, offset: int, size: int) -> int:
        """Return `size` bytes (1, 2 or 4) of the configuration space."""
        self._check_config(offset, size)
        return all_ones(size) if self.gone else self._config_read(offset, size)

    def config_write(self, offset: int, value: int, size: int) -> None:
        """Write `size` bytes (1, 2 or 4) of the configuration space."""
        self._check_config(offset, size)
        if not self.gone:
            self._config_write(offset, value & all_ones(size), size)

    def _check_config(self, offset: int, size: int) -> None:
        check_access(f"the configuration space of {self}", offset, size, self.config_size)
        if size == 8:
            raise InternalError(f"the configuration space of {self} is read and written 4 bytes at most")

    def capabilities(self) -> list[tuple[int, int]]:
        """Return the device's capabilities as pairs of id and offset, in the device's order (PCI 6.7)."""
        found: list[tuple[int, int]] = []
        if not self.config_read(CONFIG["STATUS"].offset, 2) & STATUS_CAPABILITIES:
            return found
        at = self.config_read(CONFIG["CAPABILITIES"].offset, 1) & CAP_POINTER
        while at and len(found) < MAX_CAPABILITIES and not self.gone:  # a device may link them in a circle
            found.append((self.config_read(at, 1), at))
            at = self.config_read(at + 1, 1) & CAP_POINTER
        return found

    def capability(self, identity: int) -> int | None:
        """Return the offset of the first capability of that id, None when the device has none."""
        return next((at for known, at in self.capabilities() if known == identity), None)

    def set_master(self, on: bool) -> None:
        """Allow the device to read and write memory and to send interrupts as messages, or forbid it."""
        command = self.config_read(CONFIG["COMMAND"].offset, 2)
        wanted = command | COMMAND_MASTER if on else command & ~COMMAND_MASTER
        self.config_write(CONFIG["COMMAND"].offset, wanted, 2)

    # --- registers

    def bar(self, index: int) -> Bar:
        """Return a base address register's range. Raises UnsupportedError when the device has it not."""
        if index not in self.bars:
            there = ", ".join(map(str, sorted(self.bars))) or "none"
            raise UnsupportedError(f"{self} has no BAR {index} that can be used; it has {there}")
        return self.bars[index]

    def doorbell(self, bar: int, offset: int, size: int = 4) -> int:
        """Return the address of a new record for `ring_doorbell`, which writes `size` bytes at `offset` of a BAR.

        It is in the EAL's memory until the device is closed. Raises UnsupportedError and HostError.
        """
        where = self.bar(bar)
        check_access(f"BAR {bar} of {self}", offset, size, where.size)
        fields = where.doorbell_fields(offset, size)
        with self._lock:
            zone = self.memory.reserve(f"{self}_doorbell{len(self._doorbells)}", DOORBELL_SIZE, 64)
            self._doorbells.append(zone)
        record = zone.array(DOORBELL)
        record["size"] = size
        for name, value in fields.items():
            record[name] = value
        return zone.address

    # --- memory and interrupts

    def iova(self, address: int) -> int:
        """Return the address by which the device reaches `address`, which lies in the EAL's memory."""
        return self.memory.iova(address)

    @abstractmethod
    def interrupts(self, count: int) -> list[Interrupt]:
        """Have the device's first `count` interrupts (its MSI-X vectors; INTx is one) raise descriptors.

        They are unmasked. The last call counts: 0 takes all away. Raises UnsupportedError when the device has not as
        many, and HostError.
        """

    # --- life

    @abstractmethod
    def reset(self) -> bool:
        """Reset the device and return whether that could be done; registers are then as after power-on."""

    def close(self) -> None:
        """Stop the device and give everything back. Closing twice is no error."""
        with contextlib.suppress(HostError):
            self.set_master(False)
        self._close()
        with self._lock:
            zones, self._doorbells = self._doorbells, []
        for zone in zones:
            self.memory.free(zone)

    def on_removed(self, callback: Callable[[], None]) -> None:
        """Call `callback()` once when the device is gone, from the thread that found out; at once if it is gone."""
        with self._lock:
            if not self.gone:
                self._when_removed.append(callback)
                return
        callback()

    def check_presence(self) -> bool:
        """Return whether the device is still there; that it is gone is told to `on_removed`'s callbacks."""
        if not self.gone and self._config_read(CONFIG["VENDOR"].offset, 2) == NO_DEVICE:
            self.set_gone()
        return not self.gone

    def set_gone(self) -> None:
        """Take note that the device is gone, and tell those who asked."""
        with self._lock:
            if self.gone:
                return
            self.gone = True
            callbacks, self._when_removed = self._when_removed, []
        log.warning(f"{self}: the device is gone")
        for callback in callbacks:
            callback()

    @abstractmethod
    def _config_read(self, offset: int, size: int) -> int:
        """Read from the configuration space; all ones when the device is not there."""

    @abstractmethod
    def _config_write(self, offset: int, value: int, size: int) -> None:
        """Write to the configuration space."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what the host has of the device."""
