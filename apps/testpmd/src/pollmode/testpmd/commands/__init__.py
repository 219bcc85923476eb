# SPDX-License-Identifier: BSD-3-Clause
"""The commands of the prompt, a file a group; `grammar()` is all of them. See "Adding a command" in the README."""

from __future__ import annotations

import functools

from pollmode.testpmd.prompt.grammar import Grammar

__all__ = ["grammar"]


@functools.cache
def grammar() -> Grammar:
    """Return the grammar of all commands."""
    from pollmode.testpmd.commands import (
        config,
        control,
        dump,
        helping,
        info,
        offloads,
        port_config,
        ports,
        queues,
        reception,
        rss,
        settings,
        show,
        vlans,
        watch,
    )
    from pollmode.testpmd.commands.missing import MISSING

    kinds = (control, show, info, config, ports, port_config, queues, settings)
    modules = (*kinds, reception, vlans, offloads, rss, dump, watch)
    groups = [helping.commands, *(module.commands for module in modules)]
    return Grammar([command for group in groups for command in group.made], MISSING)
