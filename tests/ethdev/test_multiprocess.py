# SPDX-License-Identifier: BSD-3-Clause
"""Ports for other processes: what they are told, and queues that are lent. Two real processes: tests/testpmd."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import DescriptorLimits, DeviceInfo, Link, Port, PortConfig, Ports, QueueConfig, Stats
from pollmode.ethdev.multiprocess import plain
from pollmode.ethdev.multiprocess.lending import Lending
from pollmode.ethdev.multiprocess.secondary import PrimaryDevice, SecondaryPort
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import Burst, Mempool

SOMEBODY = "secondary process 77"


class Members:
    """The secondaries of a process, without the processes."""

    def __init__(self) -> None:
        self.services: dict[str, Callable[[Any, dict[str, Any]], Any]] = {}
        self.gone: list[Callable[[Any], object]] = []

    def serve(self, name: str, service: Callable[[Any, dict[str, Any]], Any]) -> None:
        self.services[name] = service

    def on_gone(self, callback: Callable[[Any], object]) -> None:
        self.gone.append(callback)

    def ask(self, name: str, **asked: Any) -> Any:
        """Ask as a process does: everything passes as JSON."""
        answer = self.services[name](self.member, json.loads(json.dumps(asked)))
        return json.loads(json.dumps(answer))

    class Member:
        lcores, control, ids = (9,), 127, (9, 127)

        def __str__(self) -> str:
            return SOMEBODY

    member = Member()


@pytest.fixture
def members(ports: Ports) -> Members:
    made = Members()
    Lending(ports, made)  # type: ignore[arg-type]
    return made


def ready(ports: Ports, pool: Mempool, vdev: str) -> Port:
    port: Port = VdevBus(ports.environment, ports).attach(vdev)
    port.configure(2, 2)
    for queue in range(2):
        port.setup_rx_queue(queue, 0, pool)
        port.setup_tx_queue(queue, 0)
    port.start()
    return port


def test_what_is_told_comes_back_as_it_was() -> None:
    info = DeviceInfo(
        max_rx_queues=7, rx_desc_lim=DescriptorLimits(64, 8, 8), speed_capa=(10, 100), private_info={"a": "b"}
    )
    through = json.loads(json.dumps(plain.info_of(info)))
    assert plain.info_from(through) == info
    stats = Stats(ipackets=1 << 62, q_ipackets=(1, 2))
    assert plain.stats_from(json.loads(json.dumps(vars(stats)))) == stats
    link = Link(True, 10000)
    assert plain.link_from(json.loads(json.dumps(vars(link)))) == link


def test_a_port_is_told_whole(started: Port, device: ModelDevice, pool: Mempool) -> None:
    told = json.loads(json.dumps(plain.describe(started)))
    assert (told["id"], told["name"], told["driver"], told["state"]) == (0, device.name, device.driver_name, "started")
    assert plain.config_from(told["config"]) == started.config
    assert told["rx"][1]["pool"] == pool.name
    assert plain.queue_config_from(told["tx"][0]["config"]) == QueueConfig()
    assert [bytes.fromhex(mac) for mac in told["macs"]] == list(started.macs)
    key = plain.config_from(json.loads(json.dumps(vars(PortConfig()))) | {"rss_key": "0a0b"}).rss_key
    assert key == b"\x0a\x0b"


def test_members_are_told_of_ports_of_any_driver(members: Members, started: Port) -> None:
    assert [told["id"] for told in members.ask("ports")] == [0]
    assert plain.info_from(members.ask("info", port=0)) == started.info()
    assert plain.stats_from(members.ask("stats", port=0)) == started.stats()
    assert members.ask("xstats", port=0) == started.device.xstats()
    assert plain.link_from(members.ask("link", port=0)) == started.link()
    members.ask("reset_stats", port=0)
    assert members.ask("rx_queue_count", port=0, queue=1) == started.rx_queue_count(1)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("info", {"port": 3}),
        ("lend", {"port": 0, "direction": "up", "queue": 0}),
        ("lend", {"port": 0, "direction": "rx", "queue": 2}),
        ("recipe", {"port": 0, "direction": "rx", "queue": -1}),
        ("give_back", {"port": 0, "direction": "tx", "queue": 9}),
        ("rx_queue_count", {"port": 0, "queue": 77}),
    ],
)
def test_what_is_not_there_is_refused(members: Members, started: Port, name: str, asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        members.ask(name, **asked)


def test_a_driver_without_a_recipe_lends_nothing(members: Members, started: Port) -> None:
    with pytest.raises(UnsupportedError, match=r"another\s+process"):
        members.ask("lend", port=0, direction="rx", queue=0)


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
@pytest.mark.parametrize(
    ("vdev", "rx", "tx"),
    [
        ("net_null0", ["rx", [False]], ["tx", [False]]),
        ("net_null0,no-rx=1,copy=1", ["rx_none", []], ["tx", [True]]),
        ("net_ring0", ["rx", []], ["tx", []]),
    ],
)
def test_a_recipe_makes_the_function_that_the_driver_has(
    members: Members, ports: Ports, pool: Mempool, vdev: str, rx: list[Any], tx: list[Any]
) -> None:
    from pollmode.bus_vdev import Registry

    port = ready(ports, pool, vdev)
    for direction, wanted in (("rx", rx), ("tx", tx)):
        told = members.ask("recipe", port=0, direction=direction, queue=1)
        assert [told["factory"], told["arguments"]] == wanted
        own = port.device.rx_entry(1) if direction == "rx" else port.device.tx_entry(1)
        assert own is not None
        made = Registry().find("net_null0" if "null" in vdev else "net_ring0").callbacks[told["factory"]]
        assert (made(*told["arguments"]).name, told["queue"]) == (own.callback.name, own.queue_address)


def test_rings_that_several_use_are_not_lent(members: Members, ports: Ports, pool: Mempool) -> None:
    ready(ports, pool, "net_ring0,nodeaction=common:0:CREATE")
    with pytest.raises(UnsupportedError):
        members.ask("lend", port=0, direction="tx", queue=0)


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
def test_a_lent_queue_is_nobody_elses(members: Members, ports: Ports, pool: Mempool) -> None:
    port, burst = ready(ports, pool, "net_null0"), Burst(4)
    assert port.rx(0, burst) == 4
    burst.free()
    members.ask("lend", port=0, direction="rx", queue=0)
    assert port.rx(0, burst) == 0
    assert port.rx(1, burst) == 4
    assert port.tx(0, burst) == 4
    for act in (port.stop, port.reset, lambda: port.stop_rx_queue(0), lambda: port.set_link(False)):
        with pytest.raises(ConfigError, match=rf"port 0: Rx queue 0 is used by {SOMEBODY}; end that process"):
            act()
    with pytest.raises(ConfigError, match="is used by"):
        members.ask("lend", port=0, direction="rx", queue=0)
    assert port.stats().ipackets == 8
    members.ask("give_back", port=0, direction="rx", queue=0)
    assert port.rx(0, burst) == 4
    burst.free()
    members.ask("lend", port=0, direction="tx", queue=1)
    members.ask("lend", port=0, direction="rx", queue=1)
    for gone in members.gone:
        gone(members.member)
    assert port.rx(1, burst) == 4
    assert port.tx(1, burst) == 4
    port.stop()


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
def test_a_queue_that_does_not_run_is_not_lent(members: Members, ports: Ports, pool: Mempool) -> None:
    port = ready(ports, pool, "net_null0")
    port.stop_rx_queue(1)
    with pytest.raises(ConfigError, match="Rx queue 1 is not running"):
        members.ask("lend", port=0, direction="rx", queue=1)
    port.stop()
    with pytest.raises(ConfigError, match="start it first"):
        members.ask("lend", port=0, direction="rx", queue=0)


def test_whatever_would_change_a_port_is_refused_in_a_secondary() -> None:
    changing = {
        name for name in dir(Port) if name.startswith(("set_", "setup_", "add_m", "remove_m", "put_", "take_o"))
    }
    assert changing >= {"set_mtu", "setup_rx_queue", "put_around"}

    class Somewhere:
        @staticmethod
        def refusal(action: str) -> str:
            return f"cannot {action} here"

    for name in changing | {"configure", "start", "stop", "close", "reset"}:
        with pytest.raises(PollmodeError, match=r"cannot \w+ .*here"):
            getattr(SecondaryPort, name)(Somewhere(), 1)


class Primary(Members):
    """The primary as a secondary's device asks it; what it answers first to "recipe" is `first` then."""

    first: dict[str, Any] | None = None

    def ask(self, name: str, **asked: Any) -> Any:
        """Note the question and answer it."""
        self.asked.append(name)
        answer = super().ask(name, **asked)
        if name == "recipe" and self.first is not None:
            answer, self.first = answer | self.first, None
        return answer

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ({}, ["recipe", "lend"]),
        ({"queue": 64}, ["recipe", "lend"]),
        ({"factory": "rx_none", "arguments": []}, ["recipe", "lend", "give_back", "recipe", "lend"]),
    ],
)
def test_a_queue_that_is_set_up_anew_meanwhile_is_used_as_it_is_then(
    ports: Ports, pool: Mempool, before: dict[str, Any], asked: list[str]
) -> None:
    port, primary = ready(ports, pool, "net_null0"), Primary()
    Lending(ports, primary)  # type: ignore[arg-type]
    device = PrimaryDevice(plain.describe(port), primary)  # type: ignore[arg-type]
    primary.first = before
    device.borrow("rx", 1)
    assert primary.asked == asked
    own, entry = port.device.rx_entry(1), device.rx_entry(1)
    assert own is not None
    assert entry is not None
    assert (entry.callback.name, entry.queue_address) == (own.callback.name, own.queue_address)
    with pytest.raises(ConfigError, match="is used by"):
        port.stop()
    primary.ask("give_back", port=0, direction="rx", queue=1)
    port.stop()


@pytest.mark.skipif(INTERPRETED, reason="queues are lent where code is compiled")
def test_a_queue_that_cannot_be_told_of_any_more_is_not_lent(
    members: Members, ports: Ports, pool: Mempool, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ready(ports, pool, "net_null0")
    recipes = [port.device.recipe("rx", 0), None]
    monkeypatch.setattr(port.device, "recipe", lambda *_: recipes.pop(0))
    with pytest.raises(UnsupportedError, match="can't have a queue used by another"):
        members.ask("lend", port=0, direction="rx", queue=0)
    assert recipes == []
    port.stop()
