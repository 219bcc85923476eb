# SPDX-License-Identifier: BSD-3-Clause
"""Lines typed at a terminal: completion, history, and at the bottom what can be typed next."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from pollmode.eal.stopper import Stopper
from pollmode.testpmd.prompt.grammar import Grammar, words_of

if TYPE_CHECKING:
    from pollmode.testpmd.session import Session

__all__ = ["bottom_help", "completions", "typed_lines"]

SHOWN = 3
"""Forms in the bottom bar."""


def typed_lines(session: Session, grammar: Grammar, prompt: str) -> Iterator[str]:
    """Return the lines typed until Ctrl-D, Ctrl-C or a signal."""
    typed: PromptSession[str] = PromptSession(
        prompt,
        completer=_FromGrammar(session, grammar),
        complete_while_typing=False,
        history=_history(),
        bottom_toolbar=lambda: bottom_help(grammar, typed.default_buffer.text),
    )
    while True:
        with Stopper(lambda: _end(typed)) as stopper, patch_stdout(raw=True):
            try:
                line = typed.prompt(pre_run=lambda: _end(typed) if stopper.requested else None)
            except EOFError:
                line = None
            except KeyboardInterrupt:
                line, stopper.signal = None, signal.SIGINT
        if line is None:
            if stopper.signal is not None:
                session.stopper.signal = stopper.signal
                session.stopper.stop()
            return
        yield line


def _end(typed: PromptSession[str]) -> None:
    """End reading a line, out of a signal handler or as reading begins."""

    def end() -> None:
        if typed.app.is_running and not typed.app.is_done:
            typed.app.exit(exception=EOFError)

    if typed.app.loop is not None:
        typed.app.loop.call_soon_threadsafe(end)


def _history() -> History:
    """Return the history in the user's state folder, or one that ends with the session where that can't be written."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pollmode"
    path = folder / "testpmd_history"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def completions(session: Session, grammar: Grammar, text: str) -> dict[str, str]:
    """Return the words that the last one of a line may become, each with the meaning of a command it leads to."""
    before = words_of(text)
    partial = before.pop() if before and not text.endswith(" ") else ""
    offered = grammar.next_words(before, session)
    return {word: meaning for word, meaning in offered.items() if word.startswith(partial)}


def bottom_help(grammar: Grammar, text: str) -> str:
    """Return the forms that a line is the beginning of, and what the first one does."""
    before = words_of(text)
    partial = before.pop() if before and not text.endswith(" ") else ""
    fitting = []
    for command, form in grammar.beginning(before):
        shown = form.tokens[len(before)].kind.shown if len(form.tokens) > len(before) else ""
        if not partial or shown.startswith("<") or any(word.startswith(partial) for word in shown.split("|")):
            fitting.append((command, form))
    if not text.strip() or not fitting:
        return "Tab completes; help lists the commands" if not text.strip() else "no command begins so"
    more = f"   (+{len(fitting) - SHOWN} more)" if len(fitting) > SHOWN else ""
    if len(fitting) == 1:
        return f"{fitting[0][1]}: {fitting[0][0].meaning}"
    return "   ".join(str(form) for _, form in fitting[:SHOWN]) + more


class _FromGrammar(Completer):
    def __init__(self, session: Session, grammar: Grammar) -> None:
        self._session = session
        self._grammar = grammar

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        partial = "" if text.endswith(" ") or not text else text.split()[-1]
        for word, meaning in completions(self._session, self._grammar, text).items():
            yield Completion(f"{word} ", start_position=-len(partial), display=word, display_meta=meaning)
