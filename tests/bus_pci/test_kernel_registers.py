# SPDX-License-Identifier: BSD-3-Clause
"""BARs of files: what is mapped, what is not, and doorbells in both; the files are ordinary memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pollmode.bus_pci import PciId, ring_doorbell
from pollmode.bus_pci.kernel.registers import FileBar, Piece
from pollmode.bus_pci.kernel.vfio import without
from pollmode.bus_pci.testing import FakeDevice
from pollmode.eal.errors import HostError, InternalError
from pollmode.eal.jit import compiled
from pollmode.eal.memory import Memory

PAGE = 4096


@compiled
def ring(doorbell: int, value: int) -> int:
    ring_doorbell(doorbell, value)
    return 0


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.memfd_create("registers")
    os.ftruncate(fd, 5 * PAGE)
    yield fd
    os.close(fd)


@pytest.fixture
def device(memory: Memory) -> Iterator[FakeDevice]:
    made = FakeDevice(memory, PciId(0x15AD, 0x07B0), {})
    yield made
    made.close()


def test_a_mapped_bar_is_the_file_from_its_place_on(device: FakeDevice, file: int) -> None:
    bar = FileBar(device, 0, 2 * PAGE, file, PAGE, pieces=[Piece(0, 2 * PAGE)])
    for size, value in ((8, 0x1122334455667788), (4, 0xAABBCCDD), (2, 0xEEFF), (1, 0x99)):
        bar.write(PAGE + 16, value, size)
        assert bar.read(PAGE + 16, size) == value
    assert os.pread(file, 8, 2 * PAGE + 16) == bytes.fromhex("99eebbaa44332211")[0:1] + bytes.fromhex("eebbaa44332211")
    with pytest.raises(InternalError, match="BAR 0"):
        bar.read32(2 * PAGE)
    bar.close()
    bar.close()
    assert bar.mapped == 0


def test_the_page_left_out_goes_through_the_file(device: FakeDevice, file: int) -> None:
    bar = FileBar(device, 0, 3 * PAGE, file, PAGE, pieces=[Piece(0, PAGE), Piece(2 * PAGE, PAGE)])
    for offset in (0, PAGE, 2 * PAGE):
        bar.write32(offset + 8, offset + 1)
        assert (bar.read32(offset + 8), os.pread(file, 4, PAGE + offset + 8)) == (
            offset + 1,
            (offset + 1).to_bytes(4, "little"),
        )
    bar.close()


def test_doorbells_of_ports_and_of_memory(device: FakeDevice, file: int) -> None:
    device.bars = {  # type: ignore[dict-item]  # what a test puts there
        0: FileBar(device, 0, PAGE, file, PAGE, pieces=[Piece(0, PAGE)]),
        1: FileBar(device, 1, 32, file, 2 * PAGE, port=True),
    }
    ring(device.doorbell(0, 0x600), 0x12345678)
    ring(device.doorbell(1, 0x10, 2), 0x12345678)
    assert os.pread(file, 4, PAGE + 0x600) == bytes.fromhex("78563412")
    assert os.pread(file, 4, 2 * PAGE + 0x10) == bytes.fromhex("78560000")
    device.bars[0].close()  # type: ignore[attr-defined]


def test_a_file_that_ends_is_a_device_that_answers_all_ones(device: FakeDevice) -> None:
    fd = os.memfd_create("short")
    bar = FileBar(device, 1, 32, fd, port=True)
    assert (bar.read16(0), device.gone) == (0xFFFF, False)
    os.close(fd)
    assert bar.read8(0) == 0xFF
    bar.write8(0, 1)


def test_a_file_that_cannot_be_mapped_is_an_error(device: FakeDevice) -> None:
    with pytest.raises(HostError, match="cannot map a device's registers: Bad file descriptor"):
        FileBar(device, 0, PAGE, 10**6, pieces=[Piece(0, PAGE)])


@pytest.mark.parametrize(
    ("size", "table", "pieces"),
    [
        (PAGE, (0, 16), []),
        (4 * PAGE, (0, 16), [Piece(PAGE, 3 * PAGE)]),
        (4 * PAGE, (PAGE, PAGE + 400), [Piece(0, PAGE), Piece(2 * PAGE, 2 * PAGE)]),
        (4 * PAGE, (PAGE + 4000, 2 * PAGE + 100), [Piece(0, PAGE), Piece(3 * PAGE, PAGE)]),
        (2 * PAGE, (PAGE, 2 * PAGE), [Piece(0, PAGE)]),
    ],
)
def test_the_pages_of_the_vector_table_are_left_out(size: int, table: tuple[int, int], pieces: list[Piece]) -> None:
    assert without(size, *table) == pieces
