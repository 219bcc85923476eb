# SPDX-License-Identifier: BSD-3-Clause
"""Making compiled functions: entry points, inlined helpers and burst callbacks."""

# mypy: disable-error-code="no-untyped-call, misc, attr-defined"
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import types
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.registry import CPUDispatcher

from pollmode.eal.jit._cache import SourceKeyedCache
from pollmode.eal.jit._callback import BurstFunction, Callback
from pollmode.eal.jit._linking import OPTIONS, linked
from pollmode.eal.jit._perf import name_to_perf
from pollmode.eal.jit._perf import wanted as perf_wanted

P = ParamSpec("P")
R = TypeVar("R")

BURST_SIGNATURE = types.int64(types.int64, types.int64, types.int64, types.int64)


class EntryPoint(CPUDispatcher):  # type: ignore[misc, unused-ignore]  # numba is not typed
    """A function that the interpreter calls; compiled code that calls it links it.

    It has one version, all int64: narrower integers and constants in a caller are widened, instead of a version each.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions={**OPTIONS, "nopython": True, "boundscheck": None})
        self._cache = SourceKeyedCache(function, function.__name__)
        self._linked = linked(function)
        self._arguments = (types.int64,) * len(inspect.signature(function).parameters)

    def compile(self, sig: Any) -> Any:
        return super().compile(self._arguments)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        self._linked.compile(self._arguments)
        return self._linked.get_call_template(self._arguments, kws)

    def get_overload(self, sig: Any) -> Any:
        return self._linked.get_overload(sig)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on its first call, without the GIL, kept on disk between runs.

    For loops and set-up work that the interpreter calls. Arguments are Python integers, int64 inside.
    """
    return EntryPoint(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into each compiled function that calls it."""
    return linked(function, forceinline=True)  # type: ignore[no-any-return]  # numba is not typed


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
