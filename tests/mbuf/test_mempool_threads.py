# SPDX-License-Identifier: BSD-3-Clause
"""Several lcores on one pool at once: an element is never with two of them."""

from __future__ import annotations

import threading
import time

import numpy as np
from support.mbuf_verbs import Lcore

from pollmode.eal.jit import INTERPRETED, compiled, load64, load_relaxed64, store64
from pollmode.eal.lcore_layout import LCORE_ID_ANY
from pollmode.eal.memory import Memory
from pollmode.mbuf import mempool, pool_get, pool_get_bulk, pool_put, pool_put_bulk

ROUNDS = 300 if INTERPRETED else 60_000
PATIENCE = 100.0


@compiled
def churn(lcore: int, pool: int, objs: int, stop: int, rounds: int, owner: int) -> int:
    """Take elements, write the owner into them, and give them back unless another wrote into them meanwhile.

    Returns how many were seen with another's mark.
    """
    wrong = 0
    for i in range(rounds):
        if load_relaxed64(stop) != 0:
            break
        n = 1 + (i * 5 + owner) % 24
        got = pool_get_bulk(lcore, pool, objs, n)
        one = pool_get(lcore, pool)
        if one != 0:
            store64(one, owner)
        for k in range(got):
            store64(load64(objs + 8 * k), owner)
        for k in range(got):
            if load_relaxed64(load64(objs + 8 * k)) != owner:
                wrong += 1
        if one != 0:
            if load_relaxed64(one) != owner:
                wrong += 1
            pool_put(lcore, pool, one)
        pool_put_bulk(lcore, pool, objs, got)
    return wrong


def test_lcores_never_share_an_element(memory: Memory) -> None:
    pool = mempool.create(memory, "p", 120, element_size=64, cache_size=16)
    stop = np.zeros(1, np.int64)
    lcores = [Lcore(0), Lcore(1), Lcore(LCORE_ID_ANY), Lcore(LCORE_ID_ANY)]
    wrong = [-1] * len(lcores)
    assert churn(lcores[0].address, pool.address, lcores[0].array, stop.ctypes.data, 0, 1) == 0

    def work(index: int) -> None:
        lcore = lcores[index]
        wrong[index] = churn(lcore.address, pool.address, lcore.array, stop.ctypes.data, ROUNDS, index + 1)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(lcores))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    stop[0] = 1
    for thread in threads:
        thread.join()
    assert wrong == [0] * len(lcores)
    assert pool.audit().out == 0
