# SPDX-License-Identifier: BSD-3-Clause
"""The package has one face: it is complete, documented and typed, and the README names every verb."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

from pollmode import mbuf

VERBS = [name for name in mbuf.__all__ if name.startswith(("mbuf_", "pool_", "ring_"))]


def test_every_public_name_is_there_once() -> None:
    assert len(set(mbuf.__all__)) == len(mbuf.__all__)
    for name in mbuf.__all__:
        getattr(mbuf, name)


def test_what_the_modules_offer_to_compiled_code_is_on_the_face() -> None:
    for module in pkgutil.iter_modules(mbuf.__path__):
        offered = import_module(f"pollmode.mbuf.{module.name}")
        for name in getattr(offered, "__all__", []):
            if name.startswith(("mbuf_", "pool_", "ring_")) and name != "mbuf_record":
                assert getattr(mbuf, name) is getattr(offered, name)


@pytest.mark.parametrize("name", [name for name in mbuf.__all__ if callable(getattr(mbuf, name))])
def test_every_public_function_is_documented_and_typed(name: str) -> None:
    value = getattr(mbuf, name)
    function = getattr(value, "py_func", value)
    assert inspect.getdoc(function)
    if inspect.isfunction(function):
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(one.annotation is not one.empty for one in signature.parameters.values())


def test_the_readme_names_every_verb() -> None:
    readme = Path(__file__).resolve().parents[2] / "packages" / "mbuf" / "README.md"
    text = readme.read_text()
    assert [name for name in VERBS if f"`{name}(" not in text and f" {name}(" not in text] == []
