# SPDX-License-Identifier: BSD-3-Clause
"""Every command that DPDK's testpmd lists is one of ours, or one of those that the page says are missing."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import pytest
from support.dpdk import require_testpmd

from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED
from pollmode.testpmd.commands import grammar
from pollmode.testpmd.prompt.grammar import Form

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(300),
    pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="the grammar does not depend on how code runs"),
]

VALUE = "<>"
"""Stands in a line for any value."""
SENTENCE = "set raw encap/decap/sample data"
"""Looks like a form, but is the meaning of set raw_encap and its kind."""


def listed() -> list[str]:
    """Return what dpdk-testpmd answers to a question mark: a line each, "show: show port <port_id> ptypes"."""
    require_testpmd()
    cpu = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="listed-") as folder:
        eal = f"--lcores 0@{cpu},1@{cpu} --no-huge -m 64 --no-pci --no-telemetry --file-prefix listed{os.getpid()}"
        done = subprocess.run(
            ["dpdk-testpmd", *eal.split(), "--", "-i", "--no-mlockall", "--total-num-mbufs=2048"],
            input="?\nquit\n",
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "RUNTIME_DIRECTORY": folder},
            check=False,
        )
    return [f"{found[1]}: {found[2]}" for found in re.finditer(r"^ (\S+) \[.*?\]: (.*)$", done.stdout, re.M)]


def lines_of(told: str) -> Iterator[tuple[str, ...]]:
    """Return the lines that a listed form stands for: each word of a choice, and VALUE for a value."""
    text = re.sub(r"<([a-z_]+(?:\|[a-z_]+)+)>", r"\1", told)
    text = re.sub(r"<[^>]*>(\(\S+\))?", VALUE, text).partition(":")[0]
    places: list[list[str]] = []
    for word in text.split():
        if re.fullmatch(r"[A-Z][a-z]+|\.\.\.|[\[{].*", word):  # the meaning begins, or what may follow
            break
        places.append([VALUE] if word.startswith(VALUE) else word.strip("()").split("|"))
    return itertools.product(*places)


def fits(form: Form, words: Sequence[str], *, whole: bool) -> bool:
    """Tell whether a line is of a form, or of one that it begins with."""
    if len(words) < len(form.tokens) or (whole and len(words) != len(form.tokens)):
        return False
    return all(
        "<" in token.kind.shown if word == VALUE else token.takes(word)
        for token, word in zip(form.tokens, words, strict=False)
    )


def known(words: Sequence[str], ours: Iterable[Form], missing: Iterable[Form]) -> bool:
    return any(fits(form, words, whole=True) for form in ours) or any(
        fits(form, words, whole=False) for form in missing
    )


def test_every_command_of_dpdk_is_here_or_missing_for_a_reason() -> None:
    ours = [form for command in grammar().commands for form in command.forms]
    missing = [form for forms in grammar().missing.values() for form in forms]
    told = 0
    for line in listed():
        first, _, form = line.partition(": ")
        assert any(token.takes(first) for token in (other.tokens[0] for other in (*ours, *missing))), first
        for words in lines_of("" if form == SENTENCE else form):
            if words[:1] == (first,):  # else a sentence, or the other of two first words
                assert known(words, ours, missing), f"{' '.join(words)}: neither supported nor missing for a reason"
                told += 1
    assert told > 400
