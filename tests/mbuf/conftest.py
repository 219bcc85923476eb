# SPDX-License-Identifier: BSD-3-Clause
"""A pool of mbufs that must be whole when the test ends, and an lcore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mbuf_verbs import Lcore, assert_all_home

from pollmode.eal.memory import Memory
from pollmode.mbuf import Mempool, create_pool


@pytest.fixture
def worker() -> Lcore:
    """The record of lcore 1, and an array for a burst."""
    return Lcore(1)


@pytest.fixture
def mbufs(memory: Memory) -> Iterator[Mempool]:
    """64 mbufs of 128 + 256 bytes; every one has to be home at the end."""
    pool = create_pool(memory, "mbufs", 64, cache_size=8, data_room=128 + 256)
    yield pool
    assert_all_home(pool)


@pytest.fixture
def others(memory: Memory) -> Iterator[Mempool]:
    """A second pool, with private bytes and a smaller data room."""
    pool = create_pool(memory, "others", 32, cache_size=0, data_room=128 + 100, private_size=16)
    yield pool
    assert_all_home(pool)
