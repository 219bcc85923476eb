# SPDX-License-Identifier: BSD-3-Clause
"""Packets for the interpreter: an mbuf as an object, without copying its bytes.

Compiled code works on addresses and checks nothing. Here every access first makes sure that the mbuf is still there:
its pool lives, and this object was not freed, sent or given away. What can't be noticed is a memoryview kept from
before: it shows whatever the buffer holds now, and must not outlive the memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import compiled
from pollmode.mbuf.alloc import mbuf_alloc, mbuf_free, mbuf_reset
from pollmode.mbuf.chains import mbuf_chain, mbuf_clone, mbuf_copy, mbuf_linearize
from pollmode.mbuf.check import mbuf_record, require_mbuf, sanity_check, segments
from pollmode.mbuf.data import mbuf_adj, mbuf_append, mbuf_prepend, mbuf_trim
from pollmode.mbuf.dump import dump
from pollmode.mbuf.mempool import CONTROL_LCORE, Mempool

if TYPE_CHECKING:
    from pollmode.mbuf.burst import Burst

__all__ = ["Packet"]

ADJ, APPEND, PREPEND, TRIM = range(4)
WHOLE: Final = 1 << 32
"""A length that no packet reaches: up to the end."""


@compiled
def _alloc(lcore: int, pool: int) -> int:
    return mbuf_alloc(lcore, pool)


@compiled
def _free(lcore: int, m: int) -> int:
    mbuf_free(lcore, m)
    return 1


@compiled
def _resize(m: int, how: int, n: int) -> int:
    """Change a packet's length at one end; one entry point for the four verbs, so that it is compiled once."""
    if how == ADJ:
        return mbuf_adj(m, n)
    if how == APPEND:
        return mbuf_append(m, n)
    if how == PREPEND:
        return mbuf_prepend(m, n)
    return mbuf_trim(m, n)


@compiled
def _chain(head: int, tail: int) -> int:
    return mbuf_chain(head, tail)


class _Field:
    """A field of the mbuf's header as an attribute, read and written in place."""

    def __init__(self, meaning: str) -> None:
        self.__doc__ = meaning

    def __set_name__(self, owner: type[Packet], name: str) -> None:
        self._name = name

    def __get__(self, packet: Packet, owner: type[Packet]) -> int:
        return int(packet.record[self._name])

    def __set__(self, packet: Packet, value: int) -> None:
        try:
            packet.record[self._name] = value
        except OverflowError:
            raise ConfigError(f"{self._name} = {value} does not fit into the mbuf's field") from None


