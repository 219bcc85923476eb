# SPDX-License-Identifier: BSD-3-Clause
"""Making compiled functions: entry points, inlined helpers and burst callbacks."""

# mypy: disable-error-code="no-untyped-call, misc, attr-defined"
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import njit, types
from numba.core import sigutils
from numba.core.ccallback import CFunc

from pollmode.eal.jit._cache import SourceKeyedCache
from pollmode.eal.jit._callback import BurstFunction, Callback
from pollmode.eal.jit._perf import name_to_perf
from pollmode.eal.jit._perf import wanted as perf_wanted

P = ParamSpec("P")
R = TypeVar("R")

BURST_SIGNATURE = types.int64(types.int64, types.int64, types.int64, types.int64)

# numpy's error model: a division by zero is not worth a branch and an exception in a hot path.
OPTIONS = {"nogil": True, "error_model": "numpy"}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on its first call, without the GIL, kept on disk between runs.

    For loops and set-up work that the interpreter calls. Arguments are Python integers, int64 inside.
    """
    dispatcher = njit(**OPTIONS)(function)
    dispatcher._cache = SourceKeyedCache(function, function.__name__)
    compile_signature = dispatcher.compile
    arguments = (types.int64,) * len(inspect.signature(function).parameters)
    # One version: narrower integers and constants in a caller are widened, instead of giving a version each.
    dispatcher.compile = lambda signature: compile_signature(arguments)
    return dispatcher  # type: ignore[no-any-return]


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into each compiled function that calls it."""
    return njit(forceinline=True, **OPTIONS)(function)  # type: ignore[no-any-return]


def compile_now(function: Callable[..., Any], arguments: int) -> None:
    """Compile an entry point that takes `arguments` integers, or load it from the cache, without calling it."""
    function.compile((types.int64,) * arguments)  # a dispatcher of `compiled`


def burst_callback(function: BurstFunction, name: str) -> Callback:
    """Return the native function of `function(lcore, queue, burst, n) -> count`, known to perf as `name`.

    `function` may close over integers, texts, dtypes and inlined functions: they are constants in the compiled code.
    Raises numba's TypingError for code that can't be compiled: nothing falls back to the interpreter.
    """
    native = CFunc(function, sigutils.normalize_signature(BURST_SIGNATURE), locals={}, options=OPTIONS)
    if not perf_wanted():
        native._cache = SourceKeyedCache(function, name)
    native.compile()
    if perf_wanted():
        name_to_perf(native, name)
    return Callback(native.address or 0, name, native)
