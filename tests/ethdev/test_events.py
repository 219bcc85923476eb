# SPDX-License-Identifier: BSD-3-Clause
"""Events, and faults as events: who is told what, and how a fault heals."""

from __future__ import annotations

import threading

import pytest

from pollmode.eal.errors import DeviceFault, HostError
from pollmode.ethdev import Event, Link, Port, Ports, State
from pollmode.ethdev.testing import ModelDevice

Told = list[tuple[str, int, Event, object]]


def test_listeners_of_the_port_and_of_all_ports_are_told(port: Port, ports: Ports) -> None:
    told: Told = []
    port.on(Event.INTR_LSC, lambda port, event, detail: told.append(("port", port.id, event, detail)))
    ports.on(None, lambda port, event, detail: told.append(("table", port.id, event, detail)))
    port.notify(Event.INTR_LSC, Link(up=False))
    port.notify(Event.INTR_RMV)
    assert told == [
        ("port", 0, Event.INTR_LSC, Link(up=False)),
        ("table", 0, Event.INTR_LSC, Link(up=False)),
        ("table", 0, Event.INTR_RMV, None),
    ]


def test_a_listener_that_ended_is_not_told(port: Port, ports: Ports) -> None:
    told: list[str] = []
    mine = port.on(Event.INTR_LSC, lambda port, event, detail: told.append("mine"))
    everybodys = ports.on(Event.INTR_LSC, lambda port, event, detail: told.append("everybody's"))
    port.notify(Event.INTR_LSC)
    port.off(mine)
    ports.off(everybodys)
    port.notify(Event.INTR_LSC)
    assert told == ["mine", "everybody's"]


def test_a_listener_that_raises_is_logged_and_the_next_is_told(port: Port, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Event] = []

    def fail(port: Port, event: Event, detail: object) -> None:
        raise ValueError("a bug of the application")

    port.on(Event.INTR_LSC, fail)
    port.on(Event.INTR_LSC, lambda port, event, detail: told.append(event))
    port.notify(Event.INTR_LSC)
    assert told == [Event.INTR_LSC]
    assert "port 0: a callback on INTR_LSC failed: ValueError: a bug of the application" in capfd.readouterr().err


def test_a_fault_is_logged_once_and_told_once(
    started: Port, device: ModelDevice, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[object] = []
    started.on(Event.INTR_RESET, lambda port, event, detail: told.append(detail))
    fault = DeviceFault("Rx queue 1: used id 300 is not below 256", queue=1, index=7, word=300)
    device.broken = [fault]
    assert started.poll() == [fault]
    assert started.poll() == []
    assert started.faults == (fault,)
    assert told == [fault]
    err = capfd.readouterr().err
    assert err.count("port 0 (model0): Rx queue 1: used id 300 is not below 256; reset the port to heal it") == 1


def test_a_second_broken_queue_is_told_too(started: Port, device: ModelDevice) -> None:
    device.broken = [DeviceFault("one", queue=0)]
    started.poll()
    device.broken = [DeviceFault("one", queue=0), DeviceFault("one", queue=1)]
    assert [fault.queue for fault in started.poll()] == [1]


def test_a_fault_that_went_with_its_peer_is_told_again_when_the_next_peer_does_the_same(
    started: Port, device: ModelDevice
) -> None:
    told: list[object] = []
    started.on(Event.INTR_RESET, lambda port, event, detail: told.append(detail))
    device.broken = [DeviceFault("one", queue=0), DeviceFault("two", queue=1)]
    started.poll()
    device.broken = [DeviceFault("two", queue=1)]
    assert started.poll() == []
    assert [fault.queue for fault in started.faults] == [1]
    device.broken = [DeviceFault("one", queue=0), DeviceFault("two", queue=1)]
    assert [fault.queue for fault in started.poll()] == [0]
    assert len(told) == 3


def test_reset_heals_and_tells(started: Port, device: ModelDevice) -> None:
    told: list[Event] = []
    started.on(Event.RECOVERY_SUCCESS, lambda port, event, detail: told.append(event))
    device.broken = [DeviceFault("broken", queue=0)]
    started.poll()
    started.reset()
    assert started.faults == ()
    assert started.state is State.STARTED
    assert started.queue_running("rx", 0)
    assert started.poll() == []
    assert told == [Event.RECOVERY_SUCCESS]
    device.broken = [DeviceFault("broken", queue=0)]
    assert len(started.poll()) == 1, "the same fault again after a reset is a new one"


def test_reset_that_fails_stops_the_port_and_tells(started: Port, device: ModelDevice) -> None:
    told: list[object] = []
    started.on(Event.RECOVERY_FAILED, lambda port, event, detail: told.append(detail))
    error = device.failing["reset"] = HostError("the peer is gone")
    with pytest.raises(HostError, match="the peer is gone"):
        started.reset()
    assert started.state is State.STOPPED
    assert not started.queue_running("rx", 0)
    assert told == [error]
    device.failing.clear()
    started.start()
    assert started.queue_running("rx", 0)


def test_a_port_that_is_not_started_has_no_faults(started: Port, device: ModelDevice) -> None:
    device.broken = [DeviceFault("broken", queue=0)]
    started.poll()
    started.stop()
    assert started.poll() == []
    started.reset()
    assert started.faults == ()
    assert ("reset",) not in device.calls


def test_a_fault_found_while_the_device_heals_is_not_kept(started: Port, device: ModelDevice) -> None:
    device.broken = [DeviceFault("broken", queue=0)]
    found: list[list[DeviceFault]] = []
    heal = device.reset

    def reset() -> None:
        found.append(started.poll())
        heal()

    device.reset = reset  # type: ignore[method-assign]
    started.reset()
    assert found == [[]]
    assert started.faults == ()


def test_an_answer_from_before_a_healing_is_dropped(started: Port, device: ModelDevice) -> None:
    def faults() -> list[DeviceFault]:
        started.reset()
        return [DeviceFault("broken", queue=0)]

    device.faults = faults  # type: ignore[method-assign]
    assert started.poll() == []
    assert started.faults == ()


def test_watching_finds_faults_without_being_asked(started: Port, device: ModelDevice, ports: Ports) -> None:
    found = threading.Event()
    started.on(Event.INTR_RESET, lambda port, event, detail: found.set())
    ports.watch(0.01)
    ports.watch(0.01)
    device.broken = [DeviceFault("broken", queue=0)]
    assert found.wait(30)
    ports.close()
    assert len(ports) == 0
