# SPDX-License-Identifier: BSD-3-Clause
"""Do two processes agree about what stands in the memory they share?"""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

__all__ = ["own_version"]

_FOLDERS = {"mbuf", "multiprocess"}


@functools.cache
def own_version() -> dict[str, str]:
    """Return the version that this process runs, and a digest of all that both sides of shared memory must agree on.

    That is every layout, rings and pools, and what is said between processes; as it was at the first call, whatever is
    edited later.
    """
    import pollmode

    digest = hashlib.blake2b(digest_size=12)
    for root in sorted(set(pollmode.__path__)):
        for path in sorted(Path(root).rglob("*.py")):
            within = path.relative_to(root)
            if within.name.endswith("layout.py") or _FOLDERS.intersection(within.parts):
                digest.update(str(within).encode())
                digest.update(path.read_bytes())
    return {"version": version("pollmode-eal"), "layouts": digest.hexdigest()}
