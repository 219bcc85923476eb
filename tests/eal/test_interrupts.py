# SPDX-License-Identifier: BSD-3-Clause
"""The interrupt thread: who is called when, and what unregistering promises."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.interrupts import Interrupts

PATIENCE = 30.0


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    made = Interrupts()
    yield made
    made.close()


@pytest.fixture
def event() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield fd
    os.close(fd)


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def passed(interrupts: Interrupts) -> None:
    """Return when the thread has gone round once more."""
    round_trip = threading.Event()
    interrupts.alarm(0, round_trip.set)
    assert round_trip.wait(PATIENCE)


def test_a_readable_descriptor_calls_its_callback_each_time(interrupts: Interrupts, event: int) -> None:
    seen: list[int] = []
    interrupts.register(event, lambda: seen.append(os.eventfd_read(event)))
    for count in (1, 2, 3):
        os.eventfd_write(event, 7)
        assert eventually(lambda count=count: len(seen) == count)  # type: ignore[misc]
    assert seen == [7, 7, 7]


def test_callbacks_run_in_one_thread_that_is_not_the_callers(interrupts: Interrupts, event: int) -> None:
    threads: list[threading.Thread] = []

    def callback() -> None:
        os.eventfd_read(event)
        threads.append(threading.current_thread())

    interrupts.register(event, callback)
    interrupts.alarm(0, lambda: threads.append(threading.current_thread()))
    os.eventfd_write(event, 1)
    assert eventually(lambda: len(threads) == 2)
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


def test_a_hung_up_socket_is_an_event(interrupts: Interrupts) -> None:
    ours, theirs = socket.socketpair()
    called = threading.Event()

    def callback() -> None:
        interrupts.unregister(ours.fileno())
        called.set()

    interrupts.register(ours.fileno(), callback)
    theirs.close()
    assert called.wait(PATIENCE)
    ours.close()


def test_a_writable_descriptor_is_waited_for_on_request(interrupts: Interrupts) -> None:
    ours, theirs = socket.socketpair()
    called = threading.Event()

    def callback() -> None:
        interrupts.unregister(ours.fileno())
        called.set()

    interrupts.register(ours.fileno(), callback, writable=True)
    assert called.wait(PATIENCE)
    ours.close()
    theirs.close()


def test_nothing_is_called_after_unregister(interrupts: Interrupts, event: int) -> None:
    calls: list[int] = []
    interrupts.register(event, lambda: calls.append(1))
    assert interrupts.unregister(event)
    os.eventfd_write(event, 1)
    passed(interrupts)
    assert calls == []
    assert not interrupts.unregister(event)


def test_unregister_waits_for_the_callback_that_is_running(interrupts: Interrupts, event: int) -> None:
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def callback() -> None:
        entered.set()
        leave.wait(PATIENCE)
        left.set()

    interrupts.register(event, callback)
    os.eventfd_write(event, 1)
    assert entered.wait(PATIENCE)
    order: list[str] = []

    def take_away() -> None:
        interrupts.unregister(event)
        order.append("left" if left.is_set() else "still running")

    waiting = threading.Thread(target=take_away)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    leave.set()
    waiting.join(PATIENCE)
    assert order == ["left"]


def test_a_callback_may_unregister_itself(interrupts: Interrupts, event: int) -> None:
    calls: list[bool] = []
    interrupts.register(event, lambda: calls.append(interrupts.unregister(event)))
    os.eventfd_write(event, 1)
    assert eventually(lambda: calls == [True])
    passed(interrupts)
    assert calls == [True]


def test_a_callback_may_register_another(interrupts: Interrupts, event: int) -> None:
    other = os.eventfd(1, os.EFD_NONBLOCK)
    called = threading.Event()

    def second() -> None:
        os.eventfd_read(other)
        called.set()

    def first() -> None:
        os.eventfd_read(event)
        interrupts.register(other, second)

    interrupts.register(event, first)
    os.eventfd_write(event, 1)
    assert called.wait(PATIENCE)
    interrupts.unregister(other)
    os.close(other)


def test_a_descriptor_has_one_callback(interrupts: Interrupts, event: int) -> None:
    interrupts.register(event, lambda: None)
    with pytest.raises(ConfigError, match="has an interrupt callback already"):
        interrupts.register(event, lambda: None)


def test_a_number_is_registered_again_after_its_descriptor_was_closed(interrupts: Interrupts) -> None:
    first = os.eventfd(0)
    interrupts.register(first, lambda: None)
    os.close(first)
    second = os.eventfd(1, os.EFD_NONBLOCK)
    called = threading.Event()

    def callback() -> None:
        os.eventfd_read(second)
        called.set()

    interrupts.register(second, callback)
    assert called.wait(PATIENCE)
    interrupts.unregister(second)
    os.close(second)


@pytest.mark.parametrize("path", ["/proc/self/status", "/etc/passwd"])
def test_a_file_that_is_always_ready_is_refused(interrupts: Interrupts, path: str) -> None:
    with open(path) as file, pytest.raises(ConfigError, match="can't be waited for"):
        interrupts.register(file.fileno(), lambda: None)


def test_a_closed_descriptor_is_refused(interrupts: Interrupts) -> None:
    fd = os.eventfd(0)
    os.close(fd)
    with pytest.raises(ConfigError, match=f"descriptor {fd} can't be waited for: Bad file descriptor"):
        interrupts.register(fd, lambda: None)


def test_a_callback_that_raises_is_told_and_taken_off(
    interrupts: Interrupts, event: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ValueError("no such queue")

    interrupts.register(event, broken)
    os.eventfd_write(event, 1)
    passed(interrupts)
    assert eventually(lambda: not interrupts.unregister(event))
    assert "an interrupt callback failed: ValueError: no such queue" in capsys.readouterr().err


OUT_OF_DESCRIPTORS = """
import os, resource, sys, threading
from pollmode.eal import logs
from pollmode.eal.interrupts import Interrupts

