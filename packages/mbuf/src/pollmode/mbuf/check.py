# SPDX-License-Identifier: BSD-3-Clause
"""Is this an mbuf that can be worked with? (rte_mbuf_check)"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pollmode.eal.errors import ConfigError, InternalError
from pollmode.eal.jit import compiled, load16, load32, load64
from pollmode.mbuf import mempool
from pollmode.mbuf.layout import (
    EXTERNAL,
    MAX_NB_SEGS,
    MBUF,
    MBUF_BUF_ADDR,
    MBUF_BUF_IOVA,
    MBUF_BUF_LEN,
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_POOL,
    MBUF_REFCNT,
    MBUF_SIZE,
)

__all__ = ["REASONS", "mbuf_record", "mbuf_sanity_check", "require_mbuf", "sanity_check", "segments"]

REASONS: Final = (
    "good",
    "it is at address 0",
    "it has no pool",
    "it has no IO address",
    "it has no buffer",
    "nobody owns it: refcnt is 0",
    "its buffer is external, which is not supported",
    "its data starts behind its buffer's end",
    "its data ends behind its buffer's end",
    "it is the first segment and nb_segs is 0",
    "its chain has more or fewer segments than nb_segs says",
    "its segments' data_len don't add up to pkt_len",
)
"""What each code of `mbuf_sanity_check` means."""


@compiled
def mbuf_sanity_check(m: int, header: int) -> int:
    """Return 0 when the mbuf is sound, else a code of `REASONS`; with `header` 1 it is the first of a chain, which is
    checked whole.
    """
    segments = 0
    length = 0
    segment = m
    while True:
        code = _check_segment(segment)
        if code != 0:
            return code
        segments += 1
        length += load16(segment + MBUF_DATA_LEN)
        segment = load64(segment + MBUF_NEXT)
        if header == 0:
            return 0
        if segments == 1 and load16(m + MBUF_NB_SEGS) == 0:
            return 9
        if segment == 0 or segments > load16(m + MBUF_NB_SEGS):
            break
    if segments != load16(m + MBUF_NB_SEGS):
        return 10
    return 11 if length != load32(m + MBUF_PKT_LEN) else 0


@compiled
def _check_segment(m: int) -> int:
    if m == 0:
        return 1
    if load64(m + MBUF_POOL) == 0:
        return 2
    if load64(m + MBUF_BUF_IOVA) == 0:
        return 3
    if load64(m + MBUF_BUF_ADDR) == 0:
        return 4
    if load16(m + MBUF_REFCNT) == 0:
        return 5
    if load64(m + MBUF_OL_FLAGS) & EXTERNAL != 0:
        return 6
    if load16(m + MBUF_DATA_OFF) > load16(m + MBUF_BUF_LEN):
        return 7
    if load16(m + MBUF_DATA_OFF) + load16(m + MBUF_DATA_LEN) > load16(m + MBUF_BUF_LEN):
        return 8
    return 0


def require_mbuf(address: int) -> mempool.Mempool:
    """Return the live pool whose mbuf stands at `address`. Raises ConfigError when there is none."""
    pool = mempool.find(address)
    if pool is None or not pool.holds_mbufs:
        raise ConfigError(f"{address:#x} is not the address of an mbuf: no live mbuf pool has one there")
    return pool


def mbuf_record(address: int) -> np.void:
    """Return the MBUF record at `address`, writable. Raises ConfigError when no live pool has an mbuf there."""
    require_mbuf(address)
    raw: Any = (ctypes.c_char * MBUF_SIZE).from_address(address)
    record: np.void = np.ndarray((1,), MBUF, raw)[0]
    return record


def segments(address: int) -> Iterator[int]:
    """Go through the addresses of a packet's segments, at most as many as there can be.

    Raises ConfigError when one of them is not an mbuf.
    """
    for _ in range(MAX_NB_SEGS):
        following = int(mbuf_record(address)["next"])
        yield address
        if following == 0:
            return
        address = following


def sanity_check(address: int, *, header: bool = True) -> None:
    """Check an mbuf and, with `header`, the chain it starts.

    Raises ConfigError when an address is not an mbuf's, InternalError that says what else is wrong.
    """
    for _ in segments(address):
        if not header:
            break
    code = mbuf_sanity_check(address, int(header))
    if code:
        raise InternalError(f"mbuf {address:#x} is not sound: {REASONS[code]}")
