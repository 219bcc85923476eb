# SPDX-License-Identifier: BSD-3-Clause
"""The closed set of errors, by who must act. Each carries an errno and one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DeviceFault",
    "HostError",
    "InternalError",
    "PollmodeError",
    "UnsupportedError",
    "nearest",
]


class PollmodeError(Exception):
    """Anything this project raises on purpose; `errno` is the number a C program would have returned."""

    errno: int = errno.EIO

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        if errno is not None:
            self.errno = errno


class ConfigError(PollmodeError):
    """The caller must act: an option, argument or call order is wrong; the text names it and what is allowed."""

    errno = errno.EINVAL


class HostError(PollmodeError):
    """The machine lacks something; `mend` is the command or setting that gives it, when there is one."""

    errno = errno.ENOSYS

    def __init__(self, message: str, *, mend: str | None = None, errno: int | None = None) -> None:
        super().__init__(message if mend is None else f"{message}; {mend}", errno=errno)
        self.mend = mend


class DeviceFault(PollmodeError):
    """The other side broke the protocol on one queue; `Port.reset()` brings the queue back.

    `queue` is the queue's number in the device, `index` the ring slot and `word` the offending value.
    """

    errno = errno.EPROTO

    def __init__(self, message: str, *, queue: int = -1, index: int = -1, word: int = 0) -> None:
        super().__init__(message)
        self.queue = queue
        self.index = index
        self.word = word


class UnsupportedError(PollmodeError):
    """Something is not supported; the text names the missing feature and which side lacks it."""

    errno = errno.ENOTSUP


class InternalError(PollmodeError):
    """We are wrong: please report it."""

    errno = errno.EFAULT


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the allowed word nearest to `word`, or an empty text when none is near.

    Near is what a slip of the fingers makes: one edit in three characters, three at most, or only the beginning typed.
    """
    plain = word.lstrip("-").lower()
    best, fewest = "", min(len(plain) // 3, 3) + 1
    for other in allowed:
        edits = _edits(plain, other.lstrip("-").lower())
        if len(plain) >= 3 and other.lstrip("-").startswith(plain):
            edits = min(edits, 1)
        if edits < fewest:
            best, fewest = other, edits
    return f" (did you mean {best!r}?)" if best else ""


def _edits(one: str, other: str) -> int:
    """Count the edits between two words: a letter more, less or another one, or two neighbours exchanged.

    This is the optimal string alignment distance; three rows of its table are kept.
    """
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
