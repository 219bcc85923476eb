# SPDX-License-Identifier: BSD-3-Clause
"""The same loops under pytest-benchmark: `pytest benchmarks/micro --benchmark-compare` shows what a change did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.micro.loops import Bench

NAMES = [
    "ring_sp_bulk",
    "ring_mp_bulk",
    "ring_sp_single",
    "ring_mp_single",
    "pool_cached_bulk",
    "pool_uncached_bulk",
    "mbuf_bulk",
    "mbuf_single",
    "checksum_20",
    "checksum_64",
    "checksum_1500",
]
OPERATIONS = 100_000


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_loop(bench: Bench, benchmark: Any, name: str) -> None:
    loops = {loop.name: loop for loop in bench.loops()}
    assert list(loops) == NAMES
    loop = loops[name]
    loop.run(1)
    benchmark.extra_info["operations"] = OPERATIONS
    assert benchmark(loop.run, OPERATIONS // loop.operations) > 0
