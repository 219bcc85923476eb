# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks around a queue's function: their order, what they may take out, and taking them away again."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import Callback, burst_callback, load64, store64
from pollmode.ethdev import BurstEntry, Port, Ports
from pollmode.ethdev.dispatch import receive_once, send_once
from pollmode.ethdev.testing import ModelDevice


@functools.cache
def filling(count: int) -> Callback:
    """A receive function that puts 1 to `count` into the burst."""

    def fill(lcore: int, queue: int, burst: int, n: int) -> int:
        for i in range(min(count, n)):
            store64(burst + 8 * i, i + 1)
        return min(count, n)

    return burst_callback(fill, f"fill_{count}")


@functools.cache
def taking(count: int) -> Callback:
    """A transmit function that takes up to `count` and copies them to its queue, after their number."""

    def take(lcore: int, queue: int, burst: int, n: int) -> int:
        taken = min(count, n)
        store64(queue, taken)
        for i in range(taken):
            store64(queue + 8 + 8 * i, load64(burst + 8 * i))
        return taken

    return burst_callback(take, f"take_{count}")


@functools.cache
def marking() -> Callback:
    """A callback that appends a digit, its user value, to every packet's number."""

    def mark(lcore: int, user: int, burst: int, n: int) -> int:
        for i in range(n):
            store64(burst + 8 * i, load64(burst + 8 * i) * 10 + user)
        return n

    return burst_callback(mark, "mark")


@functools.cache
def dropping() -> Callback:
    """A callback that takes out every packet whose number is a multiple of its user value."""

    def drop(lcore: int, user: int, burst: int, n: int) -> int:
        kept = 0
        for i in range(n):
            packet = load64(burst + 8 * i)
            if packet % user:
                store64(burst + 8 * kept, packet)
                kept += 1
        return kept

    return burst_callback(drop, "drop")


class Traffic:
    """Bursts through queue 0 of port 0, by whoever is no lcore."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._lcore = ports.environment.lcores.control.address
        self.sent_to = np.zeros(33, np.int64)

    def receive(self, n: int = 8) -> list[int]:
        burst = np.zeros(n, np.int64)
        return burst[: receive_once(self._lcore, self._ports.dispatch, 0, 0, burst.ctypes.data, n)].tolist()

    def send(self, packets: list[int]) -> tuple[list[int], list[int]]:
        """Return what the device was given, and what the caller still has."""
        self.sent_to[:] = 0
        burst = np.array(packets, np.int64)
        sent = send_once(self._lcore, self._ports.dispatch, 0, 0, burst.ctypes.data, len(packets))
        return self.sent_to[1 : 1 + self.sent_to[0]].tolist(), burst[sent:].tolist()


@pytest.fixture
def traffic(ports: Ports, device: ModelDevice, started: Port) -> Traffic:
    made = Traffic(ports)
    device.entries["rx", 0] = BurstEntry(filling(3), 0)
    device.entries["tx", 0] = BurstEntry(taking(4), made.sent_to.ctypes.data)
    started.refresh()
    return made


def test_receive_callbacks_run_in_the_order_added(started: Port, traffic: Traffic) -> None:
    assert traffic.receive() == [1, 2, 3]
    started.add_rx_callback(0, marking(), 7)
    started.add_rx_callback(0, marking(), 8)
    assert traffic.receive() == [178, 278, 378]


def test_transmit_callbacks_run_in_the_order_added(started: Port, traffic: Traffic) -> None:
    started.add_tx_callback(0, marking(), 7)
    started.add_tx_callback(0, marking(), 8)
    assert traffic.send([1, 2]) == ([178, 278], [])


def test_a_callback_is_on_its_own_queue_only(started: Port, device: ModelDevice, traffic: Traffic) -> None:
    device.entries["rx", 1] = BurstEntry(filling(3), 0)
    started.add_rx_callback(1, marking(), 7)
    assert traffic.receive() == [1, 2, 3]


def test_a_receive_callback_may_take_packets_out(started: Port, traffic: Traffic) -> None:
    started.add_rx_callback(0, dropping(), 2)
    assert traffic.receive() == [1, 3]


def test_a_receive_callback_sees_a_burst_of_none(started: Port, device: ModelDevice, traffic: Traffic) -> None:
    def append(lcore: int, user: int, burst: int, n: int) -> int:
        store64(burst + 8 * n, user)
        return n + 1

    device.entries["rx", 0] = BurstEntry(filling(0), 0)
    started.add_rx_callback(0, burst_callback(append, "append"), 42)
    assert traffic.receive() == [42]


@pytest.mark.parametrize(
    ("packets", "given", "left"),
    [
        ([1, 3], [1, 3], []),
        ([1, 2, 3, 4], [1, 3], []),
        ([2, 4], [], []),
        ([1, 3, 5, 7, 9], [1, 3, 5, 7], [9]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 5, 7], [9]),
        ([2, 1, 3, 5, 7, 9, 11], [1, 3, 5, 7], [9, 11]),
        ([2, 4, 6, 1, 3, 5, 7, 9, 11, 13], [1, 3, 5, 7], [9, 11, 13]),
        ([], [], []),
    ],
)
def test_what_a_transmit_callback_drops_is_gone_and_the_caller_keeps_the_rest(
    packets: list[int], given: list[int], left: list[int], started: Port, traffic: Traffic
) -> None:
    started.add_tx_callback(0, dropping(), 2)
    assert traffic.send(packets) == (given, left)


def test_a_removed_callback_runs_no_more_and_the_others_stay(started: Port, traffic: Traffic) -> None:
    first = started.add_rx_callback(0, marking(), 7)
    second = started.add_rx_callback(0, marking(), 8)
    third = started.add_rx_callback(0, marking(), 9)
    started.remove_callback(second)
    assert traffic.receive() == [179, 279, 379]
    started.remove_callback(first)
    started.remove_callback(third)
    assert traffic.receive() == [1, 2, 3]
    with pytest.raises(ConfigError, match="callback mark is not on rx queue 0"):
        started.remove_callback(second)


def test_callbacks_stay_over_stop_and_start(started: Port, traffic: Traffic) -> None:
    started.add_rx_callback(0, marking(), 7)
    started.stop()
    assert traffic.receive() == []
    started.add_rx_callback(0, marking(), 8)
    started.start()
    assert traffic.receive() == [178, 278, 378]


def test_a_callback_on_no_queue_is_refused(started: Port, port: Port) -> None:
    with pytest.raises(ConfigError, match="there is no Rx queue 2; it has 0 to 1"):
        started.add_rx_callback(2, marking())
    with pytest.raises(ConfigError, match="there is no Tx queue -1; it has 0 to 1"):
        started.add_tx_callback(-1, marking())


def test_a_callback_needs_queues(port: Port) -> None:
    with pytest.raises(ConfigError, match="is attached: cannot add a callback; configure it first"):
        port.add_rx_callback(0, marking())
