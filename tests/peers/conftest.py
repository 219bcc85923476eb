# SPDX-License-Identifier: BSD-3-Clause
"""Peers that are not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.dpdk import DpdkTestpmd, require_testpmd


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path for a vhost-user socket, short enough for one."""
    return str(tmp_path_factory.mktemp("v") / "s")


@pytest.fixture
def dpdk() -> Iterator[Callable[..., DpdkTestpmd]]:
    """Start dpdk-testpmd; each one started is ended with the test."""
    require_testpmd()
    started: list[DpdkTestpmd] = []

    def start(*vdevs: str, **settings: Any) -> DpdkTestpmd:
        started.append(DpdkTestpmd(*vdevs, **settings))
        return started[-1]

    yield start
    for program in started:
        program.close()
