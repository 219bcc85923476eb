# SPDX-License-Identifier: BSD-3-Clause
"""A burst for the interpreter: an array of mbuf addresses that ports fill and empty, with packets and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import compiled
from pollmode.mbuf.alloc import mbuf_alloc_bulk, mbuf_free_bulk
from pollmode.mbuf.check import mbuf_record, require_mbuf
from pollmode.mbuf.layout import CACHE_LINE, MBUF
from pollmode.mbuf.mempool import CONTROL_LCORE, Mempool
from pollmode.mbuf.packet import Packet

__all__ = ["Burst"]


@compiled
def _alloc(lcore: int, pool: int, burst: int, n: int) -> int:
    return mbuf_alloc_bulk(lcore, pool, burst, n)


@compiled
def _free(lcore: int, burst: int, n: int) -> int:
    mbuf_free_bulk(lcore, burst, n)
    return n


class Burst:
    """Up to `capacity` packets. A burst owns its packets until they are sent, freed or taken out.

    For a port: `address` is the array that its burst function works on; `fill(n)` says that the function put `n`
    packets there, `drop(n)` that it took the first `n`.
    """

    def __init__(self, capacity: int = 32) -> None:
        if capacity < 1:
            raise ConfigError(f"a burst of {capacity} packets can't be made: at least 1")
        # On a cache line of its own: a vector copy that crosses two lines takes twice as long.
        room = np.zeros(capacity + CACHE_LINE // 8, np.int64)
        first = -room.ctypes.data % CACHE_LINE // 8
        self._addresses = room[first : first + capacity]
        self._count = 0

    @classmethod
    def of(cls, packets: Iterable[Packet | int], capacity: int = 0) -> Burst:
        """Return a burst of these packets or mbuf addresses. Raises ConfigError as `append` does."""
        given = list(packets)
        burst = cls(max(capacity, len(given), 1))
        for packet in given:
            burst.append(packet)
        return burst

    @property
    def address(self) -> int:
        """The address of the array of mbuf addresses."""
        return int(self._addresses.ctypes.data)

    @property
    def capacity(self) -> int:
        """How many packets the array has room for."""
        return len(self._addresses)

    @property
    def addresses(self) -> npt.NDArray[np.int64]:
        """A copy of the packets' addresses."""
        return self._addresses[: self._count].copy()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, address: int) -> bool:
        return bool((self._addresses[: self._count] == address).any())

    def __getitem__(self, index: int) -> Packet:
        if not -self._count <= index < self._count:
            raise IndexError(f"packet {index} of a burst of {self._count}")
        return Packet(int(self._addresses[: self._count][index]), self)

    def __iter__(self) -> Iterator[Packet]:
        return iter([self[index] for index in range(self._count)])

    def __repr__(self) -> str:
        return f"<Burst of {self._count} packets, room for {self.capacity}>"

    def column(self, field: str) -> npt.NDArray[Any]:
        """Return one header field of all packets as an array. Raises ConfigError for a field that an mbuf lacks."""
        if field not in (MBUF.names or ()):
            raise ConfigError(f"an mbuf has no field {field!r}: {', '.join(MBUF.names or ())}")
        if self._count == 0:
            return np.zeros(0, MBUF[field])
        return np.array([mbuf_record(address)[field] for address in self.addresses.tolist()], MBUF[field])

    @property
    def pkt_len(self) -> npt.NDArray[np.uint32]:
        """The packets' lengths in bytes."""
        return self.column("pkt_len")

    @property
    def port(self) -> npt.NDArray[np.uint16]:
        """The ports the packets came from."""
        return self.column("port")

    @property
    def ol_flags(self) -> npt.NDArray[np.int64]:
        """The packets' offload flags."""
        return self.column("ol_flags")

    @property
    def packet_type(self) -> npt.NDArray[np.uint32]:
        """The packets' types."""
        return self.column("packet_type")

    def append(self, packet: Packet | int) -> None:
        """Take over a packet. Raises ConfigError for what is not an mbuf or is in the burst already, or when full."""
        address = packet.address if isinstance(packet, Packet) else int(packet)
        require_mbuf(address)
        if address in self:
            raise ConfigError(f"mbuf {address:#x} is in this burst already")
        if self._count == self.capacity:
            raise ConfigError(f"the burst is full: it has room for {self.capacity} packets")
        if isinstance(packet, Packet):
            packet.give("moved into a burst")
        self._addresses[self._count] = address
        self._count += 1

    def alloc(self, pool: Mempool, n: int) -> None:
        """Add `n` empty packets out of a pool, all or none. Raises ConfigError when there is no room or too few."""
        if not pool.live or not pool.holds_mbufs:
            raise ConfigError(f"mempool {pool.name} is not a live pool of mbufs")
        if not 0 <= n <= self.capacity - self._count:
            raise ConfigError(f"{n} packets don't fit: the burst has room for {self.capacity - self._count} more")
        if _alloc(CONTROL_LCORE, pool.address, self.address + 8 * self._count, n) != n:
            raise ConfigError(f"mbuf pool {pool.name} has fewer than {n} mbufs left", errno=12)
        self._count += n

    def fill(self, n: int) -> None:
        """Say that the array now holds `n` packets, put there by a burst function that was given `address`."""
        if not 0 <= n <= self.capacity:
            raise ConfigError(f"a burst with room for {self.capacity} packets can't hold {n}")
        self._count = n

    def drop(self, n: int) -> None:
        """Say that a burst function took the first `n` packets; the others move to the front."""
        if not 0 <= n <= self._count:
            raise ConfigError(f"{n} packets can't have been taken out of {self._count}")
        rest = self._addresses[n : self._count].copy()
        self._count -= n
        self._addresses[: self._count] = rest

    def take(self, index: int = -1) -> Packet:
        """Take a packet out of the burst; it then belongs to the caller."""
        address = self[index].address
        self.remove(address)
        return Packet(address)

    def remove(self, address: int) -> None:
        """Take an mbuf out of the burst; it then belongs to the caller. Raises ConfigError when it is not in it."""
        if address not in self:
            raise ConfigError(f"mbuf {address:#x} is not in this burst")
        kept = self.addresses[self.addresses != address]
        self._count = len(kept)
        self._addresses[: self._count] = kept

    def free(self) -> None:
        """Give all packets back to their pools. Raises ConfigError when one of them is not an mbuf, or stands twice."""
        addresses = self.addresses
        for address in addresses.tolist():
            require_mbuf(address)
        if len(np.unique(addresses)) != len(addresses):
            raise ConfigError("the burst holds an mbuf twice: nothing was freed")
        self._count = 0
        _free(CONTROL_LCORE, self.address, len(addresses))
