# SPDX-License-Identifier: BSD-3-Clause
"""Queues on their own, without a device: the host's side is played by `pollmode.net_virtio.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from net_virtio.rigs import RxRig, TxRig

from pollmode.eal.memory import Memory
from pollmode.mbuf import Mempool, create_pool
from pollmode.net_virtio.queue import RxVirtQueue, TxVirtQueue
from pollmode.net_virtio.rx import make_rx
from pollmode.net_virtio.tx import make_tx

MBUFS = 256
ENTRIES = 16


@pytest.fixture
def pool(memory: Memory) -> Mempool:
    return create_pool(memory, "virtio", MBUFS, cache_size=0)


def finish(made: Sequence[RxRig | TxRig], pool: Mempool) -> None:
    """Take everything back from the rings: then every mbuf must be in the pool."""
    for rig in made:
        rig.queue.end(rig.lcore)
        assert rig.queue.outstanding() == 0
        rig.queue.close()
    assert pool.audit().available == pool.count


@pytest.fixture
def rx_rig(memory: Memory, lcore: int, pool: Mempool) -> Iterator[Callable[..., RxRig]]:
    """Make receive rigs; at the end nothing may be missing from their pool."""
    made: list[RxRig] = []

    def make(
        *, mergeable: bool = True, header: int = 12, offload: bool = False, strip: bool = False, entries: int = ENTRIES
    ) -> RxRig:
        queue = RxVirtQueue(memory, f"rx{len(made)}", 0, entries, pool)
        made.append(RxRig(lcore, queue, make_rx(mergeable, header, offload, strip), header))
        return made[-1]

    yield make
    finish(made, pool)


@pytest.fixture
def tx_rig(memory: Memory, lcore: int, pool: Mempool) -> Iterator[Callable[..., TxRig]]:
    """Make transmit rigs; at the end nothing may be missing from their pool."""
    made: list[TxRig] = []

    def make(
        *, header: int = 12, offload: bool = False, indirect: bool = False, layout: bool = True, entries: int = ENTRIES
    ) -> TxRig:
        queue = TxVirtQueue(memory, f"tx{len(made)}", 1, entries)
        made.append(TxRig(lcore, pool, queue, make_tx(header, offload, indirect, layout)))
        return made[-1]

    yield make
    finish(made, pool)
