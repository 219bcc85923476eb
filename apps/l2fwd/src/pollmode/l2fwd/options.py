# SPDX-License-Identifier: BSD-3-Clause
"""l2fwd's own options: from texts to values, with DPDK's bounds and error texts. Touches neither machine nor ports."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError

__all__ = ["MAX_PORTS", "Options", "invalid", "read_options"]

MAX_PORTS = 32
MAX_PAIRS = MAX_PORTS // 2
MOST_QUEUES = 15  # l2fwd.h: MAX_RX_QUEUE_PER_LCORE is 16 and itself refused
LONGEST_PERIOD = 86399  # MAX_TIMER_PERIOD, a day, is refused

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Options:
    """What the command line said; the defaults are DPDK's.

    `mask` has a bit for each port to forward on, 0 when nothing was said. `queues` is how many ports one lcore polls,
    `period` the seconds between two statistics pages (0: none). `portmap` None pairs the ports in their order.
    """

    mask: int = 0
    promiscuous: bool = False
    queues: int = 1
    period: int = 10
    mac_updating: bool = True
    portmap: Pairs | None = None


def invalid(reason: str) -> ConfigError:
    """Return the error of a command line that cannot be right."""
    return ConfigError(f"Invalid L2FWD arguments: {reason}")


def read_options(mask: str | None, queues: str | None, period: str | None, portmap: str | None) -> Options:
    """Read the options that have values; None is one that was not given. Raises ConfigError with DPDK's texts."""
    default = Options()
    return Options(
        mask=default.mask if mask is None else read_mask(mask),
        queues=default.queues if queues is None else read_queues(queues),
        period=default.period if period is None else read_period(period),
        portmap=default.portmap if portmap is None else read_portmap(portmap),
    )


def read_mask(text: str) -> int:
    """Read a hexadecimal mask of ports, with or without 0x."""
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]+", text) or int(text, 16) == 0:
        raise invalid(f"invalid portmask: -p is {text!r}, it must be a hexadecimal mask above 0, such as 0x3")
    return int(text, 16)


def read_queues(text: str) -> int:
    """Read how many ports an lcore polls."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_QUEUES:
        raise invalid(f"invalid queue number: -q is {text!r}, it must be 1 to {MOST_QUEUES}")
    return int(text)


def read_period(text: str) -> int:
    """Read the seconds between two statistics pages."""
    if not text.isdecimal() or int(text) > LONGEST_PERIOD:
        raise invalid(f"invalid timer period: -T is {text!r}, it must be 0 (no page) to {LONGEST_PERIOD} seconds")
    return int(text)


def read_portmap(text: str) -> Pairs:
    """Read pairs of ports: "(0,3)" or "(0,3),(1,2)"."""
    pair = r"\(\s*\d+\s*,\s*\d+\s*\)"
    if not re.fullmatch(rf"\s*{pair}(\s*,\s*{pair})*\s*", text):
        raise invalid(f"Invalid config: --portmap is {text!r}, it must be like (0,1),(2,3)")
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if max(numbers) >= MAX_PORTS:
        raise invalid(f"Invalid config: --portmap names port {max(numbers)}, ports are 0 to {MAX_PORTS - 1}")
    if len(pairs) > MAX_PAIRS:
        raise invalid(f"exceeded max number of port pair params: {len(pairs)}, at most {MAX_PAIRS}")
    return pairs
