# SPDX-License-Identifier: BSD-3-Clause
"""The commands of the prompt, a file a group; `grammar()` is all of them. See "Adding a command" in the README."""

from __future__ import annotations

import functools

from pollmode.testpmd.prompt.grammar import Grammar

__all__ = ["grammar"]


@functools.cache
def grammar() -> Grammar:
    """Return the grammar of all commands."""
    from pollmode.testpmd.commands import control, show

    groups = (control.commands, show.commands)
    return Grammar([command for group in groups for command in group.made])
