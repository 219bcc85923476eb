# SPDX-License-Identifier: BSD-3-Clause
"""Where compiled code is kept between runs, and what decides that it still fits.

numba notices an edit of the file that a function stands in, not of the files its callees stand in: it would run old
code. So the folder is named by a digest of every source file of the project; any edit starts an empty one. Within the
folder a function is found by its name and the constants it was made with. numba's own key pickles those constants, and
a compiled function among them pickles differently in every process; ours spells it by its name.
"""

# mypy: disable-error-code="no-untyped-call, misc"
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache

from pollmode.eal.jit._mode import BOUNDS_CHECKED
from pollmode.eal.jit._progress import tell

KEPT = 4
"""Folders kept: the present one and those of the sources used before it."""


def sources_digest() -> str:
    """Return a digest of every source file of the namespace, of numba's version and of the mode."""
    import pollmode

    digest = hashlib.blake2b(f"{numba.__version__} {np.__version__} {BOUNDS_CHECKED}".encode(), digest_size=12)
    for root in sorted(set(pollmode.__path__)):
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def choose_folder() -> str:
    """Return the folder for compiled code, made if needed: in the user's cache, else a private temporary one."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = Path(home) / "pollmode"
        folder = base / sources_digest()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError
    except OSError:
        return tempfile.mkdtemp(prefix="pollmode-cache-")
    _prune(base)
    return str(folder)


def _prune(base: Path) -> None:
    with contextlib.suppress(OSError):
        for old in sorted(base.iterdir(), key=lambda entry: -entry.stat().st_mtime)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


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
            numba.config.CACHE_DIR = choose_folder()
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
