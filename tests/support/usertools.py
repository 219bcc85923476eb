# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's devbind and hugepages beside ours: what must be alike, line by line.

Ours follow DPDK 26.11; distributions install older ones. Where an installed tool prints less, or prints it in other
columns, the lines of ours are brought into its form first. POLLMODE_DPDK_USERTOOLS names a folder with other versions.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALL = "apt-get install dpdk pciutils iproute2"


def require_usertool(name: str, *programs: str) -> str:
    """Return the path of one of DPDK's tools; skip the test without it and other programs, or fail as CI wants."""
    elsewhere = Path(os.environ.get("POLLMODE_DPDK_USERTOOLS", "/nowhere")) / name
    found = str(elsewhere) if elsewhere.exists() else shutil.which(name)
    missing = [program for program in programs if shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin") is None]
    if found and not missing:
        return found
    text = f"not installed: {', '.join([name] * (not found) + missing)}: {INSTALL}"
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


@dataclass(frozen=True)
class Said:
    """What a tool said: exit code, lines of standard output and of standard error."""

    code: int
    printed: Sequence[str]
    errors: Sequence[str]


def assert_devbind_agrees(tool: str, ours: Said, theirs: Said) -> None:
    """Compare two runs of devbind."""
    version = Path(tool).read_text()
    printed = list(ours.printed)
    if "numa_node" not in version:
        printed = [re.sub(r" numa_node=\d+ ", " ", line) for line in printed]
    if "'ML'" not in version and '"ML"' not in version and (heads := [line for line in printed if "ML" in line]):
        del printed[printed.index(heads[0]) - 1 :]
    assert printed == [line for line in theirs.printed if not _is_usage(line)]
    _assert_errors_agree(ours, theirs)


def assert_hugepages_agree(tool: str, ours: Said, theirs: Said) -> None:
    """Compare two runs of hugepages."""
    if "Huge page filesystems" in Path(tool).read_text():
        assert _by_node(ours.printed) == _by_node(theirs.printed)
    else:
        assert _by_node(_older(ours.printed)) == _by_node([re.sub(" +", " ", line) for line in theirs.printed])
    _assert_errors_agree(ours, theirs)


def _older(lines: Sequence[str]) -> list[str]:
    """Return what DPDK 22.11 prints: no width of columns, other words where there is nothing."""
    texts = [re.sub(" +", " ", line).strip() for line in lines]
    changed = {
        "No huge pages reserved": "Node Pages Size Total",
        "No huge page filesystems mounted": "Hugepages not mounted",
    }
    texts = [changed.get(text, text) for text in texts]
    return [text.replace("Huge page filesystems mounted at:", "Hugepages mounted on") for text in texts]


def _by_node(lines: Sequence[str]) -> list[str]:
    """Return the lines with those of the table sorted: DPDK takes nodes and sizes as a folder happens to list them."""
    end = next((number for number, line in enumerate(lines) if not line), len(lines))
    return [*lines[:1], *sorted(lines[1:end]), *lines[end:]]


def _assert_errors_agree(ours: Said, theirs: Said) -> None:
    """Ours begin with theirs and go on with the way out; hints are ours alone, as is "Error:" before all errors."""
    lines = [line.removeprefix("Error: ") for line in ours.errors if not line.startswith("Hint: ")]
    wanted = [line for line in theirs.errors if not _is_usage(line)]
    if theirs.code == 2:  # argparse: "tool.py: error: argument ... (choose from ...)"
        wanted = [line.partition(": error: ")[2].partition("(choose")[0] for line in wanted]
    if "Traceback (most recent call last):" in wanted:  # it catches an error where it is not raised
        wanted = [wanted[-1].partition(": ")[2]]
    assert len(lines) == len(wanted), (ours, theirs)
    for line, beginning in zip(lines, wanted, strict=True):
        assert line.startswith(beginning.removeprefix("Error: ").rstrip()), (line, beginning)
    assert ours.code == theirs.code, (ours, theirs)


def _is_usage(line: str) -> bool:
    return line.startswith(("usage: ", "       ", "lspci: "))
