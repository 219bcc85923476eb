# SPDX-License-Identifier: BSD-3-Clause
"""What a check says: a verdict, a line for people and, unless all is well, the one command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from pollmode.host_report.host import Host

__all__ = ["Check", "Finding", "Verdict", "counted", "green", "red", "yellow"]


class Verdict(StrEnum):
    """Green is well; yellow costs speed or a feature; red stops a first run. The worst stands last."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` is a command or setting, empty when the verdict is green."""

    verdict: Verdict
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """One subject: its name, what it looks at (for people), and the function that looks."""

    name: str
    looks_at: str
    look: Callable[[Host], Iterable[Finding]]


def counted(number: int, word: str) -> str:
    """Return "1 cpu" or "2 cpus"."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def green(text: str) -> Finding:
    """Return what is well."""
    return Finding(Verdict.GREEN, text)


def yellow(text: str, mend: str) -> Finding:
    """Return what costs speed or a feature."""
    return Finding(Verdict.YELLOW, text, mend)


def red(text: str, mend: str) -> Finding:
    """Return what stops a first run."""
    return Finding(Verdict.RED, text, mend)
