# SPDX-License-Identifier: BSD-3-Clause
"""The bus: from device names to ports and back, at start and while lcores poll."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pollmode.bus_vdev import ProbeContext, Registry, VdevBus, VdevDriver
from pollmode.eal.devargs import Parameter, Parameters, integer, parse
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.jit import compile_now, compiled, load_relaxed64
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import Ports, State, rx_burst, tx_burst
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import create_pool, mbuf_free_bulk

made: list[ModelDevice] = []


def probe(context: ProbeContext, name: str, arguments: dict[str, Any]) -> ModelDevice:
    if arguments["fail"]:
        raise HostError(f"{name}: the machine lacks it")
    made.append(ModelDevice(name))
    return made[-1]


MODEL = VdevDriver("net_model", ("eth_model", "model_user"), Parameters({"fail": Parameter(integer(0, 1), 0)}), probe)
BEYOND = VdevDriver("net_model_user", (), Parameters({}), probe)
NOT_A_DRIVER = "something else"


class Installed:
    """An installed entry point that counts how often it was loaded."""

    def __init__(self, name: str, driver: object) -> None:
        self.name = name
        self.driver = driver
        self.loads = 0

    def load(self) -> object:
        self.loads += 1
        return self.driver


def registry(*drivers: tuple[str, object]) -> Registry:
    return Registry([Installed(name, driver) for name, driver in drivers])  # type: ignore[misc]


@pytest.fixture
def ports(environment: Environment) -> Iterator[Ports]:
    made.clear()
    table = Ports(environment)
    yield table
    table.close()


@pytest.fixture
def bus(environment: Environment, ports: Ports) -> VdevBus:
    return VdevBus(environment, ports, registry(("net_model", MODEL), ("net_model_user", BEYOND)))


@pytest.mark.parametrize(
    ("device", "driver"),
    [
        ("net_model0", "net_model"),
        ("net_model12", "net_model"),
        ("net_model", "net_model"),
        ("eth_model3", "net_model"),
        ("model_user0", "net_model"),
        ("net_model_user0", "net_model_user"),
    ],
)
def test_a_device_is_its_drivers_name_or_alias_and_a_number(device: str, driver: str) -> None:
    assert registry(("net_model", MODEL), ("net_model_user", BEYOND)).find(device).name == driver


@pytest.mark.parametrize("device", ["net_mode0", "net_model0x", "net_modell1", "xnet_model0", "0", "net_model_0"])
def test_a_name_no_driver_takes_is_an_error_that_names_those_there_are(device: str) -> None:
    known = "net_model, net_model_user, model_user|eth_model, model_user, net_model, net_model_user"
    with pytest.raises(ConfigError, match=f"no driver found for {device}.* ({known})"):
        registry(("net_model", MODEL), ("net_model_user", BEYOND)).find(device)


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"no driver found for net_modle0 \(did you mean 'net_model'\?\)"):
        registry(("net_model", MODEL)).find("net_modle0")


def test_nothing_installed_is_said() -> None:
    with pytest.raises(ConfigError, match="no driver is installed"):
        registry().find("net_null0")


def test_only_the_driver_asked_for_is_loaded() -> None:
    mine, other = Installed("net_model", MODEL), Installed("net_model_user", BEYOND)
    found = Registry([mine, other])  # type: ignore[list-item]
    for _ in range(2):
        found.find("net_model0")
    assert (mine.loads, other.loads) == (1, 0)


def test_an_entry_point_that_is_no_driver_is_named() -> None:
    with pytest.raises(ConfigError, match=r"entry point net_odd in pollmode\.vdev does not name a VdevDriver"):
        registry(("net_odd", NOT_A_DRIVER)).find("net_odd0")
    with pytest.raises(ConfigError, match="does not name a VdevDriver called net_other"):
        registry(("net_other", MODEL)).find("net_other0")


def test_the_packages_of_this_repository_are_found() -> None:
    found = Registry()
    assert {"net_null", "net_ring"} <= set(found.names())
    assert found.find("eth_null0").name == "net_null"
    assert found.find("net_ring1").name == "net_ring"


def test_attach_makes_a_port_that_knows_its_devargs(bus: VdevBus, ports: Ports) -> None:
    port = bus.attach("net_model0,fail=0")
    assert ports[0] is port
    assert port.name == "net_model0"
    assert port.state is State.ATTACHED
    assert port.device.devargs == parse("net_model0,fail=0")


@pytest.mark.parametrize("text", ["net_model0", "vdev:net_model0,fail=0"])
def test_the_same_name_twice_is_refused(text: str, bus: VdevBus, ports: Ports) -> None:
    bus.attach("net_model0")
    with pytest.raises(ConfigError, match="net_model0 is attached already; name the second one differently"):
        bus.attach(text)
    assert len(ports) == 1


def test_a_pci_device_is_not_this_buses(bus: VdevBus) -> None:
    with pytest.raises(ConfigError, match=r"0000:03:00\.0 is on bus pci, not a virtual device"):
        bus.attach("0000:03:00.0")


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("net_model1,fail=1", HostError, "net_model1: the machine lacks it"),
        ("net_model1,fail=2", ConfigError, "fail=2 is not valid"),
        ("net_model1,fall=1", ConfigError, r"unknown argument 'fall' \(did you mean 'fail'"),
        ("net_nodel1", ConfigError, "no driver found for net_nodel1"),
    ],
)
def test_a_device_that_fails_leaves_nothing_behind(
    text: str, error: type[Exception], told: str, bus: VdevBus, ports: Ports
) -> None:
    bus.attach("net_model0")
    with pytest.raises(error, match=told):
        bus.attach(text)
    assert [port.name for port in ports] == ["net_model0"]
    assert bus.attach("net_model1").id == 1


def test_a_device_that_cannot_become_a_port_is_closed(bus: VdevBus, ports: Ports) -> None:
    for number in range(32):
        ports.add(ModelDevice(f"other{number}"))
    with pytest.raises(ConfigError, match="all 32 ports are taken"):
        bus.attach("net_model0")
    assert made[-1].calls == [("close",)]


def test_detach_closes_and_the_name_is_free_again(bus: VdevBus, ports: Ports) -> None:
    port = bus.attach("net_model0")
    bus.detach(port)
    assert port.state is State.REMOVED
    assert made[0].calls == [("close",)]
    assert len(ports) == 0
    with pytest.raises(ConfigError, match="is not a device of the vdev bus, or was detached"):
        bus.detach(port)
    assert bus.attach("net_model0").id == 0


def test_a_started_port_is_not_detached(bus: VdevBus, ports: Ports) -> None:
    port = bus.attach("net_model0")
    port.configure(0, 1)
    port.setup_tx_queue(0, 0)
    port.start()
    with pytest.raises(ConfigError, match="is started: cannot close; stop it first"):
        bus.detach(port)
    port.stop()
    bus.detach(port)


def test_a_port_of_another_bus_is_not_detached(bus: VdevBus, ports: Ports) -> None:
    port = ports.add(ModelDevice("net_model0"))
    with pytest.raises(ConfigError, match="is not a device of the vdev bus"):
        bus.detach(port)


def test_a_port_removed_from_the_table_frees_its_name(bus: VdevBus, ports: Ports) -> None:
    ports.remove(bus.attach("net_model0"))
    assert bus.attach("net_model0").id == 0


def start(*vdevs: str) -> Environment:
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    words = [word for text in vdevs for word in ("--vdev", text)]
    lcores = ["--lcores", f"(0-1)@({cpus})"]
    return Environment.start(["--in-memory", "--no-huge", "--no-pci", "-m", "64", *lcores, *words])


def test_probe_all_takes_the_command_lines_devices_in_order() -> None:
    with start("net_ring0", "net_null0,size=100", "net_null5") as environment:
        ports = Ports(environment)
        probed = VdevBus(environment, ports).probe_all()
        assert [(port.id, port.name) for port in probed] == [(0, "net_ring0"), (1, "net_null0"), (2, "net_null5")]
        ports.close()


@pytest.mark.parametrize("last", ["net_null1,size=0", "net_nul1"])
def test_probe_all_leaves_nothing_when_one_fails(last: str) -> None:
    with start("net_null0", "net_ring0", last) as environment:
        before = {zone.name for zone in environment.memory.zones()}
        ports = Ports(environment)
        with pytest.raises(ConfigError, match=r"size=0 is not valid|no driver found"):
            VdevBus(environment, ports).probe_all()
        assert len(ports) == 0
        assert {zone.name for zone in environment.memory.zones()} == before


@compiled
def forward(lcore: int, dispatch: int, burst: int) -> int:
    """Forward each of the ports 0 and 1 to itself, whether it is there or not."""
    total = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        for port in range(2):
            n = rx_burst(lcore, dispatch, port, 0, burst, 32)
            sent = tx_burst(lcore, dispatch, port, 0, burst, n)
            mbuf_free_bulk(lcore, burst + 8 * sent, n - sent)
            total += sent
    return total


def test_a_port_comes_and_goes_under_a_polling_lcore(environment: Environment, ports: Ports) -> None:
    pool = create_pool(environment.memory, "pool", 512, cache_size=32)
    bus = VdevBus(environment, ports)

    def attach(text: str) -> Any:
        port = bus.attach(text)
        port.configure(1, 1)
        port.setup_rx_queue(0, 0, pool)
        port.setup_tx_queue(0, 0)
        port.start()
        return port

    def moved(port: Any, since: int) -> None:
        deadline = time.monotonic() + 60
        while port.stats().opackets <= since:
            assert time.monotonic() < deadline, f"{port} does not move packets"
            assert lcore in environment.lcores.running, environment.lcores.wait(lcore)
            time.sleep(0.001)

    compile_now(forward, 3)  # not while the lcore is waited for
    stays = attach("net_null0")
    burst = np.zeros(32, np.int64)
    lcore = environment.lcores.main.id
    environment.lcores.launch(lcore, forward, ports.dispatch, burst.ctypes.data)
    for _ in range(3):
        comes = attach("net_null1")
        assert comes.id == 1
        moved(comes, 0)
        comes.stop()
        bus.detach(comes)
        moved(stays, stays.stats().opackets)
    environment.lcores.stop(lcore)
    assert environment.lcores.wait(lcore, 60) > 0
    assert pool.audit().out == 0, "no mbuf was lost"
