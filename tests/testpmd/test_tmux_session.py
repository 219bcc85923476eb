# SPDX-License-Identifier: BSD-3-Clause
"""A session typed at a terminal and the same commands piped give the same texts, and those are DPDK's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from support.prompt_text import PROMPT, alike, session_of
from support.tmux import PATIENCE, Tmux, require_tmux

from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(900),
    pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="what is typed does not depend on how code runs"),
]

EXPECTED = (Path(__file__).parent / "prompt_session.txt").read_text(encoding="utf-8")
"""The whole session. <mac>; <n>: a number; <10->: one with blanks behind it to 10 columns, <12>: before it to 12;
<counters>: lines of names and numbers.
"""

COLUMNS = 160
TOOLBAR = "Tab completes; help lists the commands"
TABS = {
    "show port info 0": "show port in\t0",
    "show port stats 0": "show port st\t0",
    "show port xstats all": "show port xs\tall",
    "set fwd macswap": "set fwd macs\t",
    "port attach net_null2": "port att\tnet_null2",
    "port detach 2": "port det\t2",
}
"""What is typed, with the key that completes a word, instead of a whole line."""


@pytest.fixture
def words() -> Iterator[tuple[list[str], dict[str, str]]]:
    """The command with two ports, and an environment that leaves nothing behind."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    eal = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-1)@({cpus})"]
    eal += ["--vdev", "net_null0", "--vdev", "net_null1"]
    app = ["--", "-i", "--total-num-mbufs=2048", "--rxd=512", "--txd=512"]
    with tempfile.TemporaryDirectory(prefix="state-") as folder:
        yield [sys.executable, "-m", "pollmode.testpmd", *eal, *app], {"XDG_STATE_HOME": folder, "PYTHONUNBUFFERED": ""}


def lines_typed(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if line.startswith(PROMPT.rstrip())]


def typed(argv: list[str], environment: dict[str, str], commands: Sequence[str]) -> str:
    """Type the session, a line that is the last one again with the arrow up; return what the terminal showed."""

    def wait_for_line(whole: str) -> None:
        tmux.wait_until(lambda shown: lines_typed(shown)[-1] == f"{PROMPT}{whole}", f"{whole!r} typed")

    tmux = Tmux(argv, environment, columns=COLUMNS)
    try:
        for number, (before, line) in enumerate(pairwise(["", *commands]), 1):
            tmux.wait_until(
                lambda shown, number=number: len(lines_typed(shown)) == number and shown.endswith(TOOLBAR),
                f"prompt {number}",
            )
            if line == before:
                tmux.press("Up")
            else:
                begun, tab, rest = TABS.get(line, line).partition("\t")
                tmux.type(begun)
                if tab:
                    tmux.press("Tab")
                    wait_for_line(line.removesuffix(rest).rstrip())
                    tmux.type(rest)
            wait_for_line(line)
            tmux.press("Enter")
        return tmux.wait_until(lambda shown: f"\n{Tmux.ENDED} 0" in shown, "exit code 0").partition(f"\n{Tmux.ENDED}")[
            0
        ]
    finally:
        tmux.close()


def piped(argv: list[str], environment: dict[str, str], commands: Sequence[str]) -> str:
    """Pipe the session; return what was printed."""
    done = subprocess.run(
        argv,
        input="\n".join(commands),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def session(shown: str) -> list[str]:
    """Return the lines of a session, without those that tell of compiling and without blanks at their ends."""
    return session_of([line.rstrip() for line in shown.splitlines() if not line.startswith("compiling ")])


def pattern(template: str) -> str:
    """Return the regular expression of a line, and of blanks behind it."""

    def place(found: re.Match[str]) -> str:
        if found[0] == "<mac>":
            return "(?:[0-9A-F]{2}:){5}[0-9A-F]{2}"
        if found[0] == "<n>":
            return r"\d+"
        width, digits, blank = int(found[1]), r"\d{%d}", " {%d}"
        form = digits + blank if found[2] else blank + digits
        filled = (form % ((size, width - size) if found[2] else (width - size, size)) for size in range(1, width))
        return rf"(?:{'|'.join(filled)}|\d{{{width},}})"

    return re.sub(r"<(?:mac|n|(\d+)(-?))>", place, re.escape(template).replace(r"\-", "-")) + " *"


def check(lines: Sequence[str]) -> None:
    """Compare a session with the expected one, line by line."""
    left = iter([*lines, ""])
    line = next(left)
    for template in EXPECTED.splitlines():
        if template == "<counters>":
            while re.fullmatch(r"\w+: \d+", line):
                line = next(left)
            continue
        assert re.fullmatch(pattern(template), line.ljust(COLUMNS)), f"{line!r} is not {template!r}"
        line = next(left)
    assert list(left) == []


def test_a_typed_and_a_piped_session_give_the_same_texts(words: tuple[list[str], dict[str, str]]) -> None:
    require_tmux()
    commands = [line.removeprefix(PROMPT) for line in EXPECTED.splitlines() if line.startswith(PROMPT)]
    through_a_pipe = session(piped(*words, commands))  # first: it compiles what both need
    check(through_a_pipe)
    at_a_terminal = session(typed(*words, commands))
    check(at_a_terminal)
    assert [alike(line) for line in at_a_terminal] == [alike(line) for line in through_a_pipe]
