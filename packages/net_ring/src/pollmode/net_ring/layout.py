# SPDX-License-Identifier: BSD-3-Clause
"""The record of a queue of net_ring."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

QUEUE: Final[np.dtype[Any]] = le_struct("ring_queue", 64, ring="i8", packets="i8", reserved=("i8", 6))
QUEUE_RING: Final = offset_of(QUEUE, "ring")
QUEUE_PACKETS: Final = offset_of(QUEUE, "packets")

MAX_RINGS: Final = 16  # RTE_PMD_RING_MAX_RX_RINGS
RING_SIZE: Final = 1024