class Packet:
    """The packet whose first mbuf stands at `address`.

    Raises ConfigError on creation when no live pool has an mbuf there, and on every access once it was freed, sent or
    given away, or its pool is gone. With `burst`, the packet belongs to that burst.
    """

    data_off = _Field("Bytes between the buffer's start and the first segment's data: the headroom.")
    refcnt = _Field("How many own the first segment.")
    nb_segs = _Field("Segments of the packet.")
    port = _Field("The port it was received on.")
    ol_flags = _Field("Offload flags, RX_* and TX_*.")
    packet_type = _Field("What the receiver or parser found in it.")
    pkt_len = _Field("Bytes of the whole packet.")
    data_len = _Field("Bytes of the first segment.")
    vlan_tci = _Field("VLAN tag that was stripped or is to be inserted.")
    vlan_tci_outer = _Field("Outer VLAN tag.")
    hash_rss = _Field("RSS hash.")
    tx_offload = _Field("Header lengths for offloads, as one word.")
    buf_len = _Field("Bytes of the first segment's buffer.")

    def __init__(self, address: int, burst: Burst | None = None) -> None:
        require_mbuf(address)
        self._address = address
        self._burst = burst
        self._gone = ""

    @classmethod
    def alloc(cls, pool: Mempool, data: bytes = b"") -> Packet:
        """Take a packet out of a pool and fill it with `data`.

        Raises ConfigError when the pool is not one of mbufs, is empty, or its data room is too small.
        """
        if not pool.live or not pool.holds_mbufs:
            raise ConfigError(f"mempool {pool.name} is not a live pool of mbufs")
        address = _alloc(CONTROL_LCORE, pool.address)
        if address == 0:
            raise ConfigError(f"mbuf pool {pool.name} is empty: {pool.count} are in use or in lcores' caches", errno=12)
        packet = cls(address)
        try:
            packet.append(data)
        except ConfigError:
            packet.free()
            raise
        return packet

    @property
    def address(self) -> int:
        """The address of the packet's first mbuf."""
        if not self._gone and self._burst is not None and self._address not in self._burst:
            self._gone = "sent, freed or taken out of its burst"
        if self._gone:
            raise ConfigError(f"this packet (mbuf {self._address:#x}) was {self._gone}")
        return self._address

    @property
    def record(self) -> np.void:
        """The MBUF record of the first segment, writable."""
        return mbuf_record(self.address)

    @property
    def data(self) -> memoryview:
        """The first segment's bytes in place, writable; the whole packet when `nb_segs` is 1."""
        return _bytes_of(self.record)

    @property
    def segments(self) -> list[memoryview]:
        """Each segment's bytes in place."""
        return [_bytes_of(mbuf_record(segment)) for segment in segments(self.address)]

    @property
    def headroom(self) -> int:
        """Bytes that `prepend` can add."""
        return self.data_off

    @property
    def tailroom(self) -> int:
        """Bytes that `append` can add."""
        *_, last = segments(self.address)
        record = mbuf_record(last)
        return int(record["buf_len"]) - int(record["data_off"]) - int(record["data_len"])

    def __len__(self) -> int:
        return self.pkt_len

    def __bytes__(self) -> bytes:
        return b"".join(bytes(segment) for segment in self.segments)

    def __repr__(self) -> str:
        if self._gone:
            return f"<Packet {self._gone}>"
        return f"<Packet {self.pkt_len} bytes in {self.nb_segs} segments, port {self.port}>"

    def append(self, data: bytes) -> None:
        """Add bytes at the end. Raises ConfigError when the last segment's tailroom is too short."""
        ctypes.memmove(self._resized(APPEND, len(data), "tailroom", self.tailroom), data, len(data))

    def prepend(self, data: bytes) -> None:
        """Add bytes at the front. Raises ConfigError when the headroom is too short."""
        ctypes.memmove(self._resized(PREPEND, len(data), "headroom", self.headroom), data, len(data))

    def adj(self, n: int) -> None:
        """Cut `n` bytes off the front. Raises ConfigError when the first segment is shorter."""
        self._resized(ADJ, n, "first segment", self.data_len)

    def trim(self, n: int) -> None:
        """Cut `n` bytes off the end. Raises ConfigError when the last segment is shorter."""
        self._resized(TRIM, n, "last segment", len(self.segments[-1]))

    def chain(self, tail: Packet) -> None:
        """Append another packet's segments; that packet is given away. Raises ConfigError for more than 65535."""
        if tail.address == self.address:
            raise ConfigError("a packet can't be chained to itself")
        if _chain(self.address, tail.address) == 0:
            raise ConfigError(f"{self.nb_segs} and {tail.nb_segs} segments are too many for one packet")
        tail.give("chained to another packet")

    def clone(self, pool: Mempool | None = None) -> Packet:
        """Return a packet of indirect mbufs, out of `pool` or this packet's own, that shares these bytes."""
        return self._derived(pool, mbuf_clone)

    def copy(self, pool: Mempool | None = None, offset: int = 0, length: int = WHOLE) -> Packet:
        """Return a packet, out of `pool` or this packet's own, with a copy of up to `length` bytes from `offset` on."""
        if not 0 <= offset <= self.pkt_len or length < 0:
            raise ConfigError(f"offset {offset} and length {length} don't fit a packet of {self.pkt_len} bytes")
        return self._derived(pool, mbuf_copy, offset, length)

    def linearize(self) -> None:
        """Move all bytes into the first segment. Raises ConfigError when it has no room or its buffer is shared."""
        if mbuf_linearize(CONTROL_LCORE, self.address) == 0:
            raise ConfigError(
                f"{self.pkt_len} bytes can't be moved into a first segment of {self.buf_len}, or it is shared"
            )

    def reset(self) -> None:
        """Make the first segment an empty packet again; only for one with a single segment and owner."""
        if self.nb_segs != 1 or self.refcnt != 1:
            raise ConfigError("only a packet of one segment with one owner can be reset: free it and allocate another")
        _reset(self.address)

    def check(self) -> None:
        """Check the packet's mbufs. Raises InternalError that says what is wrong."""
        sanity_check(self.address)

    def dump(self, length: int = 64) -> str:
        """Return the packet as text, with its first `length` bytes."""
        return dump(self.address, length)

    def free(self) -> None:
        """Give the packet back to its pool and take it out of its burst."""
        address = self.address
        self.give("freed")
        _free(CONTROL_LCORE, address)

    def give(self, how: str) -> int:
        """Let another own the mbufs, from now on; returns the address. `how` completes "this packet was ..."."""
        address = self.address
        if self._burst is not None:
            self._burst.remove(address)
        self._gone = how
        return address

    def _resized(self, how: int, n: int, where: str, there: int) -> int:
        address = _resize(self.address, how, n) if 0 <= n <= there else 0
        if address == 0:
            raise ConfigError(f"{n} bytes don't fit: the {where} is {there} bytes")
        return address

    def _derived(self, pool: Mempool | None, make: Callable[..., int], *more: Any) -> Packet:
        source = require_mbuf(self.address) if pool is None else pool
        if not source.live or not source.holds_mbufs:
            raise ConfigError(f"mempool {source.name} is not a live pool of mbufs")
        made = make(CONTROL_LCORE, self.address, source.address, *more)
        if made == 0:
            raise ConfigError(f"mbuf pool {source.name} has too few mbufs, or too little data room", errno=12)
        return Packet(made)


@compiled
def _reset(m: int) -> int:
    mbuf_reset(m)
    return 1


def _bytes_of(record: np.void) -> memoryview:
    start = int(record["buf_addr"]) + int(record["data_off"])
    return memoryview((ctypes.c_ubyte * int(record["data_len"])).from_address(start)).cast("B")
