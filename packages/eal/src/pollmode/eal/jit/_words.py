# SPDX-License-Identifier: BSD-3-Clause
"""Verbs that are put together from other verbs, once for both ways of running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.eal.jit._mode import INTERPRETED

if TYPE_CHECKING or INTERPRETED:
    from pollmode.eal.jit._interpreter import inlined
    from pollmode.eal.jit._twins import (
        copy16,
        copy32,
        copy64,
        load8,
        load16,
        load32,
        load64,
        store8,
        store16,
        store32,
        store64,
    )
else:
    from pollmode.eal.jit._compiler import inlined
    from pollmode.eal.jit._native import (
        copy16,
        copy32,
        copy64,
        load8,
        load16,
        load32,
        load64,
        store8,
        store16,
        store32,
        store64,
    )


@inlined
def delta16(new: int, old: int) -> int:
    """Return how far a 16-bit ring index moved from `old` to `new`."""
    return (new - old) & 0xFFFF


@inlined
def copy(destination: int, source: int, count: int) -> None:
    """Copy exactly `count` bytes between places that don't overlap.

    The tail is one block that ends at the last byte and may cover bytes already copied: no loop over single bytes.
    """
    if count >= 64:
        done = 0
        while done + 64 <= count:
            copy64(destination + done, source + done)
            done += 64
        if done < count:
            copy64(destination + count - 64, source + count - 64)
    elif count >= 32:
        copy32(destination, source)
        copy32(destination + count - 32, source + count - 32)
    elif count >= 16:
        copy16(destination, source)
        copy16(destination + count - 16, source + count - 16)
    elif count >= 8:
        head, tail = load64(source), load64(source + count - 8)
        store64(destination, head)
        store64(destination + count - 8, tail)
    elif count >= 4:
        head, tail = load32(source), load32(source + count - 4)
        store32(destination, head)
        store32(destination + count - 4, tail)
    elif count >= 2:
        head, tail = load16(source), load16(source + count - 2)
        store16(destination, head)
        store16(destination + count - 2, tail)
    elif count == 1:
        store8(destination, load8(source))
