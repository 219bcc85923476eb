# SPDX-License-Identifier: BSD-3-Clause
"""The dispatch table: what a slot gives, and that nobody is inside what the control plane takes apart."""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import InternalError
from pollmode.eal.jit import (
    INTERPRETED,
    Callback,
    burst_callback,
    compiled,
    load64,
    load_relaxed64,
    pause,
    store64,
    store_relaxed64,
)
from pollmode.eal.lcore_layout import LCORE, LCORE_ID_ANY, LCORE_STOP
from pollmode.ethdev import BurstEntry, Port, Ports, rx_burst, tx_burst
from pollmode.ethdev import dispatch as dispatch_module
from pollmode.ethdev.dispatch import Dispatch, receive_once, send_once
from pollmode.ethdev.entries import Entry, nothing
from pollmode.ethdev.layout import MARK_SIZE, MAX_PORTS, MAX_QUEUES, RX_SLOTS, TABLE_SIZE
from pollmode.ethdev.testing import ModelDevice, constant
from pollmode.mbuf import Mempool

PATIENCE = 30.0


def record(number: int) -> np.ndarray:
    lcore = np.zeros(1, LCORE)
    lcore["id"] = number
    return lcore


def mark(dispatch: Dispatch, number: int) -> int:
    return int(np.int64(dispatch._marks[number]))


@pytest.fixture
def table() -> Dispatch:
    return Dispatch(nothing().address)


def test_every_slot_begins_with_nothing(table: Dispatch) -> None:
    lcore = record(3)
    for port in (0, MAX_PORTS - 1):
        for queue in (0, MAX_QUEUES - 1):
            assert receive_once(lcore.ctypes.data, table.address, port, queue, 0, 32) == 0
            assert send_once(lcore.ctypes.data, table.address, port, queue, 0, 32) == 0


def test_slots_are_distinct_aligned_and_within_the_table(table: Dispatch) -> None:
    corners = [
        table.slot(direction, port, queue)
        for direction in ("rx", "tx")
        for port in (0, 1, MAX_PORTS - 1)
        for queue in (0, 1, MAX_QUEUES - 1)
    ]
    assert len(set(corners)) == len(corners)
    assert table.address % MARK_SIZE == 0
    assert min(corners) == table.address + RX_SLOTS
    assert max(corners) == table.address + TABLE_SIZE - 8
    assert LCORE_ID_ANY * MARK_SIZE < RX_SLOTS


def test_a_published_entry_is_called_with_its_queue(table: Dispatch) -> None:
    def tell(lcore: int, queue: int, burst: int, n: int) -> int:
        store64(queue, lcore)
        store64(queue + 8, burst)
        return n + 1

    words = np.zeros(2, np.int64)
    entry = Entry(BurstEntry(burst_callback(tell, "tell"), words.ctypes.data))
    table.publish(table.slot("rx", 2, 5), entry.address)
    lcore = record(3)
    assert receive_once(lcore.ctypes.data, table.address, 2, 5, 4096, 32) == 33
    assert words.tolist() == [lcore.ctypes.data, 4096]
    assert receive_once(lcore.ctypes.data, table.address, 2, 4, 4096, 32) == 0
    assert send_once(lcore.ctypes.data, table.address, 2, 5, 4096, 32) == 0


def test_the_mark_is_odd_within_and_moves_on_after(table: Dispatch) -> None:
    def peek(lcore: int, queue: int, burst: int, n: int) -> int:
        return load64(queue)

    entry = Entry(BurstEntry(burst_callback(peek, "peek"), table.address + 3 * MARK_SIZE))
    table.publish(table.slot("rx", 0, 0), entry.address)
    lcore = record(3)
    for turn in range(3):
        assert mark(table, 3) == 2 * turn
        assert receive_once(lcore.ctypes.data, table.address, 0, 0, 0, 32) == 2 * turn + 1
    assert mark(table, 3) == 6
    assert mark(table, 2) == 0


@functools.cache
def nested() -> Callback:
    """A function that sends within a receive on the table whose address its queue record holds; returns the mark."""

    def receive_and_send(lcore: int, queue: int, burst: int, n: int) -> int:
        tx_burst(lcore, load64(queue), 0, 0, burst, n)
        return load64(load64(queue + 8))

    return burst_callback(receive_and_send, "receive_and_send")


