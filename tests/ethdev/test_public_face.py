# SPDX-License-Identifier: BSD-3-Clause
"""The public face is complete: everything in `__all__` is there and documented."""

from __future__ import annotations

import inspect

import pytest

import pollmode.bus_vdev
import pollmode.ethdev
import pollmode.net_af_packet
import pollmode.net_null
import pollmode.net_pcap
import pollmode.net_ring

PACKAGES = [
    pollmode.ethdev,
    pollmode.bus_vdev,
    pollmode.net_null,
    pollmode.net_ring,
    pollmode.net_af_packet,
    pollmode.net_pcap,
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_there_and_documented(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(package, name), name
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, name
