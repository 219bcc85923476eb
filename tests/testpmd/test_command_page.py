# SPDX-License-Identifier: BSD-3-Clause
"""The page of commands: its tables are the grammar's, what it lists is taken, what it says is missing is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollmode.testpmd.commands import grammar
from pollmode.testpmd.prompt import shell
from pollmode.testpmd.prompt.grammar import Form, Token
from pollmode.testpmd.prompt.page import renewed
from pollmode.testpmd.tell import ARROW

PAGE = Path(__file__).parents[2] / "docs" / "apps" / "testpmd-commands.md"
EXAMPLES = ("0", "02:00:00:00:00:01", "word")


def test_the_tables_are_made_of_the_grammar() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page, grammar()), f"renew it: python -m pollmode.testpmd.prompt.page {PAGE.name}"
    assert "| `flow`<br>" in page.partition("## Not supported")[2]


def examples(token: Token) -> list[str]:
    """Return words that can stand in a place: every word of a choice, an example of each kind of value."""
    words = [word for word in token.kind.shown.split("|") if "<" not in word]
    if "<" in token.kind.shown:
        words.append(next(word for word in EXAMPLES if token.takes(word)))
    return words


def lines(form: Form) -> Iterator[tuple[str, ...]]:
    return itertools.product(*map(examples, form.tokens))


def test_every_form_of_the_page_is_taken_by_its_command() -> None:
    told = 0
    for command in grammar().commands:
        for form in command.forms:
            for words in lines(form):
                found = grammar().find(words)
                assert found is not None, words
                assert found.command is command, words
                told += 1
    assert told > 200


def test_what_is_missing_is_no_command_and_has_its_reason() -> None:
    told = 0
    for reason, forms in grammar().missing.items():
        for form in forms:
            for words in lines(form):
                assert grammar().find(words) is None, words
                assert grammar().why_missing(words) == reason, words
                told += 1
    assert told > 100


@pytest.mark.parametrize(
    ("line", "printed", "reason"),
    [
        ("flow list 0", "Command not found\n", "flow rules are not part of this release"),
        ("set fwd noisy", "Bad arguments\n", "forward modes that are not part of this release"),
        ("show port 0 fec_mode", "Bad arguments\n", "no device has forward error correction"),
        ("csum mac-swap on 0", "Bad arguments\n", "forward mode csum sends from its port's own address"),
    ],
)
def test_the_prompt_says_why_in_one_line(
    line: str, printed: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.refuse(line.split())
    shown = capsys.readouterr()
    assert shown.out == printed
    assert shown.err == f"{ARROW}a command of DPDK's that is not supported: {reason}\n"
