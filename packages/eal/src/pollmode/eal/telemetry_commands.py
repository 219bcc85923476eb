# SPDX-License-Identifier: BSD-3-Clause
"""The /eal commands of telemetry, with DPDK's names, keys and helps."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pollmode.eal.errors import ConfigError
from pollmode.eal.lcore_layout import MAX_LCORE
from pollmode.eal.options import split
from pollmode.eal.telemetry import MAX_ARRAY, Telemetry, integer

if TYPE_CHECKING:
    from pollmode.eal.lcore import Lcore, Lcores
    from pollmode.eal.memory import Memory, Memzone

__all__ = ["register_lcores", "register_memory", "register_words"]

_NUMBER_UNIT = 64  # every zone begins at a cache line


def register_words(telemetry: Telemetry, words: Sequence[str]) -> None:
    """Have telemetry tell the program's name with the EAL's words, and those of the application.

    The latter stand behind `--` on the process's command line, if that is where the EAL's words are from.
    """
    program, *line = sys.argv
    before, behind = split(line)
    own = [os.path.basename(program), *words]
    application = behind if before[len(before) - len(words) :] == list(words) else []
    for name, told, whose in (("params", own, "EAL"), ("app_params", application, "app")):
        text = f"Returns {whose} commandline parameters used. Takes no parameters"
        telemetry.register(f"/eal/{name}", functools.partial(_constant, told), text)


def _constant(value: object, parameters: str | None) -> object:
    """Answer with `value`, whatever the parameters."""
    return value


def register_lcores(telemetry: Telemetry, lcores: Lcores) -> None:
    """Have telemetry tell about lcores; cycles are told of those whose loop counts them."""

    def numbers(_: str | None) -> list[int]:
        return [lcore.id for lcore in lcores.all]

    def info(parameters: str | None) -> dict[str, object] | None:
        number = integer(parameters)
        if number >= MAX_LCORE:
            raise ConfigError(f"lcore {number} is out of range")
        found = [lcore for lcore in lcores.all if lcore.id == number]
        return _lcore_info(found[0]) if found else None

    def usage(_: str | None) -> dict[str, object]:
        counting = [(lcore.id, *cycles) for lcore in lcores.all if (cycles := _cycles(lcore))[0]]
        return {
            "lcore_ids": [number for number, _, _ in counting],
            "total_cycles": [total for _, total, _ in counting],
            "busy_cycles": [busy for _, _, busy in counting],
            "usage_ratio": [_ratio(total, busy) for _, total, busy in counting],
        }

    telemetry.register("/eal/lcore/list", numbers, "List of lcore ids. Takes no parameters")
    telemetry.register("/eal/lcore/info", info, "Returns lcore info. Parameters: int lcore_id")
    telemetry.register("/eal/lcore/usage", usage, "Returns lcore cycles usage. Takes no parameters")


def _lcore_info(lcore: Lcore) -> dict[str, object]:
    told = {"lcore_id": lcore.id, "socket": lcore.socket, "role": "RTE", "cpuset": sorted(lcore.cpus)}
    total, busy = _cycles(lcore)
    if not total:
        return told
    return told | {"total_cycles": total, "busy_cycles": busy, "usage_ratio": _ratio(total, busy)}


def _cycles(lcore: Lcore) -> tuple[int, int]:
    record = lcore.record[0]
    return int(record["total_cycles"]), int(record["busy_cycles"])


def _ratio(total: int, busy: int) -> str:
    return f"{100 * busy / total:.2f}%"


def register_memory(telemetry: Telemetry, memory: Memory) -> None:
    """Have telemetry tell about memory: one heap, its zones, and the pages of the one list of segments."""
    told = _MemoryCommands(memory)
    for name, command, text in (
        ("/eal/heap_list", told.heap_list, "List of heap index setup. Takes no parameters"),
        ("/eal/heap_info", told.heap_info, "Returns malloc heap stats. Parameters: int heap_id"),
        ("/eal/memzone_list", told.zone_list, "List of memzone index reserved. Takes no parameters"),
        ("/eal/memzone_info", told.zone_info, "Returns memzone info. Parameters: int mz_id"),
        ("/eal/memseg_lists", told.heap_list, "Returns array of memseg list IDs. Takes no parameters"),
        ("/eal/memseg_list_info", told.pages, "Returns memseg list. Parameters: int memseg_list_id"),
        ("/eal/memseg_info", told.page, "Returns memseg info. Parameters: int memseg_list_id,int memseg_id"),
    ):
        telemetry.register(name, command, text)


class _MemoryCommands:
    """The commands about one memory. A zone's number is its place in cache lines: it stays while the zone lives."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._region = memory.regions()[0]

    def heap_list(self, _: str | None) -> list[int]:
        return [0]

    def heap_info(self, parameters: str | None) -> dict[str, object]:
        self._only_one(integer(parameters))
        zones = self._memory.zones()
        free, at = [], self._region.address
        for zone in zones:
            free.append(zone.address - at)
            at = zone.address + zone.size
        free.append(self._region.address + self._region.size - at)
        return {
            "Heap_id": 0,
            "Name": "socket_0",
            "Heap_size": self._region.size,
            "Free_size": sum(free),
            "Alloc_size": self._region.size - sum(free),
            "Greatest_free_size": max(free),
            "Alloc_count": len(zones),
            "Free_count": sum(size > 0 for size in free),
        }

    def zone_list(self, _: str | None) -> list[int]:
        return [self._number(zone) for zone in self._memory.zones()]

    def zone_info(self, parameters: str | None) -> dict[str, object]:
        number = integer(parameters)
        zone = next(zone for zone in self._memory.zones() if self._number(zone) == number)
        first, end = self._page_range(zone)
        size = self._region.page_size
        return {
            "Zone": number,
            "Name": zone.name,
            "Length": zone.size,
            "Address": hex(zone.address),
            "Socket": 0,
            "Flags": 0,
            "Hugepage_size": size,
            "Hugepage_base": hex(self._region.address + first * size),
            "Hugepage_used": end - first,
        }

    def pages(self, parameters: str | None) -> list[int]:
        self._only_one(integer(parameters))
        return list(islice(self._pages(), MAX_ARRAY))

    def page(self, parameters: str | None) -> dict[str, object]:
        segment_list, _, index = (parameters or "").partition(",")
        self._only_one(integer(segment_list))
        number = integer(index)
        if number not in self._pages():
            raise ConfigError(f"no zone is on page {number}")
        size = self._region.page_size
        address = self._region.address + number * size
        return {
            "Memseg_list_index": 0,
            "Memseg_index": number,
            "IOVA_addr": hex(self._memory.iova(address)),
            "Start_addr": hex(address),
            "End_addr": hex(address + size),
            "Size": size,
            "Hugepage_size": size,
            "Socket_id": 0,
            "flags": 0,
        }

    def _only_one(self, number: int) -> None:
        if number:
            raise ConfigError(f"there is no heap or segment list {number}; there is one, 0")

    def _number(self, zone: Memzone) -> int:
        return (zone.address - self._region.address) // _NUMBER_UNIT

    def _page_range(self, zone: Memzone) -> tuple[int, int]:
        """Return the first page of a zone and the one behind its last."""
        size, offset = self._region.page_size, zone.address - self._region.address
        return offset // size, -(-(offset + zone.size) // size)

    def _pages(self) -> Iterator[int]:
        """Go through the pages that zones are on, in order, each once."""
        behind = 0
        for zone in self._memory.zones():
            first, end = self._page_range(zone)
            yield from range(max(first, behind), end)
            behind = end
