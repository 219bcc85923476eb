# SPDX-License-Identifier: BSD-3-Clause
"""Settings that may change at any time: reception modes, MTU, addresses, link."""

from __future__ import annotations

import errno

import pytest

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.ethdev import Device, DeviceInfo, Link, Port, Ports
from pollmode.ethdev.testing import ModelDevice

OWN = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("020000000002")
THIRD = bytes.fromhex("020000000003")


@pytest.mark.parametrize("mode", ["promiscuous", "allmulticast"])
def test_a_reception_mode_is_kept_and_set_once(mode: str, port: Port, device: ModelDevice) -> None:
    change = getattr(port, f"set_{mode}")
    assert getattr(port, mode) is False
    change(True)
    change(True)
    assert getattr(port, mode) is True
    change(False)
    assert device.calls == [(f"set_{mode}", True), (f"set_{mode}", False)]


@pytest.mark.parametrize("mode", ["promiscuous", "allmulticast"])
def test_a_mode_the_device_lacks_is_an_error_and_changes_nothing(mode: str, port: Port, device: ModelDevice) -> None:
    device.failing[f"set_{mode}"] = UnsupportedError("no CTRL_RX")
    with pytest.raises(UnsupportedError, match="no CTRL_RX"):
        getattr(port, f"set_{mode}")(True)
    assert getattr(port, mode) is False


def test_the_mtu_is_kept_within_the_devices_bounds(ports: Ports) -> None:
    port = ports.add(ModelDevice("model5", DeviceInfo(min_mtu=68, max_mtu=9000)))
    assert port.mtu == 1500
    port.set_mtu(9000)
    assert port.mtu == 9000
    with pytest.raises(ConfigError, match=r"port 0 \(model5\): MTU 9001 is not within 68 to 9000"):
        port.set_mtu(9001)
    assert port.mtu == 9000


def test_the_ports_own_address_changes(port: Port, device: ModelDevice) -> None:
    assert port.mac == OWN
    port.set_mac(OTHER)
    assert (port.mac, port.macs) == (OTHER, (OTHER,))
    assert device.calls == [("set_mac", OTHER)]


@pytest.mark.parametrize("mac", [bytes(6), b"\x01" + bytes(5), b"\xff" * 6, bytes(5), bytes(7)])
def test_what_is_no_station_address_is_refused(mac: bytes, port: Port, device: ModelDevice) -> None:
    for change in (port.set_mac, port.add_mac):
        with pytest.raises(ConfigError, match=r"not a unicast address|a MAC address has 6 bytes, not"):
            change(mac)
    assert port.macs == (OWN,)
    assert device.calls == []


def test_further_addresses_up_to_the_devices_number(ports: Ports) -> None:
    port = ports.add(ModelDevice("model5", DeviceInfo(max_mac_addrs=2)))
    port.add_mac(OTHER)
    port.add_mac(OTHER)
    assert port.macs == (OWN, OTHER)
    with pytest.raises(ConfigError, match="all 2 MAC addresses are taken; remove one before adding 02:00") as raised:
        port.add_mac(THIRD)
    assert raised.value.errno == errno.ENOSPC
    port.remove_mac(OTHER)
    port.add_mac(THIRD)
    assert port.macs == (OWN, THIRD)


def test_removing_an_address_that_cannot_be_removed(port: Port) -> None:
    with pytest.raises(ConfigError, match="is the port's own address; set another one first"):
        port.remove_mac(OWN)
    with pytest.raises(ConfigError, match="02:00:00:00:00:02 is not among its MAC addresses"):
        port.remove_mac(OTHER)


def test_the_link_is_the_devices(port: Port, device: ModelDevice) -> None:
    assert port.link() == Link(up=True, speed=10000)
    port.set_link(False)
    assert port.link().up is False


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (Link(up=False, speed=10000), "Link down"),
        (Link(up=True, speed=10000), "Link up at 10 Gbps FDX Fixed"),
        (Link(up=True, speed=100, full_duplex=False, autoneg=True), "Link up at 100 Mbps HDX Autoneg"),
        (Link(up=True, speed=2500), "Link up at 2.5 Gbps FDX Fixed"),
        (Link(up=True), "Link up at Unknown FDX Fixed"),
        (Link(up=True, speed=0), "Link up at None FDX Fixed"),
    ],
)
def test_a_link_in_dpdks_words(link: Link, text: str) -> None:
    assert str(link) == text


def test_a_driver_that_has_no_setting_says_so(device: ModelDevice) -> None:
    for call in (
        lambda: Device.set_promiscuous(device, True),
        lambda: Device.set_allmulticast(device, True),
        lambda: Device.set_mtu(device, 1500),
        lambda: Device.set_mac(device, OWN),
        lambda: Device.set_mac_list(device, [OWN]),
        lambda: Device.set_link(device, False),
    ):
        with pytest.raises(UnsupportedError, match="model0: driver model "):
            call()
