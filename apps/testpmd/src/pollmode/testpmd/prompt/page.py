# SPDX-License-Identifier: BSD-3-Clause
"""The tables of commands in the documentation, made of the grammar: `python -m pollmode.testpmd.prompt.page PAGE`."""

from __future__ import annotations

import sys
from pathlib import Path

from pollmode.testpmd.prompt.grammar import Form, Grammar

__all__ = ["missing_table", "renewed", "supported_table"]

BEGIN, END = "<!-- {}: made of the grammar -->", "<!-- {}: end -->"
MANY, KEPT = 10, 4
"""A choice of this many words is shown by its first ones."""


def supported_table(grammar: Grammar) -> str:
    """Return the Markdown table of all commands."""
    lines = ["| command | what it does |", "|---|---|"]
    for command in grammar.commands:
        forms = "<br>".join(f"`{_shown(form)}`" for form in command.forms)
        lines.append(f"| {forms} | {command.meaning} |")
    return "\n".join(lines)


def missing_table(grammar: Grammar) -> str:
    """Return the Markdown table of the commands that only DPDK has."""
    lines = ["| commands that begin with | why |", "|---|---|"]
    for reason, forms in grammar.missing.items():
        lines.append(f"| {'<br>'.join(f'`{_shown(form)}`' for form in forms)} | {reason} |")
    return "\n".join(lines)


def _shown(form: Form) -> str:
    words = []
    for token in form.tokens:
        options = token.kind.shown.split("|")
        few = options if len(options) < MANY else [*options[:KEPT], "..."]
        words.append("\\|".join(few))
    return " ".join(words)


def renewed(page: str, grammar: Grammar) -> str:
    """Return a page with the tables between their marks made anew."""
    for name, table in (("commands", supported_table(grammar)), ("missing", missing_table(grammar))):
        before, begin, rest = page.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def main() -> None:
    """Renew the tables of the page that is the first argument."""
    from pollmode.testpmd.commands import grammar

    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8"), grammar()), encoding="utf-8")


if __name__ == "__main__":
    main()
