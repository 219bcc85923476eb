# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's lcore syntax: `0-3,8`, groups `(0,1)@2`, `0@3`, `(0-2)@(4-6)`, and hexadecimal core masks.

Without `@`, single lcores and ranges outside brackets run each on the cpu of its own number; a bracketed group runs,
every member, on all the cpus of the group. With `@`, every lcore on the left runs on all the cpus on the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pollmode.eal.errors import ConfigError

__all__ = ["MAX_LCORE", "CoreMap", "cpu_list", "cpu_ranges", "parse_coremap", "parse_coremask", "remap"]

MAX_LCORE = 128
"""Lcore ids are 0 to 127: DPDK's RTE_MAX_LCORE."""
MAX_CPU = 1024
"""Cpus are 0 to 1023: glibc's CPU_SETSIZE."""

CoreMap = tuple[tuple[int, frozenset[int]], ...]
"""Pairs of lcore id and the cpus it may run on, in order of id."""

_SET = re.compile(r"\((?P<group>[0-9,\- ]+)\)|(?P<plain>[0-9]+(?: *- *[0-9]+)?)")
_RANGE = re.compile(r"(\d+)(?: *- *(\d+))?")


def parse_coremap(text: str) -> CoreMap:
    """Return the lcores that `text` names. Raises ConfigError that names the part that is wrong."""
    found: dict[int, frozenset[int]] = {}
    for lcores, cpus in _entries(text):
        for lcore in lcores:
            own = cpus if cpus is not None else frozenset({lcore})
            if found.setdefault(lcore, own) != own:
                raise ConfigError(f"invalid lcores {text!r}: lcore {lcore} is given two different sets of cpus")
    return tuple(sorted(found.items()))


def _entries(text: str) -> Iterator[tuple[frozenset[int], frozenset[int] | None]]:
    at = 0
    while True:
        lcores, group, at = _read_set(text, at, MAX_LCORE, "lcore")
        cpus: frozenset[int] | None = lcores if group else None
        if text[at : at + 1] == "@":
            cpus, _, at = _read_set(text, at + 1, MAX_CPU, "cpu")
        yield lcores, cpus
        if at == len(text):
            return
        if text[at] != ",":
            raise _wrong(text, at)
        at += 1


def _read_set(text: str, at: int, limit: int, what: str) -> tuple[frozenset[int], bool, int]:
    match = _SET.match(text, at)
    if match is None:
        raise _wrong(text, at)
    members: set[int] = set()
    for part in (match["group"] or match["plain"]).split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise _wrong(text, at)
        first, last = sorted((int(found[1]), int(found[2] or found[1])))
        if last >= limit:
            raise ConfigError(f"invalid lcores {text!r}: {what} {last} is out of range, it must be 0 to {limit - 1}")
        members.update(range(first, last + 1))
    return frozenset(members), match["group"] is not None, match.end()


def _wrong(text: str, at: int) -> ConfigError:
    return ConfigError(f"invalid lcores {text!r}: cannot read {text[at:]!r}; write 0-3,8 or (0,1)@2 or (0-2)@(4-6)")


def parse_coremask(text: str) -> CoreMap:
    """Return the lcores of a hexadecimal mask, each on the cpu of its number. Raises ConfigError."""
    try:
        mask = int(text, 16)
    except ValueError:
        mask = 0
    if mask <= 0:
        raise ConfigError(f"invalid coremask syntax {text!r}: write a hexadecimal mask of cores such as 0x3")
    if mask.bit_length() > MAX_LCORE:
        raise ConfigError(f"invalid coremask {text!r}: lcores are 0 to {MAX_LCORE - 1}")
    return tuple((core, frozenset({core})) for core in range(mask.bit_length()) if mask >> core & 1)


def remap(lcores: CoreMap, first: int) -> CoreMap:
    """Number the lcores from `first` on and leave each on its cpus. Raises ConfigError past the last id."""
    if first + len(lcores) > MAX_LCORE:
        raise ConfigError(
            f"--remap-lcore-ids={first}: {len(lcores)} lcores from there pass the last id {MAX_LCORE - 1}"
        )
    return tuple((first + place, cpus) for place, (_, cpus) in enumerate(lcores))


def cpu_list(text: str) -> list[int]:
    """Return the cpus of the kernel's list format, "0-3,8" (bitmap_parselist), in their order."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return sorted(cpus)


def cpu_ranges(cpus: Iterable[int]) -> str:
    """Return cpus as people write them: "0-3, 8"."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
