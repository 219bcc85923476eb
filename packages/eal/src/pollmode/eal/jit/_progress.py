# SPDX-License-Identifier: BSD-3-Clause
"""Tell who waits what is being compiled.

A listener is called with the name of each function whose compilation begins, in the thread that compiles it. A function
that is found in the cache is not compiled, and a function inlined into another is a part of that one.
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def on_compile(listener: Listener) -> Callable[[], None]:
    """Call `listener(name)` whenever a compilation begins; returns the function that ends it."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def tell(name: str) -> None:
    """Tell every listener that the compilation of `name` begins."""
    for listener in list(_listeners):
        listener(name)
