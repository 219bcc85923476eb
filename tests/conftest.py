# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures for every package: memory, the record of the calling thread, a whole environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from pollmode.eal.environment import Environment
from pollmode.eal.lcore import Lcores
from pollmode.eal.memory import Memory, private

# The machine may be busy, and what is compiled in an example is slow once. CI tries the same examples every time.
settings.register_profile("pollmode", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("pollmode")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: run the tests with sudo"))


@pytest.fixture(scope="session", autouse=True)
def runtime_directory() -> Iterator[str]:
    """A runtime directory of the session's own: what a killed program leaves of its files and sockets goes with it."""
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory(prefix="run-") as folder:
        patched.setenv("RUNTIME_DIRECTORY", folder)
        yield folder


@pytest.fixture
def memory() -> Iterator[Memory]:
    """64 MiB of ordinary memory of the test's own."""
    with private(64 << 20) as own:
        yield own


@pytest.fixture
def lcore(memory: Memory) -> Iterator[int]:
    """The address of the record of whoever is no lcore, in `memory`."""
    lcores = Lcores(((0, frozenset(os.sched_getaffinity(0))),), memory)
    yield lcores.control.address
    assert lcores.close()


@pytest.fixture
def environment() -> Iterator[Environment]:
    """An environment that leaves no files and needs nothing of the machine: two lcores that float over its cpus."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    with Environment.start(["--in-memory", "--no-huge", "--no-pci", "--lcores", f"(0-1)@({cpus})"]) as started:
        yield started
