# SPDX-License-Identifier: BSD-3-Clause
"""A PCI device through UIO: uio_pci_generic and igb_uio (Linux Documentation/driver-api/uio-howto.rst).

Registers and configuration space are files of sysfs; /dev/uioN tells of interrupts. Devices reach memory by physical
addresses. uio_pci_generic switches INTx off in the command register when it was raised, and it is switched on again
there; igb_uio takes a word on /dev/uioN for that.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from pollmode.bus_pci.access import Interrupt, PciDevice, all_ones
from pollmode.bus_pci.kernel.registers import FileBar, Piece
from pollmode.bus_pci.kernel.sysfs import Resource, SysfsDevice
from pollmode.bus_pci.layout import COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MEMORY, CONFIG, CONFIG_SIZE
from pollmode.eal.errors import HostError, UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["UioDevice"]


class UioInterrupt(Interrupt):
    """The one interrupt of a UIO device. A read of /dev/uioN returns how often it came in all, four bytes."""

    def __init__(self, device: UioDevice, fd: int) -> None:
        self.fd = fd
        self._device = device
        self._masked = False
        self._seen: int | None = None

    def acknowledge(self) -> int:
        """Take what was raised, and switch the interrupt on again."""
        try:
            raw = os.read(self.fd, 4)
        except BlockingIOError:
            return 0
        except OSError:
            self._device.check_presence()
            return 0
        total = int.from_bytes(raw, "little")
        came = 1 if self._seen is None else total - self._seen & 0xFFFFFFFF
        self._seen = total
        if not self._masked:
            self._device.switch_interrupt(True)
        return came

    def mask(self) -> None:
        """Switch it off."""
        self._masked = True
        self._device.switch_interrupt(False)

    def unmask(self) -> None:
        """Switch it on."""
        self._masked = False
        self._device.switch_interrupt(True)


class UioDevice(PciDevice):
    """A device that uio_pci_generic or igb_uio has. Raises HostError when its files can't be opened."""

    bars: dict[int, FileBar]

    def __init__(self, sysfs: SysfsDevice, memory: Memory, node: str) -> None:
        super().__init__(sysfs.address, memory)
        self.id = sysfs.id
        self.numa_node = sysfs.numa_node
        self._sysfs = sysfs
        self._generic = sysfs.driver == "uio_pci_generic"
        self._files: list[int] = []
        self.bars = {}
        try:
            self._uio = self._open(node, os.O_NONBLOCK)
            self._config = self._open(str(sysfs.folder / "config"))
            self.config_size = max(os.fstat(self._config).st_size, CONFIG_SIZE)
            self.interrupt_limit = 1 if self.config_read(CONFIG["INTERRUPT_PIN"].offset, 1) or not self._generic else 0
            command = self.config_read(CONFIG["COMMAND"].offset, 2)
            self.config_write(CONFIG["COMMAND"].offset, command | COMMAND_MEMORY | COMMAND_IO, 2)
            for index, resource in sysfs.resources().items():
                self.bars[index] = self._bar(index, resource)
        except BaseException:
            self._close()
            raise

    def interrupts(self, count: int) -> list[Interrupt]:
        """Switch the one interrupt on or off."""
        if count > self.interrupt_limit:
            raise UnsupportedError(f"{self} can have {self.interrupt_limit} interrupts through UIO, not {count}")
        self.switch_interrupt(False)
        if count == 0:
            return []
        interrupt = UioInterrupt(self, self._uio)
        interrupt.acknowledge()  # what came before is nobody's
        interrupt.unmask()
        return [interrupt]

    def switch_interrupt(self, on: bool) -> None:
        """Let the device raise its interrupt, or not."""
        if self.gone:
            return
        if self._generic:
            command = self.config_read(CONFIG["COMMAND"].offset, 2)
            wanted = command & ~COMMAND_INTX_DISABLE if on else command | COMMAND_INTX_DISABLE
            self.config_write(CONFIG["COMMAND"].offset, wanted, 2)
            return
        try:
            os.write(self._uio, int(on).to_bytes(4, "little"))
        except OSError:
            self.check_presence()

    def reset(self) -> bool:
        """Have the kernel reset the function."""
        if self.gone:
            return False
        try:
            (self._sysfs.folder / "reset").write_text("1")
        except OSError:
            return False
        return True

    def _bar(self, index: int, resource: Resource) -> FileBar:
        fd = self._open(str(self._sysfs.folder / f"resource{index}"), os.O_SYNC)
        pieces = () if resource.port or resource.size % mmap.PAGESIZE else (Piece(0, resource.size),)
        if not resource.port and not pieces:
            raise HostError(f"BAR {index} of {self} has {resource.size} bytes and no page of its own")
        return FileBar(self, index, resource.size, fd, port=resource.port, pieces=pieces)

    def _open(self, path: str, flags: int = 0) -> int:
        try:
            self._files.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | flags))
        except OSError as error:
            mend = "run as root" if isinstance(error, PermissionError) else None
            raise HostError(f"cannot open {path}: {error.strerror}", mend=mend, errno=error.errno) from error
        return self._files[-1]

    def _config_read(self, offset: int, size: int) -> int:
        try:
            raw = os.pread(self._config, size, offset)
        except OSError:
            return all_ones(size)
        return int.from_bytes(raw, "little") if len(raw) == size else all_ones(size)

    def _config_write(self, offset: int, value: int, size: int) -> None:
        try:
            os.pwrite(self._config, value.to_bytes(size, "little"), offset)
        except OSError:
            self.check_presence()

    def _close(self) -> None:
        files, self._files = self._files, []
        if not files:
            return
        for bar in self.bars.values():
            bar.close()
        for fd in files:
            os.close(fd)
