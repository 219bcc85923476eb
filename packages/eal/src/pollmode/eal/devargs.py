# SPDX-License-Identifier: BSD-3-Clause
"""Device arguments: `[bus:]name[,key=value...]`, and what a driver declares it understands.

Stricter than DPDK's kvargs on purpose: an unknown, duplicate or ill-typed key is an error that names the nearest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError, UnsupportedError, nearest

__all__ = ["MAX_NAME", "MAX_PAIRS", "Devargs", "Parameter", "Parameters", "flag", "integer", "parse", "text"]

MAX_NAME = 63
"""Longest device name: DPDK's RTE_DEV_NAME_MAX_LEN without the closing zero."""
MAX_PAIRS = 32
"""Most pairs in one text: DPDK's RTE_KVARGS_MAX."""

PCI_ADDRESS = re.compile(r"([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[0-9a-fA-F]{1,2}\.[0-7]")


@dataclass(frozen=True)
class Devargs:
    """One device's arguments: bus ("vdev" or "pci"), name, and pairs in the order written (None: a bare key)."""

    bus: str
    name: str
    arguments: tuple[tuple[str, str | None], ...]
    text: str


def parse(text: str) -> Devargs:
    """Read `[bus:]name[,key=value...]`; a list value is `key=[a,b]`. Raises ConfigError and UnsupportedError."""
    if re.match(r"(bus|class|driver)=", text):
        raise UnsupportedError(
            f"device {text!r}: the bus=/class=/driver= form is not supported yet, write name,key=value"
        )
    parts = _pieces(text)
    bus, name = _divide(parts[0].strip())
    if not name:
        raise ConfigError(f"failed to parse device {text!r}: it has no name; write name,key=value")
    if len(name) > MAX_NAME:
        raise ConfigError(f"failed to parse device {text!r}: the name has {len(name)} characters, at most {MAX_NAME}")
    pairs = tuple(_pair(part, text) for part in parts[1:] if part.strip())
    if len(pairs) > MAX_PAIRS:
        raise ConfigError(f"failed to parse device {name!r}: {len(pairs)} arguments, at most {MAX_PAIRS}")
    return Devargs(bus, name, pairs, text)


def _divide(word: str) -> tuple[str, str]:
    if PCI_ADDRESS.fullmatch(word):
        return "pci", word
    bus, colon, name = word.partition(":")
    if not colon:
        return "vdev", word
    if bus not in ("pci", "vdev"):
        raise ConfigError(f"failed to parse device {word!r}: bus {bus!r} is unknown, there are pci and vdev")
    return bus, name


def _pieces(text: str) -> list[str]:
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]" and depth > 0)
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    if depth:
        raise ConfigError(f"failed to parse device {text!r}: a '[' is not closed")
    return pieces


def _pair(part: str, text: str) -> tuple[str, str | None]:
    key, equals, value = part.partition("=")
    if not key.strip():
        raise ConfigError(f"failed to parse device {text!r}: {part!r} has no key; write key=value")
    return key.strip(), value if equals else None


Convert = Callable[[str], object]


@dataclass(frozen=True)
class Parameter:
    """A key a driver understands: how its text becomes a value, and the value when it is not given.

    `convert` raises ValueError with what is allowed. `lacking` marks a key DPDK's driver has and ours not yet.
    A `repeated` key may be given several times; its value is the tuple of them.
    """

    convert: Convert = str
    default: object = None
    required: bool = False
    lacking: str | None = None
    repeated: bool = False


class Parameters:
    """The keys a driver understands, by name."""

    def __init__(self, declared: Mapping[str, Parameter]) -> None:
        self.declared = dict(declared)

    def read(self, devargs: Devargs) -> dict[str, object]:
        """Return every declared key's value, defaults filled in.

        Raises ConfigError for an unknown, duplicate, missing or ill-typed key and UnsupportedError for one that is
        not supported yet.
        """
        device = devargs.name
        values: dict[str, object] = {}
        several: dict[str, list[object]] = {}
        for key, given in devargs.arguments:
            if key not in self.declared:
                known = ", ".join(sorted(self.declared)) or "none"
                hint = nearest(key, self.declared)
                raise ConfigError(f"{device}: unknown argument {key!r}{hint}; it takes {known}")
            if self.declared[key].repeated:
                several.setdefault(key, []).append(self._value(device, key, given))
                continue
            if key in values:
                raise ConfigError(f"{device}: argument {key!r} is given twice")
            values[key] = self._value(device, key, given)
        values |= {key: tuple(given) for key, given in several.items()}
        for key, parameter in self.declared.items():
            if key not in values:
                if parameter.required:
                    raise ConfigError(f"{device}: argument {key!r} is needed; write {device},{key}=...")
                values[key] = parameter.default
        return values

    def _value(self, device: str, key: str, given: str | None) -> object:
        parameter = self.declared[key]
        if parameter.lacking is not None:
            raise UnsupportedError(f"{device}: argument {key!r} is not supported yet: {parameter.lacking}")
        if given is None or given == "":
            raise ConfigError(f"{device}: argument {key!r} has no value; write {key}=...")
        try:
            return parameter.convert(given)
        except ValueError as error:
            raise ConfigError(f"{device}: argument {key}={given} is not valid: {error}") from None


def integer(low: int, high: int) -> Convert:
    """Return a converter to an integer in [low, high], decimal or 0x."""

    def convert(given: str) -> int:
        try:
            value = int(given, 0)
        except ValueError:
            raise ValueError(f"it must be an integer from {low} to {high}") from None
        if not low <= value <= high:
            raise ValueError(f"it must be from {low} to {high}")
        return value

    return convert


def flag(given: str) -> bool:
    """Convert 0 or 1."""
    if given not in ("0", "1"):
        raise ValueError("it must be 0 or 1")
    return given == "1"


def text(longest: int) -> Convert:
    """Return a converter that takes any text of at most `longest` bytes."""

    def convert(given: str) -> str:
        size = len(given.encode())
        if size > longest:
            raise ValueError(f"it has {size} bytes, at most {longest} fit")
        return given

    return convert
