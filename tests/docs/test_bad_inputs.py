# SPDX-License-Identifier: BSD-3-Clause
"""The page of bad inputs names tests and attacks that exist, and every test against a hostile peer stands there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pollmode.vhost.attacks import BACKEND_ATTACKS, FRONTEND_ATTACKS

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "bad-inputs.md"
ROWS = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)(?:\[([^]]+)\])?`", "\n".join(ROWS))
HOSTILE = (
    "net_virtio/test_split_rx_attacks.py",
    "net_virtio/test_split_tx_attacks.py",
    "net_vhost/test_hostile.py",
    "net_vhost/test_fuzz.py",
    "net_vmxnet3/test_attacks.py",
)


def defined_in(path: str) -> set[str]:
    """The tests a file defines."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_and_attack_it_names_exists() -> None:
    for path, name, attack in NAMED:
        assert name in defined_in(path), f"{path} has no {name}"
        assert not attack or attack in BACKEND_ATTACKS | FRONTEND_ATTACKS, f"there is no attack {attack!r}"


def test_every_row_names_a_test() -> None:
    rows = [row for row in ROWS if "::" not in row and not row.endswith("| tests |")]
    assert rows == []
    assert len(ROWS) > 40


def test_every_test_of_the_hostile_files_is_named() -> None:
    for path in HOSTILE:
        assert defined_in(path) - {name for at, name, _ in NAMED if at == path} == set()
