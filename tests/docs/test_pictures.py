# SPDX-License-Identifier: BSD-3-Clause
"""The scripts that draw the pages' pictures still do, and the pictures load nothing from elsewhere."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pollmode.eal.jit import BOUNDS_CHECKED, INTERPRETED

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def words(svg: str) -> str:
    return " ".join("".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ").split())


@pytest.mark.timeout(600)
@pytest.mark.skipif(INTERPRETED or BOUNDS_CHECKED, reason="what is drawn does not depend on how code runs")
def test_the_dashboard_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    made = words(runpy.run_path(str(PICTURES / "dashboard.py"))["picture"](0.5))
    for word in ("1 Overview", "net_vhost0", "net_virtio_user0", "RX packets/s", "60 s ago", "q quit"):
        assert word in made
        assert word in words((PICTURES / "dashboard.svg").read_text())


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_is_whole_by_itself(picture: Path) -> None:
    text = picture.read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "url(http" not in text
    assert "@font-face" not in text
