# SPDX-License-Identifier: BSD-3-Clause
"""The bus: which devices become ports, why others do not, attach and detach, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pollmode.bus_pci import Found, PciAddress, PciBus, PciDevice, PciDriver, PciId, ProbeContext, Registry
from pollmode.bus_pci.testing import FakeDevice, FakeHost
from pollmode.eal.devargs import Parameter, Parameters, flag
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError, UnsupportedError
from pollmode.ethdev import Ports
from pollmode.ethdev.testing import ModelDevice

IDS = {"nic": PciId(0x15AD, 0x07B0), "disk": PciId(0x8086, 0x0953)}


class Nic(ModelDevice):
    """A model port over a PCI device, which it closes."""

    def __init__(self, name: str, pci: PciDevice) -> None:
        super().__init__(name)
        self.pci = pci

    def close(self) -> None:
        super().close()
        self.pci.close()


def probe(context: ProbeContext, device: PciDevice, name: str, arguments: dict[str, Any]) -> Nic:
    if arguments["fail"] or device.address.function == 7:
        raise HostError(f"{name}: the machine lacks it")
    device.doorbell(0, 0)
    return Nic(name, device)


DRIVER = PciDriver("net_model", ((0x15AD, 0x07B0), (1, 2)), Parameters({"fail": Parameter(flag, False)}), probe)


class Installed:
    """An installed entry point."""

    def __init__(self, name: str, driver: object) -> None:
        self.name = name
        self.driver = driver

    def load(self) -> object:
        return self.driver


def found(address: str, kind: str = "nic", why_not: str = "") -> Found:
    return Found(PciAddress.parse(address), IDS[kind], "vfio-pci", why_not)


Start = Callable[..., PciBus]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an environment with these words, whose host has these devices."""
    environments = []

    def started(words: str, *there: Found, asked_for: bool = False) -> PciBus:
        environment = Environment.start(["--in-memory", "--no-huge", "-m", "64", "-l", "0", *words.split()])
        environments.append(environment)
        ports = Ports(environment)
        bus = PciBus(
            environment,
            ports,
            Registry([Installed("net_model", DRIVER)]),  # type: ignore[list-item]
            FakeHost(
                there,
                lambda one: FakeDevice(environment.memory, one.id, {0: 4096}, address=one.address),
                asked_for=asked_for,
            ),
        )
        environment.on_close(ports.close)
        return bus

    yield started
    for environment in environments:
        environment.close()


def names(ports: list[Any]) -> list[str]:
    return [port.name for port in ports]


def reasons(bus: PciBus) -> dict[str, str]:
    return {str(address): why for address, why in bus.reasons.items() if why}


def opened(bus: PciBus) -> list[FakeDevice]:
    assert isinstance(bus.host, FakeHost)
    return bus.host.opened


def test_every_device_with_a_driver_becomes_a_port_by_address(start: Start) -> None:
    bus = start("", found("0000:03:00.0"), found("0000:04:00.0", "disk"), found("0000:05:00.1"))
    ports = bus.probe_all()
    assert names(ports) == ["0000:03:00.0", "0000:05:00.1"]
    assert [port.device.devargs.bus for port in ports] == ["pci", "pci"]
    assert reasons(bus) == {"0000:04:00.0": "no driver for 8086:0953; the drivers are net_model"}


def test_only_named_devices_are_taken_with_their_arguments(start: Start) -> None:
    bus = start("-a 5:00.1,fail=0", found("0000:03:00.0"), found("0000:05:00.1"))
    assert names(bus.probe_all()) == ["0000:05:00.1"]
    assert reasons(bus) == {"0000:03:00.0": "not taken, not named; name it with -a 0000:03:00.0"}


def test_blocked_devices_are_left_alone(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    bus = start("-b 03:00.0 -b 0000:0a:00.0", found("0000:03:00.0"), found("0000:05:00.1"))
    assert names(bus.probe_all()) == ["0000:05:00.1"]
    assert reasons(bus) == {"0000:03:00.0": "not taken, -b 0000:03:00.0 says so"}
    assert "-b 0000:0a:00.0: there is no such device" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--no-pci", "-A"])
def test_nothing_is_looked_for_or_taken_unasked(start: Start, words: str) -> None:
    bus = start(words, found("0000:03:00.0"))
    assert bus.probe_all() == []
    assert opened(bus) == []


def test_no_pci_refuses_to_attach(start: Start) -> None:
    with pytest.raises(ConfigError, match="--no-pci leaves those alone"):
        start("--no-pci", found("0000:03:00.0")).attach("0000:03:00.0")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("-a 0000:09:00.0", r"-a 0000:09:00\.0: there is no such device; there is 0000:03:00\.0, 0000:04:00\.0"),
        ("-a 3:00.0 -a 0000:03:00.0", r"0000:03:00\.0 is given twice"),
        ("-a 3:00.0,fial=1", r"unknown argument 'fial' \(did you mean 'fail'\?\)"),
        ("-a 3:20.0", "is no PCI address"),
    ],
)
def test_names_that_are_wrong_are_errors(start: Start, words: str, told: str) -> None:
    bus = start(words, found("0000:03:00.0"), found("0000:04:00.0"))
    with pytest.raises(ConfigError, match=told):
        bus.probe_all()


