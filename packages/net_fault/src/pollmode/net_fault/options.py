# SPDX-License-Identifier: BSD-3-Clause
"""The devargs: which faults, how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pollmode.eal.devargs import Parameter, Parameters, integer, text

__all__ = ["PARAMETERS", "FaultOptions", "Rates", "share"]

DEFAULT_SEED = 1
DEFAULT_DELAY = 1000
DEFAULT_GAP = 3
MAX_NAME = 63


@dataclass(frozen=True)
class Rates:
    """How often each fault happens to packets of one direction, from 0 to 1."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.0


KINDS = tuple(field.name for field in fields(Rates))


@dataclass(frozen=True)
class FaultOptions:
    """What is done to packets; `delay` are the microseconds one is held back, `gap` the packets that overtake one."""

    rx: Rates = Rates()
    tx: Rates = Rates()
    seed: int = DEFAULT_SEED
    delay: int = DEFAULT_DELAY
    gap: int = DEFAULT_GAP

    @classmethod
    def read(cls, arguments: Mapping[str, object]) -> FaultOptions:
        """Take the devargs, converted: `drop` is for both directions, `rx_drop` and `tx_drop` for one."""
        rates = {}
        for way in ("rx", "tx"):
            chosen = {kind: arguments[f"{way}_{kind}"] for kind in KINDS}
            both = {kind: arguments[kind] for kind in KINDS}
            rates[way] = Rates(**{kind: _number(chosen[kind], both[kind]) for kind in KINDS})
        seed, delay, gap = (int(str(arguments[key])) for key in ("seed", "delay_us", "reorder_gap"))
        return cls(rates["rx"], rates["tx"], seed, delay, gap)


def _number(chosen: object, both: object) -> float:
    return float(str(both if chosen is None else chosen))


def share(given: str) -> float:
    """Convert "0.5%" or "0.005". Raises ValueError with what is allowed."""
    allowed = "it must be from 0% to 100%, or from 0 to 1"
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        raise ValueError(allowed) from None
    if not 0 <= value <= 1:  # nor NaN
        raise ValueError(allowed)
    return value


PARAMETERS = Parameters(
    {"port": Parameter(text(MAX_NAME), required=True)}
    | {kind: Parameter(share, 0.0) for kind in KINDS}
    | {f"{way}_{kind}": Parameter(share) for way in ("rx", "tx") for kind in KINDS}
    | {
        "seed": Parameter(integer(0, 0xFFFFFFFF), DEFAULT_SEED),
        "delay_us": Parameter(integer(0, 10_000_000), DEFAULT_DELAY),
        "reorder_gap": Parameter(integer(1, 1000), DEFAULT_GAP),
    }
)
