# SPDX-License-Identifier: BSD-3-Clause
"""The commands' grammar: forms, how a line finds its command, what may come next, and which command a wrong line meant.

A form is a line of words and of types between braces, "show port {what:info|stats} {port:port|all}": the name before
the colon is the argument of the command's function, and may be left out where the type's name serves.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pollmode.eal.errors import InternalError
from pollmode.testpmd.prompt.kinds import ANY, KINDS, Kind, choice

if TYPE_CHECKING:
    from pollmode.testpmd.session import Session

__all__ = ["Command", "Commands", "Form", "Grammar", "Token", "words_of"]

Run = Callable[..., None]

NEAR = 0.6
"""How alike a wrong line and a command are, at least, for the command to be named; 1 is the same."""


@dataclass(frozen=True)
class Token:
    """One place of a form; `argument` is None for a word that only has to be there."""

    argument: str | None
    kind: Kind

    def takes(self, word: str) -> bool:
        """Tell whether the word can stand here."""
        try:
            self.kind.read(word)
        except ValueError:
            return False
        return True


@dataclass(frozen=True)
class Form:
    """One way to write a command."""

    tokens: tuple[Token, ...]

    @classmethod
    def parse(cls, text: str) -> Form:
        """Read a form."""
        return cls(tuple(_token(part) for part in text.split()))

    def __str__(self) -> str:
        return " ".join(token.kind.shown for token in self.tokens)

    def matched(self, words: Sequence[str]) -> int:
        """Return how many words, from the first one on, stand where they may."""
        count = 0
        for token, word in zip(self.tokens, words, strict=False):
            if not token.takes(word):
                break
            count += 1
            if token.kind.rest:
                return len(words)
        return count

    def arguments(self, words: Sequence[str]) -> dict[str, Any] | None:
        """Return the arguments of a line that is of this form, else None."""
        if self.tokens[-1].kind.rest and len(words) >= len(self.tokens):
            last = len(self.tokens) - 1
            words = [*words[:last], " ".join(words[last:])]
        if len(words) != len(self.tokens) or self.matched(words) != len(words):
            return None
        pairs = zip(self.tokens, words, strict=True)
        return {token.argument: token.kind.read(word) for token, word in pairs if token.argument}

    def likeness(self, words: Sequence[str]) -> float:
        """Return how alike a wrong line is, 0 to 1; 0 unless its first word is near: a place that takes any word
        says nothing.
        """
        found = 0.0
        for token, word in zip(self.tokens, words, strict=False):
            if token.takes(word):
                found += 1
            elif "<" not in token.kind.shown:
                options = token.kind.shown.split("|")
                found += max(difflib.SequenceMatcher(None, word, option).ratio() for option in options)
            if token is self.tokens[0] and found < NEAR:
                return 0.0
        return found / max(len(self.tokens), len(words))


def _token(part: str) -> Token:
    if not part.startswith("{"):
        return Token(None, choice((part,)))
    inside = part.strip("{}")
    name, colon, kind = inside.rpartition(":")
    known = KINDS.get(kind)
    if known is None:
        return Token(name, choice(kind.split("|")))
    argument = name if colon else inside
    return Token(argument, replace(known, shown=f"<{argument}>") if known.shown == ANY else known)


@dataclass(frozen=True)
class Command:
    """A command: its forms, its function and its meaning, which is the first line of the function's docstring.

    `section` is the section of `help` that it stands in.
    """

    forms: tuple[Form, ...]
    run: Run
    meaning: str
    section: str


class Commands:
    """The commands of one section, filled by the decorator `add`."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.made: list[Command] = []

    def add(self, *forms: str) -> Callable[[Run], Run]:
        """Declare a command by its forms; the function gets the session and the arguments that the forms name."""

        def declare(run: Run) -> Run:
            parsed = tuple(Form.parse(form) for form in forms)
            known = set(inspect.signature(run).parameters)
            for form in parsed:
                if unknown := {token.argument for token in form.tokens if token.argument} - known:
                    raise InternalError(f"command {form}: its function has no parameter {', '.join(map(str, unknown))}")
            meaning = (inspect.getdoc(run) or "").partition("\n")[0]
            self.made.append(Command(parsed, run, meaning, self.section))
            return run

        return declare


def words_of(line: str) -> list[str]:
    """Return the words of a line; `#` begins a comment."""
    return line.partition("#")[0].split()


@dataclass(frozen=True)
class Found:
    """A command and what its line gives it."""

    command: Command
    arguments: dict[str, Any]


class Grammar:
    """All commands; `missing` are the beginnings of DPDK's commands that are none here, by the reason why."""

    def __init__(self, commands: Iterable[Command], missing: Mapping[str, Iterable[str]] | None = None) -> None:
        self.commands = tuple(commands)
        self.missing = {reason: tuple(map(Form.parse, forms)) for reason, forms in (missing or {}).items()}

    def find(self, words: Sequence[str]) -> Found | None:
        """Return the command that a line is, the first one that was declared; None when it is none."""
        for command in self.commands:
            for form in command.forms:
                if (arguments := form.arguments(words)) is not None:
                    return Found(command, arguments)
        return None

    def refusal(self, words: Sequence[str]) -> str:
        """Return what DPDK says about a line that is no command."""
        known = any(form.matched(words) for command in self.commands for form in command.forms)
        return "Bad arguments" if known else "Command not found"

    def why_missing(self, words: Sequence[str]) -> str | None:
        """Return why a line is a command of DPDK's alone, None when it is none of those."""
        for reason, forms in self.missing.items():
            if any(form.matched(words) == len(form.tokens) for form in forms):
                return reason
        return None

    def nearest(self, words: Sequence[str]) -> str | None:
        """Return the form that a wrong line most likely meant."""
        forms = [form for command in self.commands for form in command.forms]
        best = max(forms, key=lambda form: form.likeness(words), default=None)
        return str(best) if best is not None and best.likeness(words) >= NEAR else None

    def next_words(self, before: Sequence[str], session: Session) -> dict[str, str]:
        """Return the words that can follow, each with the meaning of a command that it leads to."""
        found: dict[str, str] = {}
        for command, form in self.beginning(before):
            if len(form.tokens) > len(before):
                for word in form.tokens[len(before)].kind.words(session):
                    found.setdefault(word, command.meaning)
        return found

    def beginning(self, before: Sequence[str]) -> list[tuple[Command, Form]]:
        """Return the commands and forms that begin with these whole words."""
        return [
            (command, form)
            for command in self.commands
            for form in command.forms
            if form.matched(before) == len(before)
        ]
