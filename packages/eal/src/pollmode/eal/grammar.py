# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's command-line grammar over a table of options, shared by the EAL and the applications.

A long option takes its value as the next word or behind `=`; a short one as the next word or attached; an option with
an optional value takes it only behind `=`. Single options may occur once. Nothing is abbreviated and nothing ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError, UnsupportedError, nearest

__all__ = ["Grammar", "Option", "integer", "one_of", "hexadecimal"]

Convert = Callable[[str], object]


@dataclass(frozen=True)
class Option:
    """One option: its names ("-l", "--lcores"), the name of its value (None for a flag) and what it does.

    `key` is the first long name, without dashes. `absent` is the value an option with an optional value takes when
    there is none. `repeat` collects a tuple. `lacking` marks an option that DPDK has and this release has not: the text
    says what is missing, and using it raises UnsupportedError.
    """

    names: tuple[str, ...]
    value: str | None
    meaning: str
    convert: Convert = str
    absent: str | None = None
    repeat: bool = False
    lacking: str | None = None

    @property
    def key(self) -> str:
        """The name a parsed value is found under."""
        longest = next((name for name in self.names if name.startswith("--")), self.names[0])
        return longest.lstrip("-")

    @property
    def usage(self) -> str:
        """The option's names and value as a help page shows them."""
        names = ", ".join(self.names)
        if self.value is None:
            return names
        return f"{names}[={self.value}]" if self.absent is not None else f"{names} {self.value}"


class Grammar:
    """Parses words by a table of options. `renamed` maps names of the past to what they are called now."""

    def __init__(self, options: Iterable[Option], renamed: Mapping[str, str] | None = None) -> None:
        self.options = tuple(options)
        self._by_name = {name: option for option in self.options for name in option.names}
        self._renamed = dict(renamed or {})

    def parse(self, words: Sequence[str]) -> dict[str, object]:
        """Return the converted values by key, a tuple for an option that repeats, True for a flag.

        Raises ConfigError for an unknown, repeated, missing or superfluous word and UnsupportedError for an option
        that this release does not have yet.
        """
        found: dict[str, object] = {}
        rest = list(words)
        while rest:
            name, attached = self._divide(rest.pop(0))
            option = self._option(name)
            text = self._value(option, name, attached, rest)
            if option.lacking is not None:
                raise UnsupportedError(f"{name} is not supported yet: {option.lacking}")
            value = True if option.value is None else option.convert(text)
            if option.repeat:
                earlier = found.get(option.key, ())
                assert isinstance(earlier, tuple)
                found[option.key] = (*earlier, value)
            elif option.key in found:
                raise ConfigError(f"argument {name} should not occur multiple times!")
            else:
                found[option.key] = value
        return found

    def _divide(self, word: str) -> tuple[str, str | None]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            return name, value if equals else None
        if len(word) > 2 and word.startswith("-") and word not in self._by_name:
            return word[:2], word[2:].removeprefix("=")
        if not word.startswith("-") or word == "-":
            raise ConfigError(f"unexpected argument {word!r}: an option starts with '-'")
        return word, None

    def _option(self, name: str) -> Option:
        if name in self._by_name:
            return self._by_name[name]
        if name in self._renamed:
            raise ConfigError(f"unknown argument {name}! It is called {self._renamed[name]} now")
        raise ConfigError(f"unknown argument {name}!{nearest(name, self._by_name)}")

    @staticmethod
    def _value(option: Option, name: str, attached: str | None, rest: list[str]) -> str:
        if option.value is None:
            if attached is not None:
                raise ConfigError(f"argument {name} should not take value! (it was given {attached!r})")
            return ""
        if attached is None:
            if option.absent is not None:
                return option.absent
            if not rest:
                raise ConfigError(f"argument {name} doesn't have value! It needs {option.value}")
            attached = rest.pop(0)
        if attached == "":
            raise ConfigError(f"argument {name} doesn't have value! It needs {option.value}, not an empty text")
        return attached


def integer(name: str, low: int, high: int, message: str | None = None) -> Convert:
    """Return a converter to an integer in [low, high], decimal or 0x; `message` tells the range in DPDK's words."""

    def convert(text: str) -> int:
        try:
            value = int(text, 16) if text.lower().startswith("0x") else int(text)
        except ValueError:
            raise ConfigError(f"{name}: argument expect an integer value! Got {text!r}") from None
        if not low <= value <= high:
            told = f"{name}: {value} is out of range, it must be {low} to {high}"
            raise ConfigError(f"{message}, not {value}" if message else told)
        return value

    return convert


def hexadecimal(name: str, message: str) -> Convert:
    """Return a converter of a hexadecimal number above zero, with or without 0x."""

    def convert(text: str) -> int:
        try:
            value = int(text, 16)
        except ValueError:
            value = -1
        if value < 0:
            raise ConfigError(f"{message}: {name} is {text!r}, it must be a hexadecimal number such as 0x3")
        return value

    return convert


def one_of(name: str, allowed: Sequence[str], message: str | None = None) -> Convert:
    """Return a converter that takes one of `allowed`; `message` starts the error text."""

    def convert(text: str) -> str:
        if text not in allowed:
            told = message or f"{name}: invalid value"
            raise ConfigError(f"{told} {text!r}, it must be one of {', '.join(allowed)}{nearest(text, allowed)}")
        return text

    return convert
