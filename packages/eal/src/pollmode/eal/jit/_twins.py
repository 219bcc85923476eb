# SPDX-License-Identifier: BSD-3-Clause
"""The verbs as plain Python: the same names and meanings as `_native`, on ctypes.

They serve where compiled code runs as plain Python (`NUMBA_DISABLE_JIT=1`): coverage, fuzzers and debuggers. Values are
Python integers as int64 would show them; a store keeps the low bits. Orderings need nothing: the interpreter runs one
thread at a time. The read-modify-write verbs hold a lock because the interpreter may switch threads within them.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any

import numpy as np

_locked = threading.Lock()

_UNSIGNED: dict[int, Any] = {8: ctypes.c_uint8, 16: ctypes.c_uint16, 32: ctypes.c_uint32, 64: ctypes.c_int64}
_BURST = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def _load(bits: int, address: int) -> int:
    return int(_UNSIGNED[bits].from_address(address).value)


def _store(bits: int, address: int, value: int) -> None:
    _UNSIGNED[bits].from_address(address).value = int(value) & ((1 << bits) - 1)


def load8(address: int) -> int:
    """Read a byte, zero-extended."""
    return _load(8, address)


def load16(address: int) -> int:
    """Read 16 bits, zero-extended."""
    return _load(16, address)


def load32(address: int) -> int:
    """Read 32 bits, zero-extended."""
    return _load(32, address)


def load64(address: int) -> int:
    """Read 64 bits, as a signed integer."""
    return _load(64, address)


def store8(address: int, value: int) -> None:
    """Write the low 8 bits of `value`."""
    _store(8, address, value)


def store16(address: int, value: int) -> None:
    """Write the low 16 bits of `value`."""
    _store(16, address, value)


def store32(address: int, value: int) -> None:
    """Write the low 32 bits of `value`."""
    _store(32, address, value)


def store64(address: int, value: int) -> None:
    """Write 64 bits."""
    _store(64, address, value)


load_acquire16 = load_relaxed16 = load16
load_acquire32 = load_relaxed32 = load32
load_acquire64 = load_relaxed64 = load64
load_relaxed8 = load8
store_release16 = store_relaxed16 = store16
store_release32 = store_relaxed32 = store32
store_release64 = store_relaxed64 = store64


def fence() -> None:
    """Order every access before against every access after (sequentially consistent)."""


def fence_acquire() -> None:
    """Order the loads before against every access after."""


def fence_release() -> None:
    """Order every access before against the stores after."""


def _compare_exchange(bits: int, address: int, old: int, new: int) -> int:
    with _locked:
        if _load(bits, address) != (old if bits == 64 else old & ((1 << bits) - 1)):
            return 0
        _store(bits, address, new)
        return 1


def compare_exchange32(address: int, old: int, new: int) -> int:
    """Write `new` where `old` stands; 1 when it did, 0 when something else stood there."""
    return _compare_exchange(32, address, old, new)


def compare_exchange64(address: int, old: int, new: int) -> int:
    """Write `new` where `old` stands; 1 when it did, 0 when something else stood there."""
    return _compare_exchange(64, address, old, new)


def _swap(bits: int, address: int, value: int, *, add: bool) -> int:
    with _locked:
        old = _load(bits, address)
        _store(bits, address, old + value if add else value)
        return old


def exchange32(address: int, value: int) -> int:
    """Write `value` and return what stood there."""
    return _swap(32, address, value, add=False)


def exchange64(address: int, value: int) -> int:
    """Write `value` and return what stood there."""
    return _swap(64, address, value, add=False)


def fetch_add16(address: int, value: int) -> int:
    """Add `value` and return what stood there."""
    return _swap(16, address, value, add=True)


def fetch_add32(address: int, value: int) -> int:
    """Add `value` and return what stood there."""
    return _swap(32, address, value, add=True)


def fetch_add64(address: int, value: int) -> int:
    """Add `value` and return what stood there."""
    return _swap(64, address, value, add=True)


def pause() -> None:
    """Tell the core that this is a spin; here, let another thread run."""
    time.sleep(0)


def yield_cpu() -> None:
    """Let another thread run on this cpu: for a spin that lasts, because the one it waits for may be off its cpu."""
    os.sched_yield()
    time.sleep(0)


def cycles() -> int:
    """Read the cycle counter; here, nanoseconds."""
    return time.perf_counter_ns()


def prefetch(address: int) -> None:
    """Ask for the cache line at `address` for reading; the address may be anything."""


def prefetch_write(address: int) -> None:
    """Ask for the cache line at `address` for writing; the address may be anything."""


def copy16(destination: int, source: int) -> None:
    """Copy 16 bytes as one vector."""
    ctypes.memmove(destination, source, 16)


def copy32(destination: int, source: int) -> None:
    """Copy 32 bytes as one vector."""
    ctypes.memmove(destination, source, 32)


def copy64(destination: int, source: int) -> None:
    """Copy 64 bytes as one vector."""
    ctypes.memmove(destination, source, 64)


def fill(destination: int, byte: int, count: int) -> None:
    """Set `count` bytes to `byte`."""
    ctypes.memset(destination, byte & 0xFF, count)


def byteswap16(value: int) -> int:
    """Reverse the bytes of the low 16 bits."""
    return int.from_bytes((value & 0xFFFF).to_bytes(2, "little"), "big")


def byteswap32(value: int) -> int:
    """Reverse the bytes of the low 32 bits."""
    return int.from_bytes((value & 0xFFFFFFFF).to_bytes(4, "little"), "big")


def byteswap64(value: int) -> int:
    """Reverse the bytes of 64 bits."""
    return int.from_bytes((value & (1 << 64) - 1).to_bytes(8, "little"), "big", signed=True)


def call_burst(function: int, lcore: int, queue: int, burst: int, count: int) -> int:
    """Call the burst function at address `function`; returns its count."""
    return int(_BURST(function)(lcore, queue, burst, count))


def write_eventfd(fd: int) -> int:
    """Add 1 to an eventfd; returns the bytes written, -1 on error."""
    try:
        return os.write(fd, (1).to_bytes(8, "little"))
    except OSError:
        return -1


class Record:
    """One structure in memory: its fields are attributes, read and written at once."""

    __slots__ = ("_address", "_dtype")

    def __init__(self, address: int, dtype: np.dtype[Any]) -> None:
        object.__setattr__(self, "_address", address)
        object.__setattr__(self, "_dtype", dtype)

    def __getattr__(self, field: str) -> Any:
        kind, offset = self._field(field)
        if kind.subdtype is not None:
            return Array(self._address + offset, kind.shape[0], kind.base)
        return _read(self._address + offset, kind)

    def __setattr__(self, field: str, value: int) -> None:
        kind, offset = self._field(field)
        _write(self._address + offset, kind, value)

    def _field(self, field: str) -> tuple[np.dtype[Any], int]:
        fields = self._dtype.fields
        if fields is None or field not in fields:
            raise AttributeError(f"the structure has no field {field!r}")
        return fields[field][0], int(fields[field][1])


class Array:
    """`count` elements in memory; an index outside raises IndexError."""

    __slots__ = ("_address", "_count", "_dtype")

    def __init__(self, address: int, count: int, dtype: np.dtype[Any]) -> None:
        self._address, self._count, self._dtype = int(address), int(count), np.dtype(dtype)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        return _read(self._at(index), self._dtype)

    def __setitem__(self, index: int, value: int) -> None:
        _write(self._at(index), self._dtype, value)

    def _at(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"index {index} of an array of {self._count}")
        return self._address + int(index) * self._dtype.itemsize


def _read(address: int, kind: np.dtype[Any]) -> Any:
    if kind.fields is not None:
        return Record(address, kind)
    return int(np.frombuffer(ctypes.string_at(address, kind.itemsize), kind)[0])


def _write(address: int, kind: np.dtype[Any], value: int) -> None:
    if kind.byteorder == ">":
        raise TypeError("a field in network byte order is not for compiled code: use byteswap and a store")
    _store(kind.itemsize * 8, address, int(value))


def record(address: int, dtype: np.dtype[Any]) -> Any:
    """Return the structure of `dtype` at `address`; its fields are attributes."""
    return Record(int(address), dtype)


def view(address: int, count: int, dtype: Any) -> Any:
    """Return the `count` elements of `dtype` at `address`; `count` must be their true number."""
    return Array(address, count, dtype)
