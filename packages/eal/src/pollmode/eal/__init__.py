# SPDX-License-Identifier: BSD-3-Clause
"""Environment layer: compiled code, memory, lcores, options, interrupts, logs.

The submodules are the faces of their subjects. `Environment` is imported when it is first used: it brings numba along,
which a command that only answers `--help` must not wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pollmode.eal.errors import (
    ConfigError,
    DeviceFault,
    HostError,
    InternalError,
    PollmodeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = [
    "ConfigError",
    "DeviceFault",
    "Environment",
    "HostError",
    "InternalError",
    "PollmodeError",
    "UnsupportedError",
]


def __getattr__(name: str) -> Any:
    if name == "Environment":
        from pollmode.eal.environment import Environment

        return Environment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
