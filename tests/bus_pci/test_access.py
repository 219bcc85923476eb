# SPDX-License-Identifier: BSD-3-Clause
"""The seam, seen through the device that is only memory."""

from __future__ import annotations

import select

import pytest

from pollmode.bus_pci import PciAddress, PciId
from pollmode.bus_pci.layout import CAP_MSIX, CONFIG, STATUS_CAPABILITIES
from pollmode.bus_pci.testing import FakeDevice
from pollmode.eal.errors import ConfigError, InternalError, UnsupportedError
from pollmode.eal.memory import Memory


@pytest.fixture
def device(memory: Memory) -> FakeDevice:
    return FakeDevice(memory, PciId(0x15AD, 0x07B0, 0x15AD, 0x07B0, 0x020000), {0: 0x1000, 2: 0x200})


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.mark.parametrize(
    ("text", "address"),
    [("0000:03:00.0", "0000:03:00.0"), ("3:1f.7", "0000:03:1f.7"), ("10000:ab:00.1", "10000:ab:00.1")],
)
def test_addresses_are_read_with_and_without_a_domain(text: str, address: str) -> None:
    assert str(PciAddress.parse(text)) == address


@pytest.mark.parametrize("text", ["", "0000:03:00", "03:00.8", "03:20.0", "x3:00.0", "0000:03:00.0 "])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is no PCI address; write domain:bus:device"):
        PciAddress.parse(text)


def test_registers_hold_what_is_written_in_every_size(device: FakeDevice) -> None:
    bar = device.bar(0)
    bar.write64(0x10, 0x1122334455667788)
    assert (bar.read64(0x10), bar.read32(0x14), bar.read16(0x12)) == (0x1122334455667788, 0x11223344, 0x5566)
    bar.write8(0x10, 0x1FF)
    assert (bar.read8(0x10), bar.read32(0x10)) == (0xFF, 0x556677FF)


def test_a_model_answers_reads_and_hears_writes(device: FakeDevice) -> None:
    heard: list[tuple[int, int, int]] = []
    device.bars[0].on_read = lambda offset, size: offset << 8 | size
    device.bars[0].on_write = lambda *access: heard.append(access)
    device.bar(0).write32(0x20, 7)
    assert (device.bar(0).read32(0x20), heard) == (0x2004, [(0x20, 7, 4)])


@pytest.mark.parametrize(("offset", "size"), [(0x1000, 4), (0xFFE, 4), (-4, 4), (2, 4), (4, 8), (1, 2), (0, 3)])
def test_accesses_outside_or_askew_are_the_drivers_error(device: FakeDevice, offset: int, size: int) -> None:
    with pytest.raises(InternalError, match=r"BAR 0 of 0000:fa:00\.0: . bytes at .* are not aligned, or not within"):
        device.bar(0).read(offset, size)
    with pytest.raises(InternalError, match=r"BAR 0 of 0000:fa:00\.0"):
        device.bar(0).write(offset, 0, size)


def test_a_bar_that_is_not_there_is_named_beside_those_that_are(device: FakeDevice) -> None:
    with pytest.raises(UnsupportedError, match=r"0000:fa:00\.0 has no BAR 1 that can be used; it has 0, 2"):
        device.bar(1)


def test_configuration_space_tells_the_ids(device: FakeDevice) -> None:
    assert device.config_read(0, 4) == 0x07B015AD
    assert device.config_read(CONFIG["CLASS"].offset, 1) == 2
    for offset, size in [(256, 1), (1, 2), (0, 8)]:
        with pytest.raises(InternalError, match="the configuration space of"):
            device.config_read(offset, size)


def test_capabilities_are_found_and_a_circle_of_them_ends(device: FakeDevice) -> None:
    assert device.capabilities() == []
    device.config_write(CONFIG["STATUS"].offset, STATUS_CAPABILITIES, 2)
    device.config_write(CONFIG["CAPABILITIES"].offset, 0x41, 1)
    device.config_write(0x40, 0x50 << 8 | 0x01, 2)
    device.config_write(0x50, CAP_MSIX, 2)
    assert device.capabilities() == [(0x01, 0x40), (CAP_MSIX, 0x50)]
    assert (device.capability(CAP_MSIX), device.capability(0x10)) == (0x50, None)
    device.config_write(0x50, 0x40 << 8 | CAP_MSIX, 2)
    assert len(device.capabilities()) == 48


def test_interrupts_are_counted_masked_and_taken_away(device: FakeDevice) -> None:
    first, second = device.interrupts(2)
    device.raise_interrupt(1)
    assert (readable(first.fd), readable(second.fd)) == (False, True)
    assert (second.acknowledge(), readable(second.fd), second.acknowledge()) == (1, False, 0)
    second.mask()
    device.raise_interrupt(1)
    assert not readable(second.fd)
    second.unmask()
    assert second.acknowledge() == 1
    assert device.interrupts(0) == []
    device.raise_interrupt(0)
    with pytest.raises(UnsupportedError, match="has 32 interrupts, not 33"):
        device.interrupts(33)


def test_a_device_that_is_gone_answers_all_ones_and_tells_once(device: FakeDevice) -> None:
    told: list[str] = []
    device.on_removed(lambda: told.append("first"))
    device.bar(0).write32(0, 5)
    device.unplug()
    assert (device.bar(0).read32(0), device.bar(2).read8(1), device.config_read(0, 4)) == (0xFFFFFFFF, 0xFF, 0xFFFFFFFF)
    device.bar(0).write32(0, 6)
    device.config_write(4, 0, 2)
    device.unplug()
    device.on_removed(lambda: told.append("late"))
    assert told == ["first", "late"]
    device.close()


def test_all_ones_from_a_register_are_a_removal_only_when_the_ids_are_gone_too(device: FakeDevice) -> None:
    device.bar(0).write32(0, 0xFFFFFFFF)
    assert (device.bar(0).read32(0), device.gone) == (0xFFFFFFFF, False)
    device.config[0:4] = b"\xff" * 4
    assert (device.bar(0).read32(0), device.gone) == (0xFFFFFFFF, True)


def test_close_gives_all_memory_back(device: FakeDevice, memory: Memory) -> None:
    device.doorbell(0, 0x600)
    device.interrupts(3)
    device.close()
    device.close()
    assert memory.zones() == []
