# SPDX-License-Identifier: BSD-3-Clause
"""The order of calls on a port: what each state allows, and what a caller is told otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pollmode.eal.errors import ConfigError, HostError
from pollmode.ethdev import Event, Port, Ports, QueueConfig, State
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import Burst, Mempool

STATES = ["attached", "configured", "started", "stopped", "closed", "removed"]


def bring_to(port: Port, state: str, pool: Mempool, ports: Ports) -> None:
    steps = STATES[1 : STATES.index(state) + 1]
    if "configured" in steps:
        port.configure(1, 1)
    if "started" in steps:
        port.setup_rx_queue(0, 0, pool)
        port.setup_tx_queue(0, 0)
        port.start()
    if "stopped" in steps:
        port.stop()
    if "closed" in steps:
        port.close()
    if "removed" in steps:
        ports.remove(port)
    assert port.state.value == state


OPERATIONS: dict[str, tuple[Callable[[Port, Mempool], object], set[str], str]] = {
    "configure": (lambda port, pool: port.configure(1, 1), {"attached", "configured", "stopped"}, "configure"),
    "setup_rx": (lambda port, pool: port.setup_rx_queue(0, 0, pool), {"configured", "stopped"}, "set up a Rx queue"),
    "setup_tx": (lambda port, pool: port.setup_tx_queue(0, 0), {"configured", "stopped"}, "set up a Tx queue"),
    "start": (lambda port, pool: port.start(), {"stopped"}, "start"),
    "stop": (lambda port, pool: port.stop(), {"started"}, "stop"),
    "close": (lambda port, pool: port.close(), {"attached", "configured", "stopped"}, "close"),
    "reset": (lambda port, pool: port.reset(), {"attached", "configured", "started", "stopped"}, "reset"),
    "start_queue": (lambda port, pool: port.start_rx_queue(0), {"started"}, "start a queue"),
    "stop_queue": (lambda port, pool: port.stop_tx_queue(0), {"started"}, "stop a queue"),
    "stats": (lambda port, pool: port.stats(), {"attached", "configured", "started", "stopped"}, "read statistics"),
    "xstats": (lambda port, pool: port.xstats(), {"attached", "configured", "started", "stopped"}, "read statistics"),
    "link": (lambda port, pool: port.link(), {"attached", "configured", "started", "stopped"}, "read the link"),
    "mtu": (lambda port, pool: port.set_mtu(1500), {"attached", "configured", "started", "stopped"}, "set the MTU"),
    "rx": (lambda port, pool: port.rx(0, Burst(4)), {"started"}, "receive"),
    "tx": (lambda port, pool: port.tx(0, Burst(4)), {"started"}, "send"),
}
REFUSED = [(name, state) for name, (_, allowed, _) in OPERATIONS.items() for state in STATES if state not in allowed]
REFUSED.remove(("start", "configured"))  # refused for its queues, which has a test of its own


@pytest.mark.parametrize(("name", "state"), REFUSED)
def test_a_call_in_the_wrong_state_is_named_and_changes_nothing(
    name: str, state: str, port: Port, pool: Mempool, ports: Ports, device: ModelDevice
) -> None:
    bring_to(port, state, pool, ports)
    call, _, action = OPERATIONS[name]
    before = list(device.calls)
    with pytest.raises(ConfigError, match=rf"port 0 \(model0\) is {state}: cannot {action}; \w") as raised:
        call(port, pool)
    assert port.state.value == state
    assert device.calls == before
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("operation", "state"), [("start", "started"), ("stop", "stopped"), ("close", "closed")])
def test_doing_it_twice_says_that_it_is_done(
    operation: str, state: str, port: Port, pool: Mempool, ports: Ports
) -> None:
    bring_to(port, state, pool, ports)
    with pytest.raises(ConfigError, match="it already is"):
        getattr(port, operation)()


def test_a_whole_life_calls_the_device_in_order(port: Port, pool: Mempool, ports: Ports, device: ModelDevice) -> None:
    bring_to(port, "removed", pool, ports)
    names = [call[0] for call in device.calls]
    assert names == [
        "configure",
        "setup_rx_queue",
        "setup_tx_queue",
        "start",
        "stop",
        "release_rx_queue",
        "release_tx_queue",
        "close",
    ]


@pytest.mark.parametrize(("direction", "kind"), [("rx", "Rx"), ("tx", "Tx")])
def test_start_names_the_queue_that_is_not_set_up(direction: str, kind: str, port: Port, pool: Mempool) -> None:
    port.configure(2, 2)
    port.setup_rx_queue(0, 0, pool)
    port.setup_tx_queue(0, 0)
    if direction == "tx":
        port.setup_rx_queue(1, 0, pool)
    with pytest.raises(ConfigError, match=rf"{kind} queue 1 of 2 is not set up; call setup_{direction}_queue\(1"):
        port.start()
    assert port.state is State.CONFIGURED


def test_start_that_fails_leaves_the_port_where_it_was(
    port: Port, pool: Mempool, ports: Ports, device: ModelDevice
) -> None:
    bring_to(port, "stopped", pool, ports)
    device.failing["start"] = HostError("no luck")
    with pytest.raises(HostError, match="no luck"):
        port.start()
    assert port.state is State.STOPPED
    assert not port.queue_running("rx", 0)
    device.failing.clear()
    port.start()
    assert port.state is State.STARTED


def test_start_stops_the_device_again_when_a_function_cannot_be_made(
    port: Port, pool: Mempool, ports: Ports, device: ModelDevice
) -> None:
    bring_to(port, "stopped", pool, ports)

    def tx_entry(queue: int) -> None:
        raise HostError("no compiler")

    device.tx_entry = tx_entry  # type: ignore[assignment]
    with pytest.raises(HostError, match="no compiler"):
        port.start()
    assert port.state is State.STOPPED
    assert device.calls[-2:] == [("start",), ("stop",)]
    assert not port.queue_running("rx", 0)


def test_configure_that_fails_leaves_the_port_attached(port: Port, pool: Mempool, device: ModelDevice) -> None:
    port.configure(2, 1)
    device.failing["configure"] = HostError("no luck")
    with pytest.raises(HostError, match="no luck"):
        port.configure(1, 1)
    assert port.state is State.ATTACHED
    assert (port.rx_queues, port.tx_queues) == (0, 0)


def test_configuring_again_releases_every_queue(started: Port, device: ModelDevice) -> None:
    started.stop()
    device.calls.clear()
    started.configure(1, 1)
    released = {call for call in device.calls if str(call[0]).startswith("release")}
    assert released == {(f"release_{direction}_queue", queue) for direction in ("rx", "tx") for queue in (0, 1)}
    with pytest.raises(ConfigError, match="Rx queue 0 of 1 is not set up"):
        started.start()


def test_setting_a_queue_up_again_releases_it_first(port: Port, pool: Mempool, device: ModelDevice) -> None:
    port.configure(1, 0)
    port.setup_rx_queue(0, 64, pool)
    device.calls.clear()
    port.setup_rx_queue(0, 128, pool)
    assert device.calls == [("release_rx_queue", 0), ("setup_rx_queue", 0, 128)]


def test_a_queue_whose_setup_failed_is_not_set_up(port: Port, pool: Mempool, device: ModelDevice) -> None:
    port.configure(1, 0)
    device.failing["setup_rx_queue"] = HostError("memory is short")
    with pytest.raises(HostError, match="memory is short"):
        port.setup_rx_queue(0, 0, pool)
    with pytest.raises(ConfigError, match="Rx queue 0 of 1 is not set up"):
        port.start()
    port.close()
    assert ("release_rx_queue", 0) not in device.calls


def test_close_that_fails_still_closes(port: Port, pool: Mempool, ports: Ports, device: ModelDevice) -> None:
    bring_to(port, "stopped", pool, ports)
    device.failing["release_rx_queue"] = HostError("no luck")
    with pytest.raises(HostError, match="no luck"):
        port.close()
    assert port.state is State.CLOSED
    assert device.calls[-1] == ("close",)


def test_deferred_queues_wait_for_their_own_start(port: Port, pool: Mempool) -> None:
    port.configure(2, 1)
    port.setup_rx_queue(0, 0, pool)
    port.setup_rx_queue(1, 0, pool, QueueConfig(deferred_start=True))
    port.setup_tx_queue(0, 0, QueueConfig(deferred_start=True))
    port.start()
    running = [port.queue_running("rx", 0), port.queue_running("rx", 1), port.queue_running("tx", 0)]
    assert running == [True, False, False]
    port.start_rx_queue(1)
    port.start_tx_queue(0)
    assert port.queue_running("rx", 1)
    assert port.queue_running("tx", 0)
    port.stop()
    assert not port.queue_running("rx", 1)


def test_removing_a_started_port_is_refused(started: Port, ports: Ports) -> None:
    with pytest.raises(ConfigError, match="is started: cannot close; stop it first"):
        ports.remove(started)
    assert ports[0] is started
    assert started.state is State.STARTED


def test_the_table_gives_the_lowest_free_number_and_tells(ports: Ports) -> None:
    told: list[tuple[int, Event]] = []
    ports.on(None, lambda port, event, detail: told.append((port.id, event)))
    first, second, third = (ports.add(ModelDevice(f"model{number}")) for number in range(3))
    ports.remove(second)
    fourth = ports.add(ModelDevice("model9"))
    assert [first.id, second.id, third.id, fourth.id] == [0, 1, 2, 1]
    assert told == [(0, Event.NEW), (1, Event.NEW), (2, Event.NEW), (1, Event.DESTROY), (1, Event.NEW)]
    assert [port.name for port in ports.available()] == ["model0", "model9", "model2"]
    with pytest.raises(ConfigError, match=r"port 1 \(model1\) is not attached"):
        ports.remove(second)


def test_the_table_names_the_ports_there_are(ports: Ports) -> None:
    with pytest.raises(ConfigError, match="there is no port 3; ports: none"):
        ports[3]
    port = ports.add(ModelDevice())
    with pytest.raises(ConfigError, match="there is no port 3; ports: 0"):
        ports[3]
    with pytest.raises(ConfigError, match="no port named 'model7'; names: model0"):
        ports.by_name("model7")
    assert ports.by_name("model0") is port
    assert port in ports
    assert 0 in ports
    assert 3 not in ports


def test_a_name_is_taken_once_and_the_table_has_an_end(ports: Ports) -> None:
    ports.add(ModelDevice("model0"))
    with pytest.raises(ConfigError, match="model0: a port of that name is attached already"):
        ports.add(ModelDevice("model0"))
    for number in range(1, 32):
        ports.add(ModelDevice(f"model{number}"))
    with pytest.raises(ConfigError, match="all 32 ports are taken; detach one first"):
        ports.add(ModelDevice("model32"))


def test_closing_the_table_closes_every_port_and_tells_the_first_error(started: Port, ports: Ports) -> None:
    other = ModelDevice("model1")
    other.failing["close"] = HostError("no luck")
    ports.add(other)
    with pytest.raises(HostError, match="no luck"):
        ports.close()
    assert len(ports) == 0
    assert started.state is State.REMOVED


def test_a_closed_port_is_not_available(port: Port, ports: Ports) -> None:
    port.close()
    assert ports.available() == []
    ports.remove(port)
    assert len(ports) == 0
