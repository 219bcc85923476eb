# SPDX-License-Identifier: BSD-3-Clause
"""The rings behind a device, which several devices of one process may share by name."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError, nearest
from pollmode.mbuf import Ring, ring

from .layout import MAX_RINGS, RING_SIZE
from .tx import free_packets

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["RingSet", "attach", "create"]


class RingSet:
    """One ring for each queue pair: what is sent on a queue is received on the queue of the same number.

    Packets left in the rings are freed with them, when the last device that uses the set lets go.
    """

    def __init__(self, memory: Memory, name: str, *, shared: bool) -> None:
        self.name = name
        self.shared = shared
        self.users = 1
        self.rings: list[Ring] = []
        try:
            for number in range(MAX_RINGS):
                # DPDK's name. Only a set that others may attach to has several lcores at one end.
                made = ring.create(
                    memory,
                    f"ETH_RXTX{number}_{name}",
                    RING_SIZE,
                    single_producer=not shared,
                    single_consumer=not shared,
                )
                self.rings.append(made)
        except BaseException:
            self._free()
            raise

    def let_go(self, lcore: int) -> None:
        """End one device's use; `lcore` is the record that the last one frees packets with."""
        self.users -= 1
        if self.users == 0:
            for each in self.rings:
                free_packets(lcore, each.address)
            self._free()

    def _free(self) -> None:
        for each in self.rings:
            each.free()
        self.rings = []


_shared: weakref.WeakKeyDictionary[Memory, dict[str, RingSet]] = weakref.WeakKeyDictionary()


def create(memory: Memory, name: str, *, shared: bool) -> RingSet:
    """Make a set of rings, which others may attach to when `shared`. Raises ConfigError for a name that is taken."""
    made = RingSet(memory, name, shared=shared)
    if shared:
        _living(memory)[name] = made
    return made


def attach(memory: Memory, name: str) -> RingSet:
    """Use the rings that another device created. Raises ConfigError that names those there are."""
    living = _living(memory)
    if name not in living:
        there = ", ".join(sorted(living)) or "none; give one device nodeaction=NAME:0:CREATE before"
        raise ConfigError(f"there are no rings named {name!r} to attach to{nearest(name, living)}; created: {there}")
    living[name].users += 1
    return living[name]


def _living(memory: Memory) -> dict[str, RingSet]:
    sets = _shared.setdefault(memory, {})
    for name in [name for name, found in sets.items() if found.users == 0]:
        del sets[name]
    return sets