assert "structlog" not in sys.modules, "the first line is what is tried"
interrupts, event, done = Interrupts(), os.eventfd(0), threading.Event()

def broken():
    raise ValueError("no such queue")

interrupts.register(event, broken)
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
taken = []
try:
    while True:
        taken.append(os.dup(event))
except OSError:
    os.eventfd_write(event, 1)
interrupts.alarm(0.05, done.set)
print(done.wait(30), "structlog" in sys.modules)
for fd in taken:
    os.close(fd)
logs.get("lib.eal").error("again")
print("structlog" in sys.modules)
interrupts.close()
"""


def test_a_process_without_descriptors_keeps_its_thread_and_its_log() -> None:
    ended = subprocess.run([sys.executable, "-c", OUT_OF_DESCRIPTORS], capture_output=True, text=True, timeout=120)
    assert ended.stdout.split() == ["True", "False", "True"], ended.stderr
    assert ended.stderr == "EAL: an interrupt callback failed: ValueError: no such queue\nEAL: again\n"


def test_alarms_run_in_order_of_time(interrupts: Interrupts) -> None:
    order: list[str] = []
    interrupts.alarm(0.2, lambda: order.append("late"))
    interrupts.alarm(0.05, lambda: order.append("early"))
    interrupts.alarm(0, lambda: order.append("now"))
    assert eventually(lambda: len(order) == 3)
    assert order == ["now", "early", "late"]


def test_an_alarm_is_not_early(interrupts: Interrupts) -> None:
    rang: list[float] = []
    due = time.monotonic() + 0.05
    interrupts.alarm(0.05, lambda: rang.append(time.monotonic()))
    assert eventually(lambda: bool(rang))
    assert rang[0] >= due


def test_a_cancelled_alarm_is_not_called(interrupts: Interrupts) -> None:
    calls: list[int] = []
    alarm = interrupts.alarm(PATIENCE, lambda: calls.append(1))
    assert interrupts.cancel(alarm)
    assert not interrupts.cancel(alarm)
    passed(interrupts)
    assert calls == []


def test_cancelling_waits_for_the_alarm_that_is_running(interrupts: Interrupts) -> None:
    entered, leave = threading.Event(), threading.Event()
    left: list[bool] = []

    def ring() -> None:
        entered.set()
        leave.wait(PATIENCE)
        left.append(True)

    alarm = interrupts.alarm(0, ring)
    assert entered.wait(PATIENCE)
    threading.Timer(0.05, leave.set).start()
    assert not interrupts.cancel(alarm)
    assert left == [True]


def test_an_alarm_may_set_the_next(interrupts: Interrupts) -> None:
    count: list[int] = []

    def tick() -> None:
        count.append(1)
        if len(count) < 3:
            interrupts.alarm(0.001, tick)

    interrupts.alarm(0, tick)
    assert eventually(lambda: len(count) == 3)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_time_that_is_no_time_is_refused(interrupts: Interrupts, seconds: float) -> None:
    with pytest.raises(ConfigError, match="it must be 0 or more"):
        interrupts.alarm(seconds, lambda: None)


def test_a_waiting_alarm_dies_with_the_thread(event: int) -> None:
    interrupts = Interrupts()
    interrupts.alarm(PATIENCE, lambda: None)
    interrupts.close()
    interrupts.close()
    with pytest.raises(ConfigError, match="has ended"):
        interrupts.alarm(0, lambda: None)
    with pytest.raises(ConfigError, match="has ended"):
        interrupts.register(event, lambda: None)


def test_unregistering_works_after_the_end(event: int) -> None:
    interrupts = Interrupts()
    interrupts.register(event, lambda: None)
    interrupts.close()
    assert interrupts.unregister(event)


@pytest.mark.parametrize("refused", ["epoll", "eventfd", "thread"])
def test_a_process_at_its_limits_is_told_so_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def refuse(*_: object) -> None:
        if refused == "thread":
            raise RuntimeError("can't start new thread")
        raise OSError(24, "Too many open files")

    before = os.listdir("/proc/self/fd")
    places = {"epoll": (select, "epoll"), "eventfd": (os, "eventfd"), "thread": (threading.Thread, "start")}
    with monkeypatch.context() as patched:
        patched.setattr(*places[refused], refuse)
        with pytest.raises(HostError, match=r"cannot start the interrupt thread: .*ulimit"):
            Interrupts()
    assert os.listdir("/proc/self/fd") == before


def test_closing_from_a_callback_ends_the_thread(event: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    interrupts = Interrupts()
    interrupts.alarm(0, interrupts.close)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
