# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's telemetry: commands by name, and the JSON that answers a request (rte_telemetry, protocol version 2).

A command is a function of its parameters, the text behind the first comma or None. It returns a plain value: None, a
text, a list or a mapping of texts, integers, lists and mappings. It may be called at any moment, from the interrupt
thread, so it only reads; one that raises is answered with null, as DPDK answers an error.
"""

from __future__ import annotations

import json
import operator
import os
import string
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Final

from pollmode.eal import logs
from pollmode.eal.errors import ConfigError

__all__ = ["INPUT_SIZE", "MAX_OUTPUT", "Command", "HandoverCommand", "Telemetry", "integer"]

log = logs.get("lib.telemetry", logs.WARNING)

Command = Callable[[str | None], object]
HandoverCommand = Callable[[str | None, list[int]], object]

INPUT_SIZE: Final = 1023  # bytes of a request that are looked at, its end is a NUL in DPDK's buffer of 1024
MAX_OUTPUT: Final = 16384  # bytes of an answer, MAX_OUTPUT_LEN
MAX_NAME: Final = 56  # bytes of a command, MAX_CMD_LEN
MAX_STRING: Final = 128  # RTE_TEL_MAX_STRING_LEN
MAX_SINGLE_STRING: Final = 8192  # RTE_TEL_MAX_SINGLE_STRING_LEN, of a text that is the whole value
MAX_DICT: Final = 256  # RTE_TEL_MAX_DICT_ENTRIES
MAX_ARRAY: Final = 512  # RTE_TEL_MAX_ARRAY_ENTRIES

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_/")


class Telemetry:
    """The commands of a process: `/`, `/info`, `/help` and what is registered."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[Command, str]] = {}
        self._handovers: dict[str, HandoverCommand] = {}
        self.register("/", lambda _: sorted(self._commands), "Returns list of available commands, Takes no parameters")
        self.register("/info", lambda _: self._info, "Returns DPDK Telemetry information. Takes no parameters")
        self.register("/help", self._help, "Returns help text for a command. Parameters: string command")

    def register(self, name: str, command: Command, help_text: str) -> None:
        """Answer `name` with what `command(parameters)` returns; a name that is there gets the new command.

        Raises ConfigError for a name that DPDK would refuse: it begins with "/", has letters, digits, "_" and "/" only,
        and is shorter than 56 characters; the help is shorter than 128.
        """
        if not name.startswith("/") or not _NAME_CHARACTERS.issuperset(name) or len(name) >= MAX_NAME:
            raise ConfigError(f"telemetry command {name!r} is not '/' and up to 54 letters, digits, '_' and '/'")
        if len(help_text) >= MAX_STRING:
            raise ConfigError(f"the help of telemetry command {name} is longer than {MAX_STRING - 1} characters")
        self._commands[name] = (command, help_text)
        self._handovers.pop(name, None)

    def register_handover(self, name: str, command: HandoverCommand, help_text: str) -> None:
        """Answer `name` with what `command(parameters, descriptors)` returns; see `register`.

        `descriptors` are those that came with the request; the command takes what it keeps out of the list, the others
        are closed after the answer.
        """
        self.register(name, lambda parameters: command(parameters, []), help_text)
        self._handovers[name] = command

    def greeting(self) -> bytes:
        """Return what a client is told first: version, process id, length of the longest answer."""
        return _encode(self._info, MAX_OUTPUT).encode()

    def answer(self, request: bytes, descriptors: list[int] | None = None) -> bytes:
        """Return the answer to a request, whatever it holds: `{"name":value}`, of less than 16384 bytes.

        What does not fit is left out, element by element, as DPDK does it; the answer stays well-formed. A handover
        command takes from `descriptors`.
        """
        line = request[:INPUT_SIZE].partition(b"\0")[0].lstrip(b",").decode(errors="replace")
        name, _, parameters = line.partition(",")
        prefix = f"{{{json.dumps(name[:MAX_NAME] or 'none')}:"
        called = self._call(name, parameters or None, descriptors or [])
        value = _encode(called, MAX_OUTPUT - 2 - len(prefix), MAX_SINGLE_STRING)
        return f"{prefix}{value}}}".encode()

    def _call(self, name: str, parameters: str | None, descriptors: list[int]) -> object:
        if name not in self._commands:
            return None
        try:
            if name in self._handovers:
                return _plain(self._handovers[name](parameters, descriptors))
            return _plain(self._commands[name][0](parameters))
        except Exception as error:  # a request must never end the thread that serves all the others
            log.info(f"{name}: {type(error).__name__}: {error}")
            return None

    @cached_property
    def _info(self) -> dict[str, object]:
        from importlib.metadata import version

        return {"version": f"Pollmode {version('pollmode-eal')}", "pid": os.getpid(), "max_output_len": MAX_OUTPUT}

    def _help(self, parameters: str | None) -> object:
        if parameters is None:
            return self._commands["/help"][1]
        return {parameters: self._commands[parameters][1]}


def integer(parameters: str | None) -> int:
    """Return the decimal number that a command's parameters are. Raises ConfigError for anything else."""
    if parameters is None or not (parameters.isascii() and parameters.isdigit()):
        raise ConfigError(f"a number is wanted, not {parameters!r}")
    return int(parameters)


def _plain(value: object) -> object:
    """Return a value with its integers as Python's own. Raises TypeError for what has no place in an answer."""
    match value:
        case None | str():
            return value
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return int(operator.index(value))  # type: ignore[arg-type]  # a TypeError is what is wanted


def _encode(value: object, room: int, longest: int = MAX_STRING) -> str:
    """Return a plain value as JSON of at most `room` characters within DPDK's limits of texts, lists and mappings."""
    match value:
        case str():
            text = json.dumps(value[: longest - 1])
            return text if len(text) <= room else "null"
        case dict():
            members = islice(value.items(), MAX_DICT)
            pairs = (f"{json.dumps(name[: MAX_STRING - 1])}:{_encode(each, room)}" for name, each in members)
            return f"{{{_fitting(pairs, room - 2)}}}"
        case list():
            return f"[{_fitting((_encode(each, room) for each in islice(value, MAX_ARRAY)), room - 2)}]"
        case _:
            return json.dumps(value)


def _fitting(parts: Iterable[str], room: int) -> str:
    """Return those parts, in order and with commas, that find room; one that does not is left out."""
    kept: list[str] = []
    for part in parts:
        cost = len(part) + bool(kept)
        if cost <= room:
            kept.append(part)
            room -= cost
    return ",".join(kept)
