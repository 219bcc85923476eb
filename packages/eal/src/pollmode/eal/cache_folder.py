# SPDX-License-Identifier: BSD-3-Clause
"""Where compiled code is kept between runs, and what decides that it still fits.

numba notices an edit of the file that a function stands in, not of the files its callees stand in: it would run old
code. So the folder is named by a digest of every source file of the project; any edit starts an empty one.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

__all__ = ["KEPT", "TEMPORARY", "cache_base", "choose_folder", "sources_digest"]

KEPT = 4
"""Folders kept: the present one and those of the sources used before it."""
TEMPORARY = "pollmode-cache-"
"""How the names of temporary folders begin."""
ABANDONED = 3600.0
"""Seconds after which nobody goes on writing a file."""


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
    """Return the folder for compiled code, made if needed: in the user's cache, else in the temporary folder.

    Where not even that can be had it is one of this process alone, which goes at its end.
    """
    digest = sources_digest(bounds_checked)
    with contextlib.suppress(OSError):
        return _made(cache_base(), digest)
    with contextlib.suppress(OSError):
        return _made(_temporary_base(), digest)
    private = tempfile.mkdtemp(prefix=TEMPORARY)
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _temporary_base() -> Path:
    """Make a folder of this user in the temporary one, where others may have made one of its name. Raises OSError."""
    base = Path(tempfile.gettempdir()) / f"{TEMPORARY}{os.geteuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    there = base.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it is another user's", str(base))
    return base


def _made(base: Path, digest: str) -> str:
    """Make the folder of a digest, and take away what is old. Raises OSError where that cannot be."""
    folder = base / digest
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot be written", str(folder))
    _prune(base, folder)
    return str(folder)


def _prune(base: Path, present: Path) -> None:
    """Remove the folders of old sources, and from the present one what a process that was killed had half written."""
    with contextlib.suppress(OSError):
        for old in sorted(base.iterdir(), key=lambda entry: -entry.stat().st_mtime)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        for half in present.rglob("*.tmp.*"):  # numba.core.caching, IndexDataCacheFile: renamed when it is whole
            if half.stat().st_mtime < time.time() - ABANDONED:
                half.unlink(missing_ok=True)