def test_a_port_within_a_port_does_not_look_outside(table: Dispatch) -> None:
    queue = np.array([table.address, table.address + 3 * MARK_SIZE], np.int64)
    inner, outer = Entry(BurstEntry(constant(7), 0)), Entry(BurstEntry(nested(), queue.ctypes.data))
    table.publish(table.slot("tx", 0, 0), inner.address)
    table.publish(table.slot("rx", 0, 0), outer.address)
    lcore = record(3)
    assert receive_once(lcore.ctypes.data, table.address, 0, 0, 0, 32) == 1
    assert mark(table, 3) == 2


def test_who_is_no_lcore_counts_itself_in_and_out(table: Dispatch) -> None:
    queue = np.array([table.address, table.address + LCORE_ID_ANY * MARK_SIZE], np.int64)
    outer = Entry(BurstEntry(nested(), queue.ctypes.data))
    table.publish(table.slot("rx", 0, 0), outer.address)
    lcore = record(LCORE_ID_ANY)
    assert receive_once(lcore.ctypes.data, table.address, 0, 0, 0, 32) == 1
    assert mark(table, LCORE_ID_ANY) == 0


@functools.cache
def stalling() -> Callback:
    """A function that writes 1 into its queue's first word and returns once the second one is not 0."""

    def stall(lcore: int, queue: int, burst: int, n: int) -> int:
        store_relaxed64(queue, 1)
        while load_relaxed64(queue + 8) == 0:
            pause()
        return 5

    return burst_callback(stall, "stall")


class Inside:
    """A thread that is inside a stalling function until `release`, at the latest until the `with` ends."""

    def __init__(self, words: np.ndarray, lcore: int, dispatch: int) -> None:
        self.words = words
        self._record = record(lcore)
        address = self._record.ctypes.data
        self._thread = threading.Thread(target=receive_once, args=(address, dispatch, 0, 0, 0, 32), daemon=True)
        self._thread.start()
        wait_until(lambda: int(words[0]) == 1)

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        self.words[1] = 1
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.001)


@pytest.mark.parametrize("lcore", [3, LCORE_ID_ANY])
def test_a_device_is_stopped_only_when_the_lcore_is_out(lcore: int, port: Port, ports: Ports, pool: Mempool) -> None:
    words = np.zeros(2, np.int64)
    device = port.device
    assert isinstance(device, ModelDevice)
    device.entries["rx", 0] = BurstEntry(stalling(), words.ctypes.data)
    port.configure(1, 0)
    port.setup_rx_queue(0, 0, pool)
    port.start()
    slot = ctypes.c_int64.from_address(ports._dispatch.slot("rx", 0, 0))
    stopper = threading.Thread(target=port.stop)
    with Inside(words, lcore, ports.dispatch):
        stopper.start()
        wait_until(lambda: slot.value == nothing().address)
        assert ("stop",) not in device.calls, "the slot does nothing any more, but an lcore is still inside"
    stopper.join(PATIENCE)
    assert device.calls[-1] == ("stop",)


def test_an_lcore_that_never_comes_out_is_an_error(table: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_module, "_PATIENCE", 0.05)
    words = np.zeros(2, np.int64)
    entry = Entry(BurstEntry(stalling(), words.ctypes.data))
    table.publish(table.slot("rx", 0, 0), entry.address)
    with (
        Inside(words, 3, table.address),
        pytest.raises(InternalError, match="lcore 3 has been inside a burst callback for"),
    ):
        table.quiesce()
    table.quiesce()


