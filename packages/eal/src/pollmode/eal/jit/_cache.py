# SPDX-License-Identifier: BSD-3-Clause
"""How compiled code is found again in the folder of `eal.cache_folder`.

A function is found by its name and the constants it was made with. numba's own key pickles those constants, and a
compiled function among them pickles differently in every process; ours spells it by its name.
"""

# mypy: disable-error-code="no-untyped-call, misc"
from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache

from pollmode.eal.cache_folder import choose_folder
from pollmode.eal.jit._mode import BOUNDS_CHECKED
from pollmode.eal.jit._progress import tell


def constants_key(function: Callable[..., Any]) -> tuple[str, ...]:
    """Spell a function and the constants it closes over, alike in every process.

    Raises TypeError for a constant that has no such spelling.
    """
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, FunctionType):
        raise TypeError(f"{function!r} is closed over: import verbs at the top of the module, where they are globals")
    spelled = [f"{plain.__module__}.{plain.__qualname__}"]
    for cell in plain.__closure__ or ():
        value = cell.cell_contents
        if isinstance(value, (bool, int, float, str, tuple, np.dtype, np.generic)):
            spelled.append(repr(value))
        elif callable(value):
            spelled.append("(" + " ".join(constants_key(value)) + ")")
        else:
            raise TypeError(f"{plain.__qualname__} closes over {value!r}: use integers, texts, dtypes or functions")
    return tuple(spelled)


class SourceKeyedCache(FunctionCache):  # type: ignore[misc, unused-ignore]  # numba is not typed
    """numba's function cache, keyed by names and constants instead of pickles.

    `name` is what the listeners of `_progress` are told when the function is not there and gets compiled.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        if not numba.config.CACHE_DIR:
            numba.config.CACHE_DIR = choose_folder(BOUNDS_CHECKED)
        self._key = constants_key(function)
        self._told_name = name
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None:
            tell(self._told_name)
        return found

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return sig, codegen.magic_tuple(), self._key
