# SPDX-License-Identifier: BSD-3-Clause
"""Packets of several segments, clones that share a packet's bytes, and copies (rte_mbuf.c)."""

from __future__ import annotations

from pollmode.eal.jit import compiled, copy, fetch_add16, inlined, load16, load32, load64, store16, store32, store64
from pollmode.mbuf.alloc import mbuf_alloc, mbuf_direct, mbuf_free, mbuf_free_segment, mbuf_refcnt
from pollmode.mbuf.data import mbuf_data, mbuf_last, mbuf_tailroom
from pollmode.mbuf.layout import (
    ATTACHED,
    INDIRECT,
    MAX_NB_SEGS,
    MBUF_BUF_ADDR,
    MBUF_BUF_IOVA,
    MBUF_BUF_LEN,
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_HASH_RSS,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_PKT_LEN,
    MBUF_PORT,
    MBUF_PRIV_SIZE,
    MBUF_REFCNT,
    MBUF_TX_OFFLOAD,
    MBUF_VLAN_TCI,
    MBUF_VLAN_TCI_OUTER,
)

__all__ = ["mbuf_attach", "mbuf_chain", "mbuf_clone", "mbuf_copy", "mbuf_is_contiguous", "mbuf_linearize"]


@inlined
def mbuf_is_contiguous(m: int) -> int:
    """Return 1 when the packet is one segment, else 0."""
    return 1 if load16(m + MBUF_NB_SEGS) == 1 else 0


@inlined
def mbuf_chain(head: int, tail: int) -> int:
    """Append the packet `tail` to the packet `head`, which takes it over; returns 1, or 0 for too many segments."""
    segments = load16(head + MBUF_NB_SEGS) + load16(tail + MBUF_NB_SEGS)
    if segments > MAX_NB_SEGS:
        return 0
    store64(mbuf_last(head) + MBUF_NEXT, tail)
    store16(head + MBUF_NB_SEGS, segments)
    store32(head + MBUF_PKT_LEN, load32(head + MBUF_PKT_LEN) + load32(tail + MBUF_PKT_LEN))
    store16(tail + MBUF_NB_SEGS, 1)  # only a first segment counts the others
    store32(tail + MBUF_PKT_LEN, load16(tail + MBUF_DATA_LEN))
    return 1


@inlined
def _copy_metadata(to: int, m: int) -> None:
    """Copy what describes the packet: port, type, VLANs, hash, offloads; not how its buffer is held."""
    store16(to + MBUF_PORT, load16(m + MBUF_PORT))
    store64(to + MBUF_OL_FLAGS, load64(m + MBUF_OL_FLAGS) & ~ATTACHED)
    store32(to + MBUF_PACKET_TYPE, load32(m + MBUF_PACKET_TYPE))
    store16(to + MBUF_VLAN_TCI, load16(m + MBUF_VLAN_TCI))
    store64(to + MBUF_HASH_RSS, load64(m + MBUF_HASH_RSS))  # and hash_fdir
    store16(to + MBUF_VLAN_TCI_OUTER, load16(m + MBUF_VLAN_TCI_OUTER))
    store64(to + MBUF_TX_OFFLOAD, load64(m + MBUF_TX_OFFLOAD))


@inlined
def mbuf_attach(indirect: int, m: int) -> None:
    """Let the fresh mbuf `indirect` show the segment `m`: it shares the buffer of `m`'s owner (rte_pktmbuf_attach)."""
    direct = mbuf_direct(m)
    # A reference is added with one addition even by a sole owner: clones of one packet may be made by several lcores.
    fetch_add16(direct + MBUF_REFCNT, 1)
    store64(indirect + MBUF_BUF_ADDR, load64(m + MBUF_BUF_ADDR))
    store64(indirect + MBUF_BUF_IOVA, load64(m + MBUF_BUF_IOVA))
    store16(indirect + MBUF_BUF_LEN, load16(m + MBUF_BUF_LEN))
    store16(indirect + MBUF_PRIV_SIZE, load16(direct + MBUF_PRIV_SIZE))
    store16(indirect + MBUF_DATA_OFF, load16(m + MBUF_DATA_OFF))
    store16(indirect + MBUF_DATA_LEN, load16(m + MBUF_DATA_LEN))
    store32(indirect + MBUF_PKT_LEN, load16(m + MBUF_DATA_LEN))
    _copy_metadata(indirect, m)
    store64(indirect + MBUF_OL_FLAGS, load64(indirect + MBUF_OL_FLAGS) | INDIRECT)
    store64(indirect + MBUF_NEXT, 0)
    store16(indirect + MBUF_NB_SEGS, 1)


