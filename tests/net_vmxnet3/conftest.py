# SPDX-License-Identifier: BSD-3-Clause
"""Ports of the driver whose device is `pollmode.net_vmxnet3.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from net_vmxnet3.rigs import Rig

from pollmode.eal.environment import Environment
from pollmode.ethdev import Ports


@pytest.fixture
def make_rig(environment: Environment) -> Iterator[Callable[..., Rig]]:
    """Make ports that are configured and started; at the end nothing may be missing from their pools."""
    ports = Ports(environment)
    made: list[Rig] = []

    def make(**options: object) -> Rig:
        made.append(Rig(environment, ports, len(made), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    ports.close()
    for rig in made:
        rig.model.close()
        assert rig.pool.audit().available == rig.pool.count
    assert [zone.name for zone in environment.memory.zones() if "vmxnet3" in zone.name] == []


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """One queue in each direction of a device of revision 1."""
    return make_rig(revision=1)
