# SPDX-License-Identifier: BSD-3-Clause
"""Ours against libdpdk's C, loop by loop, in turn on one core: `python -m benchmarks.micro [--json FILE]`.

Both sides run the same loop for the same number of rounds, alternately, several times; a row shows the medians, the
ratio of them (above 1: ours is faster) and the spread of the ratio over the turns. libdpdk is taken twice, compiled
as pkg-config says and for this very machine; the ratio is against the faster.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.micro.libdpdk import Libdpdk, build
from benchmarks.micro.loops import Bench, Loop
from pollmode.eal.errors import PollmodeError

LINE = 0.9
"""What every row has to reach."""


def measure(loop: Loop, others: dict[str, Libdpdk], turns: int, operations: int) -> dict[str, Any]:
    """Run one loop on all sides in turn; returns the row of the table."""
    rounds = max(1, operations // loop.operations)
    loop.run(1)
    taken: dict[str, list[float]] = {"ours": [], **{name: [] for name in others}}
    for _ in range(turns):
        taken["ours"].append(loop.run(rounds) / rounds / loop.operations)
        for name, other in others.items():
            taken[name].append(other.cycles(loop.name, rounds))
    medians = {name: median(values) for name, values in taken.items()}
    best = min(others, key=lambda name: medians[name])
    ratios = sorted(theirs / ours for ours, theirs in zip(taken["ours"], taken[best], strict=True))
    return {
        "loop": loop.name,
        **{name: round(value, 2) for name, value in medians.items()},
        "ratio": round(medians[best] / medians["ours"], 2),
        "low": round(ratios[len(ratios) // 4], 2),
        "high": round(ratios[-1 - len(ratios) // 4], 2),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    names = list(rows[0])
    print("cycles of the time-stamp counter per operation, medians; ratio above 1: ours is faster")
    print(f"{names[0]:<20}" + "".join(f"{name:>16}" for name in names[1:]))
    for row in rows:
        print(f"{row['loop']:<20}" + "".join(f"{row[name]:>16.2f}" for name in names[1:]))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns 1 when a row is below the line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__.splitlines()[0])
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the core to run on")
    parser.add_argument("--turns", type=int, default=11, help="how often each side runs each loop")
    parser.add_argument("--operations", type=int, default=2_000_000, help="operations in a turn")
    parser.add_argument("--only", default="", help="loops whose names contain this")
    parser.add_argument("--json", type=Path, help="write the rows there")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory() as folder, Bench() as bench:
        try:
            programs = {
                "libdpdk": build(Path(folder), native=False),
                "libdpdk native": build(Path(folder), native=True),
            }
            others = {name: Libdpdk(program, options.core) for name, program in programs.items()}
        except PollmodeError as error:
            print(error, file=sys.stderr)
            return 1
        chosen = [loop for loop in bench.loops() if options.only in loop.name]
        rows = [measure(loop, others, options.turns, options.operations) for loop in chosen]
        for other in others.values():
            other.close()
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["ratio"] < LINE for row in rows))


if __name__ == "__main__":
    sys.exit(main())
