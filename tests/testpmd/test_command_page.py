# SPDX-License-Identifier: BSD-3-Clause
"""The page of commands: its table is the grammar's, and what it says is not supported is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pollmode.testpmd.commands import grammar
from pollmode.testpmd.prompt.grammar import words_of
from pollmode.testpmd.prompt.page import renewed

PAGE = Path(__file__).parents[2] / "docs" / "apps" / "testpmd-commands.md"


def test_the_table_is_made_of_the_grammar() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page, grammar()), f"renew it: python -m pollmode.testpmd.prompt.page {PAGE.name}"


@pytest.mark.parametrize(
    "line",
    [
        "set fwd noisy",
        "port cleanup 0 txq 0 1",
        "set rxpkts 64",
        "set txsplit on",
        "csum mac-swap on 0",
        "set port 0 gro on",
        "show port 0 eeprom",
        "flow list 0",
        "show port 0 fec_mode",
        "dump_trace",
    ],
)
def test_what_is_not_supported_is_no_command(line: str) -> None:
    assert grammar().find(words_of(line)) is None
    first = line.split()[0]
    assert re.search(rf"`{first}|`[^`]*{first}", PAGE.read_text(encoding="utf-8").partition("## Not supported")[2])
