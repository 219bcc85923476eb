# SPDX-License-Identifier: BSD-3-Clause
"""What a session at testpmd's prompt printed, as lines that can be compared: what differs by nature is made alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

PROMPT = "testpmd> "


def alike(text: str) -> str:
    """Return a text with MAC addresses, counts of packets and rates made the same."""
    text = re.sub(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", "MAC", text.replace("\r", ""))
    text = re.sub(r"((?:packets|total|bytes|-dropped|[RT]x-[pb]ps)): +\d+ *", r"\1: N ", text)
    return re.sub(r"(_packets|_bytes|_errors): \d+", r"\1: N", text)


def session_of(lines: Sequence[str]) -> list[str]:
    """Return what follows the first prompt: what is printed before depends on the environment."""
    first = next(place for place, line in enumerate(lines) if line.startswith(PROMPT))
    return list(lines[first:])
