# SPDX-License-Identifier: BSD-3-Clause
"""The twins of `_compiler`: functions stay plain Python, a burst callback is a ctypes function, an address again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pollmode.eal.jit._callback import BurstFunction, Callback

P = ParamSpec("P")
R = TypeVar("R")

_BURST = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Mark an entry point: a loop or set-up work that the interpreter calls; compiled on its first call, kept on disk.

    It runs without the GIL. Arguments are Python integers, int64 inside.
    """
    return function


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a helper that is compiled into each compiled function that calls it."""
    return function


def compile_now(function: Callable[..., Any], arguments: int) -> None:
    """Compile an entry point that takes `arguments` integers, or load it from the cache, without calling it."""


def burst_callback(function: BurstFunction, name: str) -> Callback:
    """Return the native function of `function(lcore, queue, burst, n) -> count`, known to perf as `name`.

    `function` may close over integers, texts, dtypes and inlined functions: they are constants in the compiled code.
    Raises numba's TypingError for code that can't be compiled: nothing falls back to the interpreter.
    """
    native = _BURST(function)
    return Callback(ctypes.cast(native, ctypes.c_void_p).value or 0, name, native)
