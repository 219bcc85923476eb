# SPDX-License-Identifier: BSD-3-Clause
"""A served session with a scripted front end, and a check that no test leaves descriptors or mappings behind."""

import gc
import socket
from collections.abc import Iterator

import pytest
from support.vhost import Recorder, kept, until

from pollmode.eal.interrupts import Interrupts
from pollmode.vhost.session import Session
from pollmode.vhost.testing import ScriptedFrontend


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    before = kept()
    yield
    if kept() - before:  # more of something; what only waits for the collector is no leak
        gc.collect()
        until(lambda: not kept() - before, lambda: f"{kept()} after, {before} before")


@pytest.fixture
def loop() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    yield interrupts
    interrupts.close()


@pytest.fixture
def owner() -> Recorder:
    return Recorder()


@pytest.fixture
def served(loop, owner) -> Iterator[tuple[Session, ScriptedFrontend]]:
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(loop)
    with ScriptedFrontend(theirs) as front:
        yield session, front
    session.close()


@pytest.fixture
def session(served) -> Session:
    return served[0]


@pytest.fixture
def front(served) -> ScriptedFrontend:
    return served[1]
