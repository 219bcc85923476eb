# SPDX-License-Identifier: BSD-3-Clause
"""python -m benchmarks.side_by_side [--only onecore,twocores,null] [--pairs 5] [--seconds 2]"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side.programs import DPDK, OURS
from benchmarks.side_by_side.scenarios import SCENARIOS

ENOUGH = 8  # windows for quartiles
RESULTS = Path(__file__).parent.parent / "results"


Windows = dict[str, tuple[list[float], list[float]]]
"""By placement: our rates and DPDK's."""


def measure_pairs(scenario: Any, pairs: int, seconds: int, console: Console) -> Windows:
    """Measure ours and DPDK's in turn."""
    found: Windows = defaultdict(lambda: ([], []))
    for pair in range(pairs):
        for which, program in enumerate((OURS, DPDK)):
            rates = scenario.measure(program, seconds)
            for placement, windows in rates.items():
                found[placement][which].extend(windows)
            told = ", ".join(
                f"{placement} {statistics.median(windows):.2f} ({len(windows)})" for placement, windows in rates.items()
            )
            console.print(f"  {scenario} {pair + 1}/{pairs}: {('ours', 'DPDK')[which]} {told}", highlight=False)
    return found


def summary(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return medians, their ratio, and its spread: lower quartile to upper quartile and the reverse."""
    mine, their = statistics.median(ours), statistics.median(theirs)
    my_low, my_high = quartiles(ours)
    their_low, their_high = quartiles(theirs)
    return {
        "ours": mine,
        "dpdk": their,
        "ratio": mine / their,
        "least": my_low / their_high,
        "greatest": my_high / their_low,
        "windows": min(len(ours), len(theirs)),
    }


def quartiles(values: list[float]) -> tuple[float, float]:
    """Return the quartiles; the extremes when there are too few values for them."""
    if len(values) < ENOUGH:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the ratios as bars with their spread."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [f"{row['scenario']} ({row['placement']})" for row in rows]
    ratios = [row["ratio"] for row in rows]
    spread = [
        [max(row["ratio"] - row["least"], 0) for row in rows],
        [max(row["greatest"] - row["ratio"], 0) for row in rows],
    ]
    figure, axes = plt.subplots(figsize=(9, 1 + 0.45 * len(rows)))
    axes.barh(names, ratios, xerr=spread, color="#4477aa", ecolor="#333333", capsize=3)
    axes.axvline(1.0, color="#cc3311", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("rate relative to DPDK's C program (1 = alike)")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> int:
    """Measure, print the table, write JSON and picture."""
    parser = argparse.ArgumentParser(description="Our programs against DPDK's, in turn.")
    parser.add_argument("--only", default=",".join(SCENARIOS), help=f"some of {','.join(SCENARIOS)}")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each program (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds measured a run (default 2)")
    parser.add_argument("--match", default="", help="only scenarios whose name contains this text")
    wanted = parser.parse_args()
    unknown = set(wanted.only.split(",")) - set(SCENARIOS)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if not shutil.which("dpdk-testpmd"):
        sys.exit("side_by_side: there is no dpdk-testpmd; apt-get install dpdk dpdk-dev")
    if int(Path("/proc/sys/vm/nr_hugepages").read_text()) < 256:
        sys.exit("side_by_side: both programs need hugepages; echo 512 > /proc/sys/vm/nr_hugepages")
    console = Console(width=120)
    rows: list[dict[str, Any]] = []
    for group in wanted.only.split(","):
        for scenario in SCENARIOS[group]:
            if wanted.match not in str(scenario):
                continue
            found = measure_pairs(scenario, wanted.pairs, wanted.seconds, console)
            rows += [
                {"scenario": str(scenario), "unit": scenario.unit, "placement": where, **summary(*both)}
                for where, both in sorted(found.items())
                if where != "moved" and all(both) and all(map(all, both))
            ]
    table = Table("scenario", "placement", "ours Mpps", "DPDK Mpps", "ratio", "spread", "windows")
    for row in rows:
        table.add_row(
            row["scenario"],
            row["placement"],
            f"{row['ours']:.2f}",
            f"{row['dpdk']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['least']:.2f}-{row['greatest']:.2f}",
            str(row["windows"]),
        )
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "side_by_side.json").write_text(json.dumps(rows, indent=1) + "\n")
    with contextlib.suppress(ImportError):
        draw(rows, RESULTS / "side_by_side.svg")
    os.sync()
    return 0


if __name__ == "__main__":
    sys.exit(main())
