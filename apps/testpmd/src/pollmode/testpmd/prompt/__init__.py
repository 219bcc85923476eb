# SPDX-License-Identifier: BSD-3-Clause
"""The interactive prompt: one grammar of commands, from which parsing, completion, inline help and pages come.

`kinds.py` (what a word can be), `grammar.py` (forms and how a line finds its command), `shell.py` (running lines),
`reader.py` (piped lines), `terminal.py` (a person's terminal). The commands are in `pollmode.testpmd.commands`.
"""

from pollmode.testpmd.prompt.grammar import Command, Commands, Grammar

__all__ = ["Command", "Commands", "Grammar"]
