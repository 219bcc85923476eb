# SPDX-License-Identifier: BSD-3-Clause
"""The EAL's command line: from words to `EalOptions`, without touching the machine or importing anything heavy.

DPDK's names, grammar and exclusions; an option that DPDK has and this release has not raises UnsupportedError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pollmode.eal import devargs
from pollmode.eal.coremap import CoreMap, remap
from pollmode.eal.errors import ConfigError
from pollmode.eal.grammar import Grammar
from pollmode.eal.logs import LevelRule
from pollmode.eal.option_table import EXCLUSIONS, OPTIONS, RENAMED

__all__ = ["EalOptions", "parse", "split", "usage"]


@dataclass(frozen=True)
class EalOptions:
    """What the EAL's command line said; the defaults are those of an empty one.

    `lcores` pairs lcore ids with sets of cpus, in order, or is None for every cpu the process may run on.
    `vdevs` and `allow` are the texts of virtual devices and of PCI devices to use, `block` the names of either kind.
    `telemetry` is None when it was neither asked for nor refused: it is served, but the process starts without it too.
    """

    lcores: CoreMap | None = None
    main_lcore: int | None = None
    memory_mb: int | None = None
    memory_channels: int = 0
    memory_ranks: int = 0
    no_huge: bool = False
    in_memory: bool = False
    huge_dir: str | None = None
    huge_unlink: str = "existing"
    single_file_segments: bool = False
    base_virtaddr: int | None = None
    iova_mode: str | None = None
    file_prefix: str = "rte"
    proc_type: str = "primary"
    no_pci: bool = False
    pci_hosts: tuple[str, ...] = ()
    no_shconf: bool = False
    vdevs: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    block: tuple[str, ...] = ()
    no_auto_probing: bool = False
    log_levels: tuple[LevelRule, ...] = ()
    log_color: str = "auto"
    log_timestamp: str | None = None
    telemetry: bool | None = None
    list_log_types: bool = False
    help: bool = False
    version: bool = False


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the EAL's words and the application's: those before and after the first `--`."""
    words = list(argv)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def parse(argv: Sequence[str]) -> EalOptions:
    """Parse the EAL's words (no program name, no `--`). Raises ConfigError and UnsupportedError."""
    given = Grammar(OPTIONS, RENAMED).parse(argv)
    if given.keys() & {"help", "version"}:
        return EalOptions(help="help" in given, version="version" in given)
    _check_exclusions(given)
    lcores = _lcores(given)
    rules = _tuple(given, "log-level")
    vdevs, allow, block = _devices(given)
    simple: dict[str, Any] = {key.replace("-", "_"): given[key] for key in _PLAIN if key in given}
    fields: dict[str, Any] = {
        "memory_mb": given.get("memory-size", given.get("numa-mem")),
        "log_levels": tuple(rule for rule in rules if rule is not LevelRule.HELP),
        "list_log_types": LevelRule.HELP in rules,
        "main_lcore": _main_lcore(given, lcores),
        "pci_hosts": _tuple(given, "pci-host"),
        "telemetry": True if "telemetry" in given else False if "no-telemetry" in given else None,
    }
    return EalOptions(lcores=lcores, vdevs=vdevs, allow=allow, block=block, **fields, **simple)


_PLAIN = (
    "memory-channels",
    "memory-ranks",
    "no-huge",
    "in-memory",
    "huge-dir",
    "huge-unlink",
    "single-file-segments",
    "base-virtaddr",
    "iova-mode",
    "file-prefix",
    "proc-type",
    "no-pci",
    "no-auto-probing",
    "no-shconf",
    "log-color",
    "log-timestamp",
)


def _tuple(given: dict[str, object], key: str) -> tuple[Any, ...]:
    found = given.get(key, ())
    assert isinstance(found, tuple)
    return found


def _check_exclusions(given: dict[str, object]) -> None:
    for one, other in EXCLUSIONS:
        if one in given and other in given:
            raise ConfigError(f"Options '{one}' and '{other}' can't be used at the same time")


def _lcores(given: dict[str, Any]) -> CoreMap | None:
    lcores: CoreMap | None = given.get("lcores", given.get("coremask"))
    first = given.get("remap-lcore-ids")
    if first is None:
        return lcores
    if lcores is None:
        raise ConfigError("--remap-lcore-ids needs -l: it numbers the lcores of that list anew")
    if any(cpus != {lcore} for lcore, cpus in lcores):
        raise ConfigError("--remap-lcore-ids cannot be used with groups or '@' in -l, which number the lcores already")
    return remap(lcores, first)


def _main_lcore(given: dict[str, Any], lcores: CoreMap | None) -> int | None:
    main: int | None = given.get("main-lcore")
    if main is not None and lcores is not None and main not in dict(lcores):
        enabled = ", ".join(str(lcore) for lcore, _ in lcores)
        raise ConfigError(f"Error: Main lcore is not enabled for DPDK: --main-lcore is {main}, lcores are {enabled}")
    return main


def _devices(given: dict[str, object]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return texts of virtual devices to make and of PCI devices to use, and names not to use.

    DPDK makes the virtual devices of -a like those of --vdev.
    """
    vdevs: list[str] = list(_tuple(given, "vdev"))
    allow: list[str] = []
    for text in _tuple(given, "allow"):
        (allow if devargs.parse(text).bus == "pci" else vdevs).append(text)
    block = tuple(devargs.parse(text).name for text in _tuple(given, "block"))
    names: set[str] = set()
    for text in (*vdevs, *allow):
        device = devargs.parse(text)
        if device.name in names:
            raise ConfigError(f"device {device.name} is given twice: a second one needs a name of its own")
        names.add(device.name)
    if wrong := next((text for text in vdevs if devargs.parse(text).bus == "pci"), None):
        raise ConfigError(f"--vdev {wrong}: that is a PCI device; name it with -a")
    return tuple(text for text in vdevs if devargs.parse(text).name not in block), tuple(allow), block


def usage() -> list[tuple[str, str]]:
    """Return pairs of an option's form and meaning for a help page, supported options only."""
    return [(option.usage, option.meaning) for option in OPTIONS if option.lacking is None]
