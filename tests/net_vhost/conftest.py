# SPDX-License-Identifier: BSD-3-Clause
"""Queues of ours on rings of a modelled guest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.net_vhost_rig import MERGEABLE, Rig

from pollmode.eal.memory import Memory
from pollmode.mbuf import Mempool, create_pool
from pollmode.net_vhost.queue import RX, TX, Direction


@pytest.fixture
def pool(memory: Memory) -> Mempool:
    return create_pool(memory, "mbufs", 64, cache_size=0)


@pytest.fixture
def make_rig(lcore: int, pool: Mempool) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(
        direction: Direction, features: int = MERGEABLE, *, num: int = 8, regions: int = 1, size: int = 1 << 18
    ) -> Rig:
        rigs.append(Rig(direction, lcore, pool, features, num, regions, size))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rx(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(RX)


@pytest.fixture
def tx(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(TX)
