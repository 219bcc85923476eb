# SPDX-License-Identifier: BSD-3-Clause
"""A PCI device through VFIO (Linux Documentation/driver-api/vfio.rst)."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.bus_pci.access import Interrupt, PciDevice, all_ones
from pollmode.bus_pci.address import PciAddress, PciId
from pollmode.bus_pci.kernel.container import Container, ask, filled
from pollmode.bus_pci.kernel.registers import FileBar, Piece
from pollmode.bus_pci.kernel.vfio_interrupts import VfioInterrupts
from pollmode.bus_pci.kernel.vfio_layout import (
    CAP_HEADER,
    CAP_MSIX_MAPPABLE,
    CAP_SPARSE_MMAP,
    CONFIG_REGION,
    DEVICE_CAN_RESET,
    DEVICE_GET_INFO,
    DEVICE_GET_REGION_INFO,
    DEVICE_INFO,
    DEVICE_RESET,
    GROUP_GET_DEVICE_FD,
    MOST_INFO,
    REGION_CAN_MMAP,
    REGION_HAS_CAPS,
    REGION_INFO,
    SPARSE_AREA,
    SPARSE_COUNT,
)
from pollmode.bus_pci.layout import (
    BAR_IS_PORT,
    BARS,
    CAP_MSIX,
    COMMAND_IO,
    COMMAND_MEMORY,
    CONFIG,
    CONFIG_SIZE,
    MSIX,
    MSIX_BAR,
    MSIX_ENTRY,
    MSIX_LAST_VECTOR,
)
from pollmode.eal.errors import HostError

if TYPE_CHECKING:
    from pollmode.eal.interrupts import Interrupts
    from pollmode.eal.memory import Memory

__all__ = ["VfioDevice", "open_vfio", "without"]


def open_vfio(container: Container, group: str, address: PciAddress) -> int:
    """Return the descriptor of a device in a group. Raises HostError."""
    try:
        return int(fcntl.ioctl(container.group(group), GROUP_GET_DEVICE_FD, bytearray(f"{address}\0".encode())))
    except OSError as error:
        raise HostError(f"VFIO does not give {address}: {error.strerror}", errno=error.errno) from error


class VfioDevice(PciDevice):
    """A device that vfio-pci has; `fd` is the device's, closed with it, and when it cannot be made."""

    bars: dict[int, FileBar]

    def __init__(self, address: PciAddress, identity: PciId, memory: Memory, fd: int, interrupts: Interrupts) -> None:
        super().__init__(address, memory)
        self.id = identity
        self._fd = fd
        self.bars = {}
        self._interrupts: VfioInterrupts | None = None
        try:
            info = ask(fd, DEVICE_GET_INFO, DEVICE_INFO, filled(DEVICE_INFO))
            self._can_reset = bool(info["flags"] & DEVICE_CAN_RESET)
            config, _ = self._region(CONFIG_REGION)
            self._config, self.config_size = int(config["offset"]), max(int(config["size"]), CONFIG_SIZE)
            self._enable()
            self._map_bars()
            self._interrupts = VfioInterrupts(fd, str(address), interrupts, self.set_gone)
        except BaseException:
            self._close()
            raise
        self.interrupt_limit = self._interrupts.limit

    def interrupts(self, count: int) -> list[Interrupt]:
        """Have MSI-X vectors, MSI or INTx, whichever the device has, raise eventfds."""
        assert self._interrupts is not None
        return self._interrupts.take(count)

    def reset(self) -> bool:
        """Reset the function, its slot or its bus, as the kernel can; interrupts are taken away."""
        if not self._can_reset or self.gone:
            return False
        self.interrupts(0)
        try:
            fcntl.ioctl(self._fd, DEVICE_RESET)
        except OSError:
            return False
        self._enable()
        return True

    def _enable(self) -> None:
        command = self.config_read(CONFIG["COMMAND"].offset, 2)
        self.config_write(CONFIG["COMMAND"].offset, command | COMMAND_MEMORY | COMMAND_IO, 2)

    def _region(self, index: int) -> tuple[Any, bytes]:
        """Return what VFIO says of a region: the structure, and all of the answer."""
        answer = filled(REGION_INFO, MOST_INFO - REGION_INFO.itemsize, index=index)
        return ask(self._fd, DEVICE_GET_REGION_INFO, REGION_INFO, answer), bytes(answer)

    def _map_bars(self) -> None:
        index = 0
        while index < BARS:
            low = self.config_read(CONFIG["BAR0"].offset + 4 * index, 4)
            info, answer = self._region(index)
            if size := int(info["size"]):
                pieces = self._pieces(index, size, info, answer)
                place = int(info["offset"])
                self.bars[index] = FileBar(
                    self, index, size, self._fd, place, port=bool(low & BAR_IS_PORT), pieces=pieces
                )
            index += 1

    def _pieces(self, index: int, size: int, info: Any, answer: bytes) -> Sequence[Piece]:
        """Return what of a BAR can be mapped, the page of the MSI-X table left out unless the kernel allows it."""
        if not info["flags"] & REGION_CAN_MMAP or size % mmap.PAGESIZE:
            return ()
        capabilities = dict(_capabilities(answer, int(info["cap_offset"]))) if info["flags"] & REGION_HAS_CAPS else {}
        if CAP_SPARSE_MMAP in capabilities:
            return list(_areas(answer, capabilities[CAP_SPARSE_MMAP]))
        table = self._msix_table(index)
        if table is None or CAP_MSIX_MAPPABLE in capabilities:
            return [Piece(0, size)]
        return without(size, *table)

    def _msix_table(self, index: int) -> tuple[int, int] | None:
        """Return where in a BAR the MSI-X table begins and ends."""
        at = self.capability(CAP_MSIX)
        if at is None:
            return None
        where = self.config_read(at + MSIX["TABLE"].offset, 4)
        if MSIX_BAR.get(where) != index:
            return None
        vectors = MSIX_LAST_VECTOR.get(self.config_read(at + MSIX["CONTROL"].offset, 2)) + 1
        start = where & ~MSIX_BAR.mask
        return start, start + vectors * MSIX_ENTRY.itemsize

    def _config_read(self, offset: int, size: int) -> int:
        try:
            raw = os.pread(self._fd, size, self._config + offset)
        except OSError:
            return all_ones(size)
        return int.from_bytes(raw, "little") if len(raw) == size else all_ones(size)

    def _config_write(self, offset: int, value: int, size: int) -> None:
        try:
            os.pwrite(self._fd, value.to_bytes(size, "little"), self._config + offset)
        except OSError:
            self.check_presence()

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._interrupts is not None:
            self._interrupts.close()
        for bar in self.bars.values():
            bar.close()
        os.close(self._fd)
        self._fd = -1


def without(size: int, begin: int, end: int) -> list[Piece]:
    """Return the pages of `size` bytes that do not hold bytes `begin` to `end`."""
    first, behind = begin // mmap.PAGESIZE * mmap.PAGESIZE, -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
    pieces = [Piece(0, first), Piece(behind, size - behind)]
    return [piece for piece in pieces if piece.size > 0]


def _capabilities(answer: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield ids and offsets of an answer's capabilities."""
    seen: set[int] = set()
    while at and at not in seen and at + CAP_HEADER.itemsize <= len(answer):
        seen.add(at)
        header = np.frombuffer(answer, CAP_HEADER, 1, at)[0]
        yield int(header["id"]), at
        at = int(header["next"])


def _areas(answer: bytes, at: int) -> Iterator[Piece]:
    at += CAP_HEADER.itemsize
    (count,) = struct.unpack_from("<I", answer, at)
    at += SPARSE_COUNT.itemsize
    for area in np.frombuffer(answer, SPARSE_AREA, min(count, (len(answer) - at) // SPARSE_AREA.itemsize), at):
        if area["size"]:
            yield Piece(int(area["offset"]), int(area["size"]))
