# SPDX-License-Identifier: BSD-3-Clause
"""Name compiled callbacks to `perf`: lines of /tmp/perf-PID.map, written when POLLMODE_PERF is set."""

# mypy: disable-error-code="no-untyped-call, misc"
from __future__ import annotations

import os
from typing import Any

from llvmlite import binding


def wanted() -> bool:
    """Whether this process names its callbacks; it compiles them anew, as cached code does not tell its size."""
    return bool(os.environ.get("POLLMODE_PERF"))


def name_to_perf(native: Any, name: str) -> None:
    """Append a freshly compiled callback's functions and their sizes to this process's map.

    The format is Linux's tools/perf/Documentation/jit-interface.txt: start and size in hexadecimal, then the name.
    """
    library = native._library
    compiled = binding.object_file.ObjectFileRef.from_data(library._get_compiled_object())
    text = max((section.size() for section in compiled.sections() if section.is_text()), default=0)
    starts = sorted(
        address
        for function in library.get_defined_functions()
        if 0 <= (address := library.get_pointer_to_function(function.name)) - native.address + text < 2 * text
    )
    with open(f"/tmp/perf-{os.getpid()}.map", "a", encoding="ascii") as table:
        for start, following in zip(starts, [*starts[1:], starts[0] + text], strict=True):
            table.write(f"{start:x} {max(following - start, 1):x} {name}\n")
