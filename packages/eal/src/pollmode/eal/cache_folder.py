# SPDX-License-Identifier: BSD-3-Clause
"""Where compiled code is kept between runs, and what decides that it still fits.

numba notices an edit of the file that a function stands in, not of the files its callees stand in: it would run old
code. So the folder is named by a digest of every source file of the project; any edit starts an empty one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

__all__ = ["KEPT", "TEMPORARY", "cache_base", "choose_folder", "sources_digest"]

KEPT = 4
"""Folders kept: the present one and those of the sources used before it."""
TEMPORARY = "pollmode-cache-"
"""How the names of temporary folders begin."""


def sources_digest(bounds_checked: bool = False) -> str:
    """Return a digest of every source file of the namespace, of numba's and numpy's versions and of the mode."""
    import pollmode

    digest = hashlib.blake2b(f"{version('numba')} {version('numpy')} {bounds_checked}".encode(), digest_size=12)
    for root in sorted(set(pollmode.__path__)):
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_base() -> Path:
    """Return the folder above those of the digests, in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "pollmode"


def choose_folder(bounds_checked: bool) -> str:
    """Return the folder for compiled code, made if needed: in the user's cache, else a private temporary one."""
    try:
        base = cache_base()
        folder = base / sources_digest(bounds_checked)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError
    except OSError:
        return tempfile.mkdtemp(prefix=TEMPORARY)
    _prune(base)
    return str(folder)


def _prune(base: Path) -> None:
    with contextlib.suppress(OSError):
        for old in sorted(base.iterdir(), key=lambda entry: -entry.stat().st_mtime)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
