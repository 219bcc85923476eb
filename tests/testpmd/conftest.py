# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the testpmd tests."""

from collections.abc import Iterator

import pytest
from support.testpmd_loop import Loop

from pollmode.eal.environment import Environment


@pytest.fixture
def loop(environment: Environment) -> Iterator[Loop]:
    """A started ring port; every mbuf is back at the end."""
    made = Loop(environment)
    yield made
    made.close()
