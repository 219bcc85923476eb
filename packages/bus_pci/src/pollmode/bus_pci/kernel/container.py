# SPDX-License-Identifier: BSD-3-Clause
"""VFIO's container: the groups that are open, and what their devices see of memory (Linux driver-api/vfio.rst).

Devices see what is reserved, in pieces of a page or 2 MiB: a piece is mapped when the first zone in it is reserved and
unmapped when the last one is freed. All of the region at once would pin, and so allocate, memory that nobody uses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.bus_pci.kernel.vfio_layout import (
    API_VERSION,
    CHECK_EXTENSION,
    DMA_MAP,
    DMA_READ_WRITE,
    DMA_UNMAP,
    GET_API_VERSION,
    GROUP_GET_STATUS,
    GROUP_SET_CONTAINER,
    GROUP_STATUS,
    GROUP_VIABLE,
    IOMMU_MAP_DMA,
    IOMMU_UNMAP_DMA,
    NOIOMMU_IOMMU,
    SET_IOMMU,
    TYPE1_IOMMU,
    TYPE1V2_IOMMU,
)
from pollmode.eal.errors import HostError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["Container", "ask", "filled"]

VFIO = Path("/dev/vfio")
_PIECE = 2 << 20


def filled(structure: np.dtype[Any], room: int = 0, **fields: int) -> bytearray:
    """Return the bytes of a structure for an ioctl, `argsz` being its size, with room for more behind it."""
    record = np.zeros(1, structure)
    record["argsz"] = structure.itemsize + room
    for name, value in fields.items():
        record[name] = value
    return bytearray(record.tobytes()) + bytearray(room)


def ask(fd: int, request: int, structure: np.dtype[Any], answer: bytearray) -> Any:
    """Do an ioctl that answers into its argument; return the structure's record. Raises OSError."""
    fcntl.ioctl(fd, request, answer)
    return np.frombuffer(bytes(answer[: structure.itemsize]), structure)[0]


class Container:
    """The groups of this process, opened as they are needed, and the memory their devices see.

    Raises HostError when VFIO can't be used.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._region = memory.regions()[0]
        self._piece = max(_PIECE, self._region.page_size)
        self._groups: dict[str, int] = {}
        self._zones_in: dict[int, int] = {}
        self._iommu = 0
        self._fd = _open(VFIO / "vfio")
        if fcntl.ioctl(self._fd, GET_API_VERSION) != API_VERSION:
            os.close(self._fd)
            raise HostError("the kernel's VFIO has another version than this program")

    def group(self, name: str) -> int:
        """Return the descriptor of a group ("7", "noiommu-0"), now part of the container. Raises HostError."""
        if name in self._groups:
            return self._groups[name]
        fd = _open(VFIO / name)
        try:
            self._add(fd, name)
        except BaseException:
            os.close(fd)
            raise
        self._groups[name] = fd
        return fd

    def close(self) -> None:
        """Close the groups and take the memory away from devices."""
        if self._iommu in (TYPE1_IOMMU, TYPE1V2_IOMMU):
            self._memory.unwatch(self)
        for fd in self._groups.values():
            os.close(fd)
        os.close(self._fd)

    def reserved(self, address: int, size: int) -> None:
        """Show devices a zone."""
        done: list[int] = []
        try:
            for start in self._pieces(address, size):
                if not self._zones_in.get(start):
                    self._map(start)
                self._zones_in[start] = self._zones_in.get(start, 0) + 1
                done.append(start)
        except BaseException:
            for start in done:
                self._leave(start)
            raise

    def freed(self, address: int, size: int) -> None:
        """Take a zone away from devices."""
        for start in self._pieces(address, size):
            self._leave(start)

    def _add(self, fd: int, name: str) -> None:
        status = ask(fd, GROUP_GET_STATUS, GROUP_STATUS, filled(GROUP_STATUS))
        if not status["flags"] & GROUP_VIABLE:
            mend = "bind all devices of the group to vfio-pci, or unbind them"
            raise HostError(f"VFIO group {name} has devices that belong to drivers of the kernel", mend=mend)
        wanted = (NOIOMMU_IOMMU,) if name.startswith("noiommu") else (TYPE1V2_IOMMU, TYPE1_IOMMU)
        if self._iommu and self._iommu not in wanted:
            raise HostError(f"VFIO group {name}: devices with and without an IOMMU cannot be used by one process")
        try:
            fcntl.ioctl(fd, GROUP_SET_CONTAINER, struct.pack("i", self._fd))
            if not self._iommu:
                self._set_iommu(wanted)
        except OSError as error:
            raise HostError(f"VFIO group {name} cannot be used: {error.strerror}", errno=error.errno) from error

    def _set_iommu(self, wanted: tuple[int, ...]) -> None:
        there = [kind for kind in wanted if fcntl.ioctl(self._fd, CHECK_EXTENSION, kind)]
        if not there:
            raise HostError(
                "the kernel's VFIO has no IOMMU driver of type 1", mend="run: sudo modprobe vfio_iommu_type1"
            )
        fcntl.ioctl(self._fd, SET_IOMMU, there[0])
        if there[0] != NOIOMMU_IOMMU:
            self._memory.watch(self)
        self._iommu = there[0]

    def _pieces(self, address: int, size: int) -> range:
        base = self._region.address
        first = (address - base) // self._piece * self._piece
        return range(base + first, address + size, self._piece)

    def _extent(self, start: int) -> tuple[int, int]:
        """Return where devices find a piece, and its size."""
        return self._memory.iova(start), min(self._piece, self._region.address + self._region.size - start)

    def _map(self, start: int) -> None:
        iova, size = self._extent(start)
        try:
            fcntl.ioctl(
                self._fd, IOMMU_MAP_DMA, filled(DMA_MAP, flags=DMA_READ_WRITE, vaddr=start, iova=iova, size=size)
            )
        except OSError as error:
            mend = {
                "ENOMEM": "raise ulimit -l, or run as root",
                "EINVAL": "start with --base-virtaddr 0x100000000, which every IOMMU reaches",
            }.get(_name(error))
            told = f"the IOMMU does not take {size >> 10} KiB of memory at {iova:#x}: {error.strerror}"
            raise HostError(told, mend=mend, errno=error.errno) from error

    def _leave(self, start: int) -> None:
        self._zones_in[start] -= 1
        if self._zones_in[start] == 0:
            iova, size = self._extent(start)
            fcntl.ioctl(self._fd, IOMMU_UNMAP_DMA, filled(DMA_UNMAP, iova=iova, size=size))


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "")


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        mend = (
            f"run: sudo chown $(id -u) {path}" if isinstance(error, PermissionError) else "run: sudo modprobe vfio-pci"
        )
        if _name(error) == "EBUSY":
            mend = "another process has it: end that one"
        raise HostError(f"cannot open {path}: {error.strerror}", mend=mend, errno=error.errno) from error
