# SPDX-License-Identifier: BSD-3-Clause
"""Processes that share one's memory: `Secondaries` is what the primary has of them, `Primary` what they have of it.

The primary owns every port and answers questions about them; a secondary maps its memory at the same addresses and
keeps nothing that the primary would miss. See docs/decisions, "A secondary asks".
"""

from pollmode.eal.multiprocess.channel import MAX_REQUEST, Channel
from pollmode.eal.multiprocess.memory import AttachedMemory
from pollmode.eal.multiprocess.primary import MAX_SECONDARIES, Member, Secondaries, Service
from pollmode.eal.multiprocess.secondary import Primary, primary_pid

__all__ = [
    "MAX_REQUEST",
    "MAX_SECONDARIES",
    "AttachedMemory",
    "Channel",
    "Member",
    "Primary",
    "Secondaries",
    "Service",
    "primary_pid",
]
