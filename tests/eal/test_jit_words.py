# SPDX-License-Identifier: BSD-3-Clause
"""The verbs do what their twins say, in whichever way this run executes compiled code."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal import jit
from pollmode.eal.jit import (
    byteswap16,
    byteswap32,
    byteswap64,
    compare_exchange32,
    compare_exchange64,
    compiled,
    copy,
    copy16,
    copy32,
    copy64,
    cycles,
    delta16,
    exchange32,
    exchange64,
    fence,
    fence_acquire,
    fence_release,
    fetch_add16,
    fetch_add32,
    fetch_add64,
    fill,
    load8,
    load16,
    load32,
    load64,
    load_acquire16,
    load_acquire32,
    load_acquire64,
    load_relaxed8,
    load_relaxed16,
    load_relaxed32,
    load_relaxed64,
    pause,
    prefetch,
    prefetch_write,
    store8,
    store16,
    store32,
    store64,
    store_relaxed16,
    store_relaxed32,
    store_relaxed64,
    store_release16,
    store_release32,
    store_release64,
    write_eventfd,
    yield_cpu,
)

int64 = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture
def room() -> np.ndarray:
    return np.full(256, 0xA5, np.uint8)


@compiled
def every_load(at: int, found: int) -> None:
    store64(found, load8(at))
    store64(found + 8, load16(at))
    store64(found + 16, load32(at))
    store64(found + 24, load64(at))
    store64(found + 32, load_acquire16(at))
    store64(found + 40, load_acquire32(at))
    store64(found + 48, load_acquire64(at))
    store64(found + 56, load_relaxed8(at))
    store64(found + 64, load_relaxed16(at))
    store64(found + 72, load_relaxed32(at))
    store64(found + 80, load_relaxed64(at))


@given(int64)
def test_loads_zero_extend_below_64_bits(value: int) -> None:
    word = np.array([value], np.int64)
    found = np.zeros(11, np.int64)
    every_load(word.ctypes.data, found.ctypes.data)
    low = [value & 0xFF, value & 0xFFFF, value & 0xFFFFFFFF, value]
    assert found.tolist() == [*low, *low[1:], *low]


@compiled
def every_store(at: int, value: int) -> None:
    store8(at, value)
    store16(at + 8, value)
    store32(at + 16, value)
    store64(at + 24, value)
    store_release16(at + 32, value)
    store_release32(at + 40, value)
    store_release64(at + 48, value)
    store_relaxed16(at + 56, value)
    store_relaxed32(at + 64, value)
    store_relaxed64(at + 72, value)


@given(int64)
def test_stores_keep_the_low_bits_and_touch_nothing_else(value: int) -> None:
    room = np.full(80, 0xA5, np.uint8)
    every_store(room.ctypes.data, value)
    widths = [1, 2, 4, 8, 2, 4, 8, 2, 4, 8]
    low = (value & (1 << 64) - 1).to_bytes(8, "little")
    expected = b"".join(low[:width] + b"\xa5" * (8 - width) for width in widths)
    assert room.tobytes() == expected


@compiled
def every_exchange(at: int, found: int) -> None:
    store64(found, compare_exchange64(at, 7, 9))
    store64(found + 8, compare_exchange64(at, 7, 11))
    store64(found + 16, exchange64(at, -3))
    store64(found + 24, fetch_add64(at, 5))
    store64(found + 32, compare_exchange32(at, 2, 1))
    store64(found + 40, exchange32(at, 0xFFFFFFFF))
    store64(found + 48, fetch_add32(at, 1))
    store64(found + 56, fetch_add16(at, 0x10001))


def test_read_modify_write_returns_what_stood_there() -> None:
    word = np.array([7], np.int64)
    found = np.zeros(8, np.int64)
    every_exchange(word.ctypes.data, found.ctypes.data)
    assert found.tolist() == [1, 0, 9, -3, 1, 1, 0xFFFFFFFF, 0]
    assert word[0] == 1


@compiled
def add_many(at: int, times: int) -> None:
    for _ in range(times):
        fetch_add64(at, 1)


def test_additions_of_two_threads_are_all_there() -> None:
    word = np.zeros(1, np.int64)
    times = 2000 if jit.INTERPRETED else 200_000
    threads = [threading.Thread(target=add_many, args=(word.ctypes.data, times)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert word[0] == 2 * times


@compiled
def copy_some(destination: int, source: int, count: int) -> None:
    copy(destination, source, count)


@pytest.mark.parametrize("count", [*range(200), 1500])
def test_copy_is_exact(count: int) -> None:
    source = np.arange(1600, dtype=np.uint32).astype(np.uint8)
    room = np.full(1600, 0xA5, np.uint8)
    copy_some(room.ctypes.data + 7, source.ctypes.data + 3, count)
    assert room.tobytes() == b"\xa5" * 7 + source[3 : 3 + count].tobytes() + b"\xa5" * (1600 - 7 - count)


@compiled
def copy_blocks(at: int, source: int) -> None:
    copy16(at, source)
    copy32(at + 16, source)
    copy64(at + 48, source)
    fill(at + 112, 0x1234, 5)


def test_blocks_and_fill(room: np.ndarray) -> None:
    source = np.arange(64, dtype=np.uint8)
    copy_blocks(room.ctypes.data, source.ctypes.data)
    s = source.tobytes()
    assert room.tobytes() == s[:16] + s[:32] + s + b"\x34" * 5 + b"\xa5" * (256 - 117)


@compiled
def swaps(value: int, found: int) -> None:
    store64(found, byteswap16(value))
    store64(found + 8, byteswap32(value))
    store64(found + 16, byteswap64(value))
    store64(found + 24, delta16(value, 3))


@given(int64)
def test_byteswaps(value: int) -> None:
    found = np.zeros(4, np.int64)
    swaps(value, found.ctypes.data)
    raw = (value & (1 << 64) - 1).to_bytes(8, "little")
    assert found.tolist() == [
        int.from_bytes(raw[:2], "big"),
        int.from_bytes(raw[:4], "big"),
        int.from_bytes(raw, "big", signed=True),
        (value - 3) & 0xFFFF,
    ]


@compiled
def hints(at: int) -> int:
    prefetch(at)
    prefetch_write(at)
    prefetch(0)
    pause()
    yield_cpu()
    fence()
    fence_acquire()
    fence_release()
    before = cycles()
    return cycles() - before


def test_hints_change_nothing_and_cycles_go_on(room: np.ndarray) -> None:
    assert hints(room.ctypes.data) >= 0
    assert (room == 0xA5).all()


@compiled
def ring_the_bell(fd: int) -> int:
    return write_eventfd(fd)


def test_an_eventfd_rung_from_compiled_code_counts() -> None:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        assert ring_the_bell(fd) == 8
        assert ring_the_bell(fd) == 8
        assert os.eventfd_read(fd) == 2
    finally:
        os.close(fd)
    assert ring_the_bell(fd) == -1
