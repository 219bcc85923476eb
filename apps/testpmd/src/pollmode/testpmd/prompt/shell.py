# SPDX-License-Identifier: BSD-3-Clause
"""Running command lines: of a terminal, of a pipe, of a file. Whatever a command does, the next one can be given."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pollmode.eal.console import OUTPUT_ERRORS
from pollmode.eal.errors import PollmodeError
from pollmode.testpmd.commands import grammar
from pollmode.testpmd.prompt.grammar import words_of
from pollmode.testpmd.prompt.reader import piped_lines
from pollmode.testpmd.tell import explain, warn

if TYPE_CHECKING:
    from pollmode.testpmd.session import Session

__all__ = ["PROMPT", "interact", "load", "refuse", "run_files", "run_line"]

PROMPT = "testpmd> "
DEEPEST = 16
"""How many files of commands may load one another."""


def run_line(session: Session, line: str) -> None:
    """Run one line. What is no command, and what a command cannot do, is told; nothing is raised for it.

    Raises OSError when the output cannot be written any more.
    """
    words = words_of(line)
    if not words:
        return
    if line.rstrip().endswith("?"):
        _show_forms(words)
        return
    found = grammar().find(words)
    if found is None:
        refuse(words)
        return
    try:
        found.command.run(session, **found.arguments)
        sys.stdout.flush()
    except PollmodeError as error:
        warn(str(error))
    except OSError as error:
        if error.errno in OUTPUT_ERRORS and error.filename is None:
            raise
        warn(f"{error.strerror or error}: {error.filename}")
    except Exception:  # a session with running ports outlives a mistake of ours
        warn(f"This is a mistake in testpmd, please report it; the session goes on.\n{traceback.format_exc()}")


def refuse(words: list[str]) -> None:
    """Say that a line is no command, and which it may have meant or why DPDK alone has it."""
    print(grammar().refusal(words), flush=True)
    if (reason := grammar().why_missing(words)) is not None:
        explain(f"a command of DPDK's that is not supported: {reason}")
    elif (near := grammar().nearest(words)) is not None:
        explain(f"the nearest command is: {near}")


def _show_forms(words: list[str]) -> None:
    """Print the commands that can come of a line that ends in a question mark, as DPDK's prompt does for that key."""
    before = [word for word in (*words[:-1], words[-1].rstrip("?")) if word]
    whole = before if words[-1] == "?" else before[:-1]
    partial = "" if words[-1] == "?" or not before else before[-1]
    for command, form in grammar().beginning(whole):
        offered = form.tokens[len(whole)].kind.shown if len(form.tokens) > len(whole) else ""
        if offered.startswith("<") or any(word.startswith(partial) for word in offered.split("|")):
            print(f" {form}: {command.meaning}")
    sys.stdout.flush()


def run_files(session: Session, files: Iterable[tuple[str, bool]]) -> None:
    """Run the commands of files, each with whether its lines are shown."""
    for path, echo in files:
        if not session.over:
            load(session, path, echo=echo)


def load(session: Session, path: str, *, echo: bool = False) -> None:
    """Run the commands of a file. A file that cannot be read is told of."""
    if session.loading >= DEEPEST:
        warn(f"Failed to load commands from file: {path}", f"{DEEPEST} files load one another already")
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        warn(f"Failed to create file based cmdline context: {path}", error.strerror)
        return
    session.loading += 1
    try:
        _run_lines(session, iter(lines), echo=echo)
    finally:
        session.loading -= 1
    print(f"Read CLI commands from {path}", flush=True)


def _run_lines(session: Session, lines: Iterator[str], *, echo: bool) -> None:
    for line in lines:
        if echo:
            print(f"{PROMPT}{line}", flush=True)
        run_line(session, line)
        if session.over or session.stopper.requested:  # before another line is asked for
            return


def interact(session: Session) -> None:
    """Run what is typed or piped until quit, the end of the input or a signal."""
    if session.over:
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        from pollmode.testpmd.prompt.terminal import typed_lines

        _run_lines(session, typed_lines(session, grammar(), PROMPT), echo=False)
    else:
        _run_piped(session)
    if session.stopper.signal is not None:
        print(f"\nSignal {session.stopper.signal} received, preparing to exit...", flush=True)


def _run_piped(session: Session) -> None:
    """Run piped lines, showing the prompt and each line as a terminal would."""
    print(PROMPT, end="", flush=True)
    try:
        for line in piped_lines(session.stopper):
            print(line, flush=True)
            run_line(session, line)
            if session.over or session.stopper.requested:
                return
            print(PROMPT, end="", flush=True)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal that went away is an end of the input
            raise
    if session.running:
        print(flush=True)  # what the end of forwarding prints begins a line
