# SPDX-License-Identifier: BSD-3-Clause
"""Where a packet's bytes are, and making it longer or shorter at either end (rte_mbuf.h)."""

from __future__ import annotations

from pollmode.eal.jit import compiled, copy, inlined, load16, load32, load64, store16, store32
from pollmode.mbuf.layout import (
    MBUF_BUF_ADDR,
    MBUF_BUF_IOVA,
    MBUF_BUF_LEN,
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_PKT_LEN,
)

__all__ = [
    "mbuf_adj",
    "mbuf_append",
    "mbuf_data",
    "mbuf_data_iova",
    "mbuf_gather",
    "mbuf_headroom",
    "mbuf_last",
    "mbuf_prepend",
    "mbuf_read",
    "mbuf_tailroom",
    "mbuf_trim",
]


@inlined
def mbuf_data(m: int) -> int:
    """Return the address of the segment's first byte (rte_pktmbuf_mtod)."""
    return load64(m + MBUF_BUF_ADDR) + load16(m + MBUF_DATA_OFF)


@inlined
def mbuf_data_iova(m: int) -> int:
    """Return the segment's first byte as devices address it (rte_pktmbuf_iova)."""
    return load64(m + MBUF_BUF_IOVA) + load16(m + MBUF_DATA_OFF)


@inlined
def mbuf_headroom(m: int) -> int:
    """Return the bytes free before the segment's data."""
    return load16(m + MBUF_DATA_OFF)


@inlined
def mbuf_tailroom(m: int) -> int:
    """Return the bytes free behind the segment's data."""
    return load16(m + MBUF_BUF_LEN) - load16(m + MBUF_DATA_OFF) - load16(m + MBUF_DATA_LEN)


@inlined
def mbuf_last(m: int) -> int:
    """Return the packet's last segment."""
    if load16(m + MBUF_NB_SEGS) > 1:
        following = load64(m + MBUF_NEXT)
        while following != 0:
            m = following
            following = load64(m + MBUF_NEXT)
    return m


@inlined
def mbuf_prepend(m: int, n: int) -> int:
    """Make the packet `n` bytes longer at its front; returns its new first byte, or 0 when the headroom is short."""
    data_off = load16(m + MBUF_DATA_OFF)
    if n > data_off:
        return 0
    store16(m + MBUF_DATA_OFF, data_off - n)
    store16(m + MBUF_DATA_LEN, load16(m + MBUF_DATA_LEN) + n)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) + n)
    return mbuf_data(m)


@inlined
def mbuf_append(m: int, n: int) -> int:
    """Make the packet `n` bytes longer at its end; returns the first new byte, or 0 when the tailroom is short."""
    last = mbuf_last(m)
    if n > mbuf_tailroom(last):
        return 0
    length = load16(last + MBUF_DATA_LEN)
    store16(last + MBUF_DATA_LEN, length + n)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) + n)
    return mbuf_data(last) + length


@inlined
def mbuf_adj(m: int, n: int) -> int:
    """Cut `n` bytes off the packet's front; returns its new first byte, or 0 when the first segment is shorter."""
    length = load16(m + MBUF_DATA_LEN)
    if n > length:
        return 0
    store16(m + MBUF_DATA_LEN, length - n)
    store16(m + MBUF_DATA_OFF, load16(m + MBUF_DATA_OFF) + n)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) - n)
    return mbuf_data(m)


@inlined
def mbuf_trim(m: int, n: int) -> int:
    """Cut `n` bytes off the packet's end; returns 1, or 0 when the last segment is shorter."""
    last = mbuf_last(m)
    length = load16(last + MBUF_DATA_LEN)
    if n > length:
        return 0
    store16(last + MBUF_DATA_LEN, length - n)
    store32(m + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN) - n)
    return 1


@inlined
def mbuf_read(m: int, offset: int, length: int, buffer: int) -> int:
    """Return the address of `length` bytes at `offset` of the packet, or 0 when it is shorter (rte_pktmbuf_read).

    Bytes that are in one segment stay in place; others are gathered at `buffer`.
    """
    if offset >= 0 and length >= 0 and offset + length <= load16(m + MBUF_DATA_LEN):
        return mbuf_data(m) + offset
    return _read(m, offset, length, buffer)


@compiled
def _read(m: int, offset: int, length: int, buffer: int) -> int:
    if offset < 0 or length < 0 or offset + length > load32(m + MBUF_PKT_LEN):
        return 0
    while offset >= load16(m + MBUF_DATA_LEN) and load64(m + MBUF_NEXT) != 0:
        offset -= load16(m + MBUF_DATA_LEN)
        m = load64(m + MBUF_NEXT)
    if offset + length <= load16(m + MBUF_DATA_LEN):
        return mbuf_data(m) + offset
    return buffer if mbuf_gather(m, offset, length, buffer) == length else 0


@compiled
def mbuf_gather(m: int, offset: int, length: int, buffer: int) -> int:
    """Copy `length` bytes at `offset` of the packet to `buffer`, as far as its segments have them; returns how many."""
    done = 0
    while m != 0 and done < length:
        held = load16(m + MBUF_DATA_LEN)
        if offset >= held:
            offset -= held
        else:
            piece = min(held - offset, length - done)
            copy(buffer + done, mbuf_data(m) + offset, piece)
            done += piece
            offset = 0
        m = load64(m + MBUF_NEXT)
    return done
