# SPDX-License-Identifier: BSD-3-Clause
"""Facts of the dispatch: its limits, the table's shape and the records its slots point at."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

MAX_PORTS: Final = 32  # RTE_MAX_ETHPORTS
MAX_QUEUES: Final = 1024  # RTE_MAX_QUEUES_PER_PORT

# What a slot points at. Immutable once published: the words are read after an acquire load of the slot.
ENTRY: Final[np.dtype[Any]] = le_struct("entry", 16, function="i8", queue="i8")
ENTRY_FUNCTION: Final = offset_of(ENTRY, "function")
ENTRY_QUEUE: Final = offset_of(ENTRY, "queue")

# What an entry of a callback chain has as its queue: the entry it wraps, and the function it adds.
CHAIN: Final[np.dtype[Any]] = le_struct("chain", 32, inner_function="i8", inner_queue="i8", function="i8", user="i8")
CHAIN_INNER_FUNCTION: Final = offset_of(CHAIN, "inner_function")
CHAIN_INNER_QUEUE: Final = offset_of(CHAIN, "inner_queue")
CHAIN_FUNCTION: Final = offset_of(CHAIN, "function")
CHAIN_USER: Final = offset_of(CHAIN, "user")

# The table: one mark for each lcore on a cache line of its own, then the slots.
MARK_SIZE: Final = 64
RX_SLOTS: Final = 256 * MARK_SIZE
TX_SLOTS: Final = RX_SLOTS + 8 * MAX_PORTS * MAX_QUEUES
TABLE_SIZE: Final = TX_SLOTS + 8 * MAX_PORTS * MAX_QUEUES
