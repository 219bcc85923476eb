# SPDX-License-Identifier: BSD-3-Clause
"""The record of a captured queue: the memory between its lcore and the thread that writes the file."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

# Blocks lie whole between two offsets of the memory; where the next one does not fit before the end, `wrap` says where
# the last one ended and the next is at 0. Each side writes lines of its own.
TAP_QUEUE: Final[np.dtype[Any]] = le_struct(
    "tap_queue",
    384,
    buffer="i8",  # address of the memory
    size="i8",
    snaplen="i8",  # bytes of a packet that are kept at most
    interface="i8",  # number of the port's interface in the file
    direction="i8",  # options of every packet, as words
    queue="i8",
    armed="i8",  # 1 once every queue of the capture has its callback
    reserved=("i8", 9),
    head="i8",  # where the next block goes; these are written by the lcore
    wrap="i8",
    seen="i8",  # packets that passed
    missed="i8",  # those that found no room
    reserved2=("i8", 12),
    tail="i8",  # what lies before it may be written over; these are written by the thread
    limit="i8",  # head, as it was when the thread looked
    next="i8",  # the block that the thread takes next; `tail` follows when it took many: the lcore waits for that line
    reserved3=("i8", 13),
)
HEAD: Final = offset_of(TAP_QUEUE, "head")
WRAP: Final = offset_of(TAP_QUEUE, "wrap")
TAIL: Final = offset_of(TAP_QUEUE, "tail")

BUFFER_SIZE: Final = 4 << 20  # bytes of each queue and direction
GATHER_SIZE: Final = 1 << 20  # bytes that are written at a time
