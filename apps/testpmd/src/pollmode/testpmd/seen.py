# SPDX-License-Identifier: BSD-3-Clause
"""Packets noted while they pass: a callback on a queue copies their headers into a ring, which a thread reads.

The lcore never waits: what finds no room is counted. Nothing of this is in the code of a queue that nobody looks at.
"""

from __future__ import annotations

import functools
from typing import Final

from pollmode.eal.jit import (
    burst_callback,
    compiled,
    inlined,
    load16,
    load32,
    load64,
    load_acquire64,
    store32,
    store64,
    store_release64,
)
from pollmode.eal.jit import copy as copy_bytes
from pollmode.eal.layout import le_struct, offset_of
from pollmode.ethdev import BurstCallback
from pollmode.mbuf import (
    MBUF_DATA_LEN,
    MBUF_HASH_RSS,
    MBUF_NB_SEGS,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_PKT_LEN,
    MBUF_VLAN_TCI,
    MBUF_VLAN_TCI_OUTER,
    mbuf_data,
)
from pollmode.net.ptype import parse_headers

__all__ = ["FRAME_BYTES", "RING_SIZE", "SEEN", "SEEN_RING", "SLOTS", "headers_of", "noting"]

FRAME_BYTES: Final = 128
"""Bytes of a frame that are kept: all headers that are shown."""
SLOTS: Final = 256

# Written by the lcore: `head`, `lost` and the records; by the reader: `tail`.
SEEN_RING = le_struct("seen_ring", 128, head="i8", lost="i8", unused=("i8", 6), tail="i8", unused2=("i8", 7))
SEEN = le_struct(
    "seen",
    192,
    burst="i8",  # packets of the burst that this one is the first of, else 0
    ol_flags="i8",
    mbuf="i8",  # its address, by which its pool is found
    packet_type="u4",
    pkt_len="u4",
    nb_segs="u4",
    vlan_tci="u4",
    vlan_tci_outer="u4",
    hash_rss="u4",
    kept="u4",  # bytes of `frame`
    unused="u4",
    unused2="i8",
    frame=("u1", FRAME_BYTES),
)
RING_SIZE: Final = SEEN_RING.itemsize + SLOTS * SEEN.itemsize

_HEAD, _TAIL, _LOST = (offset_of(SEEN_RING, name) for name in ("head", "tail", "lost"))
_RECORDS, _SIZE = SEEN_RING.itemsize, SEEN.itemsize
_BURST, _OL_FLAGS, _MBUF, _PACKET_TYPE = (
    offset_of(SEEN, name) for name in ("burst", "ol_flags", "mbuf", "packet_type")
)
_PKT_LEN, _NB_SEGS, _KEPT, _FRAME = (offset_of(SEEN, name) for name in ("pkt_len", "nb_segs", "kept", "frame"))
_VLAN, _OUTER, _HASH = (offset_of(SEEN, name) for name in ("vlan_tci", "vlan_tci_outer", "hash_rss"))


@inlined
def _note(record: int, m: int, burst: int) -> None:
    store64(record + _BURST, burst)
    store64(record + _OL_FLAGS, load64(m + MBUF_OL_FLAGS))
    store64(record + _MBUF, m)
    store32(record + _PACKET_TYPE, load32(m + MBUF_PACKET_TYPE))
    store32(record + _PKT_LEN, load32(m + MBUF_PKT_LEN))
    store32(record + _NB_SEGS, load16(m + MBUF_NB_SEGS))
    store32(record + _VLAN, load16(m + MBUF_VLAN_TCI))
    store32(record + _OUTER, load16(m + MBUF_VLAN_TCI_OUTER))
    store32(record + _HASH, load32(m + MBUF_HASH_RSS))
    kept = load16(m + MBUF_DATA_LEN)
    if kept > FRAME_BYTES:
        kept = FRAME_BYTES
    store32(record + _KEPT, kept)
    copy_bytes(record + _FRAME, mbuf_data(m), kept)


@functools.cache
def noting() -> BurstCallback:
    """Return the callback that notes every packet of a burst; its user word is the address of a ring."""

    def testpmd_note(lcore: int, ring: int, burst: int, n: int) -> int:
        head, tail = load64(ring + _HEAD), load_acquire64(ring + _TAIL)
        for i in range(n):
            if head - tail >= SLOTS:
                store64(ring + _LOST, load64(ring + _LOST) + n - i)
                break
            record = ring + _RECORDS + (head % SLOTS) * _SIZE
            _note(record, load64(burst + 8 * i), n if i == 0 else 0)
            head += 1
        store_release64(ring + _HEAD, head)
        return n

    return burst_callback(testpmd_note, "testpmd_note")


@compiled
def headers_of(frame: int, length: int) -> int:
    """Return the packet type and the lengths of the headers of a frame, for the interpreter."""
    return parse_headers(frame, length)


@compiled
def noted(ring: int) -> int:
    """Return how many packets were noted since the ring was made; their records can be read."""
    return load_acquire64(ring + _HEAD)


@compiled
def forget(ring: int, count: int) -> int:
    """Give the records of the first `count` packets back to the lcore."""
    store_release64(ring + _TAIL, count)
    return count
