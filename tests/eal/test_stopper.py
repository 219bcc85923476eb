# SPDX-License-Identifier: BSD-3-Clause
"""Stopping: the first signal asks, the second forces, and the handlers of before come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pollmode.eal.errors import InternalError
from pollmode.eal.stopper import SAME_SIGNAL, Stopper

STUBBORN = """
import os, time
from pollmode.eal.stopper import Stopper
with Stopper(on_forced=lambda: os.write(2, b"put right\\n")) as stopper:
    print("ready", flush=True)
    stopper.wait()
    print("asked by", stopper.signal, flush=True)
    time.sleep(300)
"""


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[str]]:
    """A program that is asked to end and does not."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_is_known(number: signal.Signals) -> None:
    stops: list[bool] = []
    with Stopper(lambda: stops.append(True)) as stopper:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        assert stopper.wait(60)
        assert stopper.signal == number
    assert stops == [True]


def test_waiting_ends_after_its_time() -> None:
    with Stopper() as stopper:
        assert not stopper.wait(0.01)
        assert not stopper.requested


def test_another_thread_may_stop() -> None:
    stops: list[bool] = []
    with Stopper(lambda: stops.append(True)) as stopper:
        threading.Timer(0.05, stopper.stop).start()
        assert stopper.wait(60)
        assert stopper.signal is None
        stopper.stop()
    assert stops == [True]


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    descriptors = len(os.listdir("/proc/self/fd"))
    with Stopper():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_one_within_another_takes_the_request_over() -> None:
    with Stopper() as outer:
        with Stopper() as inner:
            assert not inner.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert outer.wait(60)
        stops: list[bool] = []
        with Stopper(lambda: stops.append(True)) as inner:
            assert inner.wait(0)
            assert (inner.signal, stops) == (signal.SIGTERM, [True])


def test_waiting_outside_the_context_is_our_mistake() -> None:
    with pytest.raises(InternalError, match="only within its context"):
        Stopper().wait(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(stubborn: subprocess.Popen[str], number: signal.Signals) -> None:
    assert stubborn.stdout is not None
    assert stubborn.stderr is not None
    assert stubborn.stdout.readline() == "ready\n"
    stubborn.send_signal(number)
    assert stubborn.stdout.readline() == f"asked by {int(number)}\n"
    time.sleep(SAME_SIGNAL + 0.1)
    stubborn.send_signal(number)
    assert stubborn.wait(60) == -number
    assert stubborn.stderr.read() == "put right\n\nForced to quit by a second signal\n"


def test_one_signal_that_comes_twice_at_once_is_one(stubborn: subprocess.Popen[str]) -> None:
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == "ready\n"
    stubborn.send_signal(signal.SIGINT)
    stubborn.send_signal(signal.SIGTERM)
    assert stubborn.stdout.readline().startswith("asked by")
    time.sleep(0.1)
    assert stubborn.poll() is None
    stubborn.kill()
    stubborn.wait(60)
