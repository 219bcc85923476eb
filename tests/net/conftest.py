# SPDX-License-Identifier: BSD-3-Clause
"""Memory that holds the bytes of a test, with a pattern around them."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import ClassVar

import pytest

PATTERN = 0xA5
MARGIN = 16


class Wire:
    """Bytes at an address; 16 bytes of 0xA5 before and after show a write outside.

    The last ones made are kept, so that a test may hold no more than the address.
    """

    _kept: ClassVar[deque[Wire]] = deque(maxlen=64)

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._memory = ctypes.create_string_buffer(bytes([PATTERN]) * (self.size + 2 * MARGIN), self.size + 2 * MARGIN)
        self.address = ctypes.addressof(self._memory) + MARGIN
        ctypes.memmove(self.address, data, self.size)
        self._kept.append(self)

    def bytes(self) -> bytes:
        """Return what stands there now; the pattern around it must be whole."""
        whole = self._memory.raw
        around = whole[:MARGIN] + whole[MARGIN + self.size :]
        assert around == bytes([PATTERN]) * (2 * MARGIN), "written outside"
        return whole[MARGIN : MARGIN + self.size]


@pytest.fixture(scope="session")
def wire() -> Callable[[bytes], Wire]:
    """Return the maker of memory that holds given bytes."""
    return Wire


@pytest.fixture(scope="session")
def blank() -> Callable[[int], Wire]:
    """Return the maker of memory of a size, filled with 0xA5."""
    return lambda size: Wire(bytes([PATTERN]) * size)