def test_an_lcore_that_was_given_up_is_not_waited_for_again(table: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else closing a port with 128 queue pairs would wait 256 times."""
    seconds = iter(range(1000))
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)), sleep=waits.append)
    monkeypatch.setattr(dispatch_module, "time", clock)
    words = np.zeros(2, np.int64)
    entry = Entry(BurstEntry(stalling(), words.ctypes.data))
    table.publish(table.slot("rx", 0, 0), entry.address)
    with Inside(words, 3, table.address):
        for _ in range(3):
            with pytest.raises(InternalError, match="lcore 3 has been inside a burst callback for"):
                table.quiesce()
        assert 0 < len(waits) < 2 * dispatch_module._PATIENCE
    table.quiesce()
    words[:] = 0
    waits.clear()
    with Inside(words, 3, table.address), pytest.raises(InternalError):
        table.quiesce()
    assert waits, "it came out and went in again: it is waited for"


def test_waiting_works_without_membarrier(table: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_module, "_MEMBARRIER", {})
    table.quiesce()


SOUND, POISON = 1, -1


@functools.cache
def checking() -> Callback:
    """A function that counts calls in its queue's second word and calls with a taken-apart queue in the third."""

    def check(lcore: int, queue: int, burst: int, n: int) -> int:
        store64(queue + 8, load64(queue + 8) + 1)
        if load_relaxed64(queue) != 1:
            store64(queue + 16, load64(queue + 16) + 1)
        return 1

    return burst_callback(check, "check")


@compiled
def poll_forever(lcore: int, dispatch: int) -> int:
    polls = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        rx_burst(lcore, dispatch, 0, 0, 0, 32)
        polls += 1
    return polls


def test_swapping_under_a_polling_lcore_never_calls_with_a_queue_taken_apart(
    port: Port, pool: Mempool, ports: Ports, environment: Environment
) -> None:
    rounds = 20 if INTERPRETED else 500
    queues = np.zeros((rounds + 1, 8), np.int64)
    queues[0, 0] = SOUND
    device = port.device
    assert isinstance(device, ModelDevice)
    device.entries["rx", 0] = BurstEntry(checking(), queues[0].ctypes.data)
    port.configure(1, 0)
    port.setup_rx_queue(0, 0, pool)
    port.start()
    lcore = environment.lcores.main.id
    environment.lcores.launch(lcore, poll_forever, ports.dispatch)
    wait_until(lambda: queues[0, 1] > 0)
    for turn in range(1, rounds + 1):
        queues[turn, 0] = SOUND
        device.entries["rx", 0] = BurstEntry(checking(), queues[turn].ctypes.data)
        port.refresh()
        queues[turn - 1, 0] = POISON
    wait_until(lambda: queues[rounds, 1] > 0)
    environment.lcores.stop(lcore)
    assert environment.lcores.wait(lcore, PATIENCE) > 0
    assert queues[:, 2].sum() == 0


def test_refresh_follows_the_driver(started: Port, ports: Ports, device: ModelDevice) -> None:
    lcore = record(3).ctypes.data

    def received() -> int:
        return receive_once(lcore, ports.dispatch, 0, 1, 0, 32)

    assert received() == 1
    device.entries["rx", 1] = BurstEntry(constant(9), 0)
    assert received() == 1
    started.refresh()
    assert received() == 9
    device.entries["rx", 1] = None
    started.refresh()
    assert received() == 0
    del device.entries["rx", 1]
    started.refresh()
    assert received() == 1


def test_refresh_leaves_stopped_queues_and_ports_alone(started: Port, ports: Ports) -> None:
    lcore = record(3).ctypes.data
    started.stop_rx_queue(0)
    started.refresh()
    assert receive_once(lcore, ports.dispatch, 0, 0, 0, 32) == 0
    assert receive_once(lcore, ports.dispatch, 0, 1, 0, 32) == 1
    started.start_rx_queue(0)
    assert receive_once(lcore, ports.dispatch, 0, 0, 0, 32) == 1
    started.stop()
    started.refresh()
    assert [receive_once(lcore, ports.dispatch, 0, queue, 0, 32) for queue in (0, 1)] == [0, 0]
    assert [send_once(lcore, ports.dispatch, 0, queue, 0, 32) for queue in (0, 1)] == [0, 0]


def test_slots_are_silent_while_the_device_resets(started: Port, ports: Ports, device: ModelDevice) -> None:
    lcore = record(3)
    seen: list[int] = []

    def reset() -> None:
        seen.append(receive_once(lcore.ctypes.data, ports.dispatch, 0, 0, 0, 32))
        started.refresh()
        seen.append(receive_once(lcore.ctypes.data, ports.dispatch, 0, 0, 0, 32))

    device.reset = reset  # type: ignore[method-assign]
    started.reset()
    assert seen == [0, 0]
    assert receive_once(lcore.ctypes.data, ports.dispatch, 0, 0, 0, 32) == 1


def test_a_port_that_left_leaves_its_slots_empty(started: Port, ports: Ports) -> None:
    lcore = record(3)
    started.stop()
    ports.remove(started)
    assert receive_once(lcore.ctypes.data, ports.dispatch, 0, 0, 0, 32) == 0