def test_a_device_that_cannot_be_opened_is_told_and_an_error_when_it_was_named(start: Start) -> None:
    held = found("0000:03:00.0", why_not="the kernel's vmxnet3 has it; run: devbind -b vfio-pci 0000:03:00.0")
    bus = start("", held)
    assert bus.probe_all() == []
    assert reasons(bus) == {"0000:03:00.0": held.why_not}
    with pytest.raises(UnsupportedError, match=r"0000:03:00\.0 \(15ad:07b0, vfio-pci\): the kernel's vmxnet3 has it"):
        start("-a 3:00.0", held).probe_all()
    with pytest.raises(UnsupportedError, match="the kernel's vmxnet3 has it"):
        start("", held, asked_for=True).probe_all()


def test_a_device_that_fails_leaves_nothing_and_the_others_go_on(start: Start) -> None:
    bus = start("", found("0000:03:00.7"), found("0000:05:00.1"))
    assert names(bus.probe_all()) == ["0000:05:00.1"]
    assert reasons(bus) == {"0000:03:00.7": "0000:03:00.7: the machine lacks it"}
    assert [zone.name for zone in opened(bus)[0].memory.zones() if "03:00.7" in zone.name] == []


def test_a_named_device_that_fails_takes_the_others_of_the_start_along(start: Start) -> None:
    bus = start("-a 3:00.0 -a 5:00.0,fail=1", found("0000:03:00.0"), found("0000:05:00.0"))
    with pytest.raises(HostError, match=r"0000:05:00\.0: the machine lacks it"):
        bus.probe_all()
    assert [zone.name for zone in opened(bus)[0].memory.zones() if ":00.0" in zone.name] == []


def test_attach_and_detach_while_running(start: Start) -> None:
    bus = start("-A", found("0000:03:00.0"))
    bus.probe_all()
    port = bus.attach("03:00.0")
    assert (port.name, bus.owns(port)) == ("0000:03:00.0", True)
    with pytest.raises(ConfigError, match=r"0000:03:00\.0 is attached already"):
        bus.attach("pci:0000:03:00.0")
    bus.detach(port)
    with pytest.raises(ConfigError, match="not a device of the pci bus, or was detached"):
        bus.detach(port)
    assert bus.attach("0000:03:00.0").id == 0
    with pytest.raises(ConfigError, match=r"0000:04:00\.0: there is no such device"):
        bus.attach("0000:04:00.0")


def test_the_host_ends_behind_the_ports(start: Start) -> None:
    bus = start("", found("0000:03:00.0"))
    (port,) = bus.probe_all()
    host, environment = bus.host, port.device.pci.memory
    assert isinstance(host, FakeHost)
    assert not host.closed
    bus._context.environment.close()
    assert host.closed
    assert environment.zones() == []


class Broken(Installed):
    """One whose package cannot be imported."""

    def load(self) -> object:
        raise ModuleNotFoundError("No module named 'numbers2'")


@pytest.mark.parametrize(
    ("point", "told"),
    [
        (Installed("net_model", "something else"), "entry point net_model in pollmode.pci does not name a PciDriver"),
        (Installed("net_other", DRIVER), "does not name a PciDriver called net_other"),
        (Broken("net_model", None), "the driver net_model cannot be used: ModuleNotFoundError: No module named"),
    ],
)
def test_a_broken_driver_is_told_of_and_takes_nothing(
    point: Installed, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Registry([point]).find(IDS["nic"]) is None  # type: ignore[list-item]
    assert told in capsys.readouterr().err


def test_a_secondary_process_leaves_the_devices_to_its_primary(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = start("", found("0000:03:00.0"))
    monkeypatch.setattr(bus._context.environment, "primary", object())
    assert bus.probe_all() == []
    with pytest.raises(ConfigError, match="in a secondary process; do it in the primary"):
        bus.attach("0000:03:00.0")
