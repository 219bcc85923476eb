# SPDX-License-Identifier: BSD-3-Clause
"""Pools of mbufs (rte_pktmbuf_pool_create).

An element is the mbuf's 128-byte header, the application's private bytes, and the data room with its headroom. Every
mbuf is initialised here once; what stays the same (buffer address, length, pool) is never written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pollmode.eal.errors import ConfigError
from pollmode.mbuf import mempool
from pollmode.mbuf.layout import (
    DEFAULT_BUF_SIZE,
    HEADROOM,
    MBUF,
    MBUF_SIZE,
    OBJECT_HEADER,
    OBJECT_HEADER_SIZE,
    PORT_INVALID,
    REARM_ONE_OWNER,
    REARM_PORT,
)

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["create_pool"]

PRIVATE_ALIGN = 8  # RTE_MBUF_PRIV_ALIGN
MAX_ROOM = 0xFFFF


def create_pool(
    memory: Memory,
    name: str,
    count: int,
    *,
    cache_size: int | None = None,
    data_room: int = DEFAULT_BUF_SIZE,
    private_size: int = 0,
) -> mempool.Mempool:
    """Make a pool of `count` mbufs with `data_room` bytes of buffer each, headroom included.

    A data room of 0 makes mbufs for clones only; `private_size` bytes stand between header and buffer. `cache_size` is
    as in `mempool.create`. Raises ConfigError for numbers that are not allowed, HostError when memory is short.
    """
    if not 0 <= data_room <= MAX_ROOM:
        raise ConfigError(f"mbuf pool {name}: data room {data_room} is not between 0 and {MAX_ROOM} bytes")
    if not 0 <= private_size <= MAX_ROOM or private_size % PRIVATE_ALIGN:
        raise ConfigError(
            f"mbuf pool {name}: private size {private_size} is not a multiple of {PRIVATE_ALIGN} up to {MAX_ROOM}"
        )
    size = MBUF_SIZE + private_size + data_room
    pool = mempool.create(memory, name, count, element_size=size, cache_size=cache_size)
    pool.holds_mbufs = True
    pool.data_room, pool.private_size = data_room, private_size
    data_off = min(HEADROOM, data_room)
    record = pool.record()
    record["data_room"], record["private_size"] = data_room, private_size
    record["rearm"] = np.uint64(data_off | REARM_ONE_OWNER | PORT_INVALID << REARM_PORT.shift).view(np.int64)
    _initialise(pool, data_off)
    return pool


def _initialise(pool: mempool.Mempool, data_off: int) -> None:
    """Write every mbuf's header (rte_pktmbuf_init)."""
    before_buffer = MBUF_SIZE + pool.private_size
    mbufs = pool.column(MBUF)
    mbufs["buf_addr"] = pool.elements() + before_buffer
    mbufs["buf_iova"] = pool.column(OBJECT_HEADER, -OBJECT_HEADER_SIZE)["iova"] + before_buffer
    mbufs["buf_len"] = pool.data_room
    mbufs["priv_size"] = pool.private_size
    mbufs["pool"] = pool.address
    mbufs["data_off"] = data_off
    mbufs["refcnt"] = 1
    mbufs["nb_segs"] = 1
    mbufs["port"] = PORT_INVALID