@compiled
def mbuf_clone(lcore: int, m: int, pool: int) -> int:
    """Make a packet of indirect mbufs out of `pool` that shows the bytes of `m` without copying them.

    Returns its address, or 0 when the pool has too few; then nothing is kept (rte_pktmbuf_clone).
    """
    head = 0
    last = 0
    segment = m
    while segment != 0:
        fresh = mbuf_alloc(lcore, pool)
        if fresh == 0:
            mbuf_free(lcore, head)
            return 0
        mbuf_attach(fresh, segment)
        if head == 0:
            head = fresh
        else:
            store64(last + MBUF_NEXT, fresh)
            # Counted as they come, so that freeing half a clone frees all of it.
            store16(head + MBUF_NB_SEGS, load16(head + MBUF_NB_SEGS) + 1)
        last = fresh
        segment = load64(segment + MBUF_NEXT)
    store32(head + MBUF_PKT_LEN, load32(m + MBUF_PKT_LEN))
    return head


@compiled
def mbuf_copy(lcore: int, m: int, pool: int, offset: int, length: int) -> int:
    """Copy up to `length` bytes from `offset` of packet `m` into a new packet out of `pool`, of as many segments as its
    data room needs. Returns its address, or 0 when `offset` is not within the packet or the pool has too few
    (rte_pktmbuf_copy).
    """
    if offset < 0 or length < 0 or offset > load32(m + MBUF_PKT_LEN):
        return 0
    rest = min(length, load32(m + MBUF_PKT_LEN) - offset)
    head = mbuf_alloc(lcore, pool)
    if head == 0:
        return 0
    _copy_metadata(head, m)
    store32(head + MBUF_PKT_LEN, rest)
    last = head
    while rest > 0:
        filled = load16(last + MBUF_DATA_LEN)
        room = mbuf_tailroom(last)
        if room == 0:
            fresh = mbuf_alloc(lcore, pool)
            if fresh == 0 or mbuf_tailroom(fresh) == 0:
                mbuf_free(lcore, fresh)
                mbuf_free(lcore, head)
                return 0
            store64(last + MBUF_NEXT, fresh)
            store16(head + MBUF_NB_SEGS, load16(head + MBUF_NB_SEGS) + 1)
            last = fresh
            continue
        while offset >= load16(m + MBUF_DATA_LEN):
            offset -= load16(m + MBUF_DATA_LEN)
            m = load64(m + MBUF_NEXT)
        piece = min(min(room, rest), load16(m + MBUF_DATA_LEN) - offset)
        copy(mbuf_data(last) + filled, mbuf_data(m) + offset, piece)
        store16(last + MBUF_DATA_LEN, filled + piece)
        offset += piece
        rest -= piece
    return head


@compiled
def mbuf_linearize(lcore: int, m: int) -> int:
    """Move all bytes of a packet into its first segment and give the others back (rte_pktmbuf_linearize).

    Returns 1, or 0 when the first segment has no room, or others may see its buffer: then nothing has changed.
    """
    segment = load64(m + MBUF_NEXT)
    length = load16(m + MBUF_DATA_LEN)
    if segment == 0:
        return 1
    if load32(m + MBUF_PKT_LEN) - length > mbuf_tailroom(m):
        return 0
    if mbuf_refcnt(m) != 1 or load64(m + MBUF_OL_FLAGS) & ATTACHED != 0:
        return 0
    store64(m + MBUF_NEXT, 0)
    store16(m + MBUF_NB_SEGS, 1)
    end = mbuf_data(m) + length
    while segment != 0:
        piece = load16(segment + MBUF_DATA_LEN)
        copy(end, mbuf_data(segment), piece)
        end += piece
        length += piece
        following = load64(segment + MBUF_NEXT)
        mbuf_free_segment(lcore, segment)
        segment = following
    store16(m + MBUF_DATA_LEN, length)
    return 1
