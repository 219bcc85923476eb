# SPDX-License-Identifier: BSD-3-Clause
"""The grammar by itself: how lines find commands, what is offered next, what a wrong line meant."""

from __future__ import annotations

import types
from typing import Any

import pytest

from pollmode.eal.errors import InternalError
from pollmode.testpmd.commands import grammar
from pollmode.testpmd.prompt.grammar import Commands, Form, Grammar, words_of
from pollmode.testpmd.prompt.terminal import bottom_help, completions

made = Commands("display")


@made.add("show port {what:info|stats} {ports:port|all}")
def show(session: Any, what: str, ports: int | str) -> None:
    """Show a port."""


@made.add("set burst {count:u16}")
def burst(session: Any, count: int) -> None:
    """Set the burst."""


@made.add("port attach {device:rest}")
def attach(session: Any, device: str) -> None:
    """Attach a port."""


@made.add("set eth-peer {port} {mac}")
def peer(session: Any, port: int, mac: bytes) -> None:
    """Set a peer."""


SMALL = Grammar(made.made)


def found(line: str) -> tuple[str, dict[str, Any]] | None:
    match = SMALL.find(words_of(line))
    return None if match is None else (match.command.run.__name__, match.arguments)


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("show port info 0", "show", {"what": "info", "ports": 0}),
        ("  show\tport   stats all  # a comment", "show", {"what": "stats", "ports": "all"}),
        ("set burst 0x20", "burst", {"count": 32}),
        ("set burst 010", "burst", {"count": 8}),
        ("set burst 0b11", "burst", {"count": 3}),
        ("port attach net_null0,size=64,copy=1", "attach", {"device": "net_null0,size=64,copy=1"}),
        ("port attach a b  c", "attach", {"device": "a b c"}),
        ("set eth-peer 1 02:00:00:00:00:77", "peer", {"port": 1, "mac": bytes.fromhex("020000000077")}),
    ],
)
def test_a_line_finds_its_command(line: str, name: str, arguments: dict[str, Any]) -> None:
    assert found(line) == (name, arguments)


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("shwo port info 0", "Command not found"),
        ("show", "Bad arguments"),
        ("show port info", "Bad arguments"),
        ("show port info 0 1", "Bad arguments"),
        ("show port info 65536", "Bad arguments"),
        ("show port info -1", "Bad arguments"),
        ("set burst 65536", "Bad arguments"),
        ("set burst 3x", "Bad arguments"),
        ("set burst 099", "Bad arguments"),
        ("set eth-peer 1 02:00", "Bad arguments"),
        ("port attach", "Bad arguments"),
        ("\x00\xff", "Command not found"),
    ],
)
def test_a_line_that_is_no_command_is_refused_in_dpdks_words(line: str, refusal: str) -> None:
    assert found(line) is None
    assert SMALL.refusal(words_of(line)) == refusal


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("shwo port info 0", "show port info|stats <port>|all"),
        ("show prot stats all", "show port info|stats <port>|all"),
        ("set brust 5", "set burst <count>"),
        ("frobnicate", None),
        ("foo burst 5", None),
    ],
)
def test_the_nearest_command_is_named(line: str, nearest: str | None) -> None:
    assert SMALL.nearest(words_of(line)) == nearest


def test_what_may_come_next_is_offered() -> None:
    session: Any = types.SimpleNamespace(ports=types.SimpleNamespace(available=lambda: [types.SimpleNamespace(id=3)]))
    assert list(completions(session, SMALL, "")) == ["show", "set", "port"]
    assert list(completions(session, SMALL, "s")) == ["show", "set"]
    assert list(completions(session, SMALL, "show port ")) == ["info", "stats"]
    assert list(completions(session, SMALL, "show port st")) == ["stats"]
    assert completions(session, SMALL, "show port stats ") == {"3": "Show a port.", "all": "Show a port."}
    assert completions(session, SMALL, "show nothing ") == {}


def test_the_bottom_bar_tells_what_a_line_can_become() -> None:
    assert bottom_help(SMALL, "set b") == "set burst <count>: Set the burst."
    assert bottom_help(SMALL, "set ") == "set burst <count>   set eth-peer <port> <mac>"
    assert bottom_help(SMALL, "x") == "no command begins so"


def test_a_form_whose_argument_the_function_lacks_is_a_mistake() -> None:
    with pytest.raises(InternalError, match="no parameter queue"):

        @Commands("display").add("show {port} {queue}")
        def wrong(session: Any, port: int) -> None:
            """Wrong."""


def test_every_command_has_a_meaning_and_no_two_have_one_form() -> None:
    forms = [str(form) for command in grammar().commands for form in command.forms]
    assert len(forms) == len(set(forms))
    assert all(command.meaning.endswith(".") for command in grammar().commands)


def test_a_form_reads_back_as_it_is_shown() -> None:
    assert str(Form.parse("set {way:rx|tx} {port} {state:on|off}")) == "set rx|tx <port> on|off"
