# SPDX-License-Identifier: BSD-3-Clause
"""When a capture ends by itself: -c and -a."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError, UnsupportedError

__all__ = ["NO_LIMIT", "Limits", "limits"]

NO_LIMIT = (1 << 63) - 1


@dataclass(frozen=True)
class Limits:
    """Packets, seconds and bytes of the file after which a capture ends."""

    packets: int = NO_LIMIT
    seconds: float | None = None
    bytes: int = NO_LIMIT


def limits(count: int, conditions: Iterable[str]) -> Limits:
    """Return what `-c` (0: no limit) and each `-a NAME:VALUE` say. Raises ConfigError, UnsupportedError."""
    packets, seconds, size = count or NO_LIMIT, None, NO_LIMIT
    for condition in conditions:
        name, _, value = condition.partition(":")
        if name == "files":
            raise UnsupportedError("-a files: one file is written; end and start again for the next")
        if name not in ("duration", "filesize", "packets"):
            raise ConfigError(f"-a {condition}: conditions are duration:SECONDS, filesize:KIBIBYTES and packets:NUMBER")
        number = _number(condition, value, fraction=name == "duration")
        if name == "duration":
            seconds = number
        elif name == "filesize":
            size = int(number) * 1024
        else:
            packets = min(packets, int(number))
    return Limits(packets, seconds, size)


def _number(condition: str, value: str, *, fraction: bool) -> float:
    form = r"[0-9]{1,12}(\.[0-9]{1,9})?" if fraction else r"[0-9]{1,12}"
    if not re.fullmatch(form, value) or float(value) == 0:
        raise ConfigError(f"-a {condition}: {value!r} is no number above 0")
    return float(value)
