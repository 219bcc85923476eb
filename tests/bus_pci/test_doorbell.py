# SPDX-License-Identifier: BSD-3-Clause
"""Doorbells rung from compiled code: every kind of record."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from pollmode.bus_pci import PciId, ring_doorbell
from pollmode.bus_pci.layout import (
    DOORBELL,
    DOORBELL_EVENT,
    DOORBELL_MESSAGE,
    DOORBELL_SIZE,
    DOORBELL_WRITE,
)
from pollmode.bus_pci.testing import FakeDevice
from pollmode.eal.errors import InternalError
from pollmode.eal.jit import compiled
from pollmode.eal.memory import Memory


@compiled
def ring(doorbell: int, value: int) -> int:
    ring_doorbell(doorbell, value)
    return 0


@pytest.fixture
def record(memory: Memory) -> Iterator[np.ndarray]:
    zone = memory.reserve("doorbell", DOORBELL_SIZE)
    yield zone.array(DOORBELL)
    memory.free(zone)


def address(record: np.ndarray) -> int:
    return int(record.ctypes.data)


@pytest.mark.parametrize(
    ("size", "stored"), [(1, 0xAAAAAAAAAAAAAA88), (2, 0xAAAAAAAAAAAA7788), (4, 0xAAAAAAAA55667788)]
)
def test_a_doorbell_in_memory_is_a_store_of_its_size(memory: Memory, size: int, stored: int) -> None:
    device = FakeDevice(memory, PciId(1, 2), {0: 4096})
    doorbell = device.doorbell(0, 0x600, size)
    device.bar(0).write64(0x600, 0xAAAAAAAAAAAAAAAA)
    ring(doorbell, 0x1122334455667788)
    assert device.bar(0).read64(0x600) == stored
    device.close()


def test_a_doorbell_of_eight_bytes(memory: Memory) -> None:
    device = FakeDevice(memory, PciId(1, 2), {0: 4096})
    ring(device.doorbell(0, 0xFF8, 8), 0x1122334455667788)
    assert device.bar(0).read64(0xFF8) == 0x1122334455667788
    with pytest.raises(InternalError, match="BAR 0"):
        device.doorbell(0, 0x1000)
    device.close()


def test_a_doorbell_of_ports_is_written_to_the_file_at_its_offset(record: np.ndarray) -> None:
    fd = os.memfd_create("ports")
    os.write(fd, b"\xa5" * 16)
    record["kind"], record["fd"], record["target"], record["size"] = DOORBELL_WRITE, fd, 4, 2
    ring(address(record), 0x12345678)
    assert os.pread(fd, 16, 0) == b"\xa5" * 4 + b"\x78\x56" + b"\xa5" * 10
    os.close(fd)


def test_a_doorbell_that_is_an_eventfd_counts(record: np.ndarray) -> None:
    fd = os.eventfd(0)
    record["kind"], record["fd"] = DOORBELL_EVENT, fd
    ring(address(record), 0)
    ring(address(record), 5)
    assert os.eventfd_read(fd) == 2
    os.close(fd)


def test_a_doorbell_that_is_a_message_carries_the_value_in_its_text(record: np.ndarray) -> None:
    ours, theirs = socket.socketpair()
    text = b"writel 0xfebf0600 0x00000000\n"
    record["kind"], record["fd"], record["length"], record["digits"] = DOORBELL_MESSAGE, ours.fileno(), len(text), 20
    record["text"][0, : len(text)] = list(text)
    ring(address(record), 0x89ABCDEF)
    ring(address(record), 0x1_0000_0001)
    assert theirs.recv(100) == b"writel 0xfebf0600 0x89abcdef\nwritel 0xfebf0600 0x00000001\n"
    theirs.close()
    ring(address(record), 1)
    assert record["errors"] == 1, "nobody is there: counted, not raised"
    ours.close()
