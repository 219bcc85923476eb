# SPDX-License-Identifier: BSD-3-Clause
"""VLAN filters and offloads, multicast lists, RSS: what a port asks of a device, and what it refuses itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.ethdev import Device, DeviceInfo, Port, PortConfig, Ports, RssHash, RssType, RxOffload
from pollmode.ethdev.testing import ModelDevice

GROUP, OTHER = bytes.fromhex("01005e000001"), bytes.fromhex("333300000001")
CAPABLE = DeviceInfo(
    max_rx_queues=4,
    max_tx_queues=4,
    rx_offload_capa=RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER,
    reta_size=8,
    hash_key_size=40,
    flow_type_rss_offloads=RssType.IPV4 | RssType.IPV6,
)


@pytest.fixture
def port(environment: Environment) -> Iterator[Port]:
    ports = Ports(environment)
    port = ports.add(ModelDevice(capabilities=CAPABLE))
    port.configure(4, 1, PortConfig(rx_offloads=RxOffload.VLAN_FILTER, rss_hf=RssType.IPV4))
    yield port
    ports.close()


def calls(port: Port) -> list[tuple[object, ...]]:
    assert isinstance(port.device, ModelDevice)
    return [call for call in port.device.calls if call[0] != "configure"]


def test_vlan_ids_pass_when_filtering_is_on(port: Port) -> None:
    port.set_vlan_filter(0, True)
    port.set_vlan_filter(4095, False)
    assert calls(port) == [("set_vlan_filter", 0, True), ("set_vlan_filter", 4095, False)]
    with pytest.raises(ConfigError, match="there is no VLAN id 4096; they are 0 to 4095"):
        port.set_vlan_filter(4096, True)
    port.set_vlan_offload(RxOffload.VLAN_FILTER, False)
    with pytest.raises(ConfigError, match="VLAN filtering is off; switch it on first"):
        port.set_vlan_filter(1, True)


def test_vlan_offloads_are_switched_one_by_one(port: Port) -> None:
    port.set_vlan_offload(RxOffload.VLAN_STRIP, True)
    assert port.config.rx_offloads == RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER
    port.set_vlan_offload(RxOffload.VLAN_STRIP, True)
    assert calls(port) == [("set_vlan_offload", RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER)]
    with pytest.raises(ConfigError, match="RTE_ETH_RX_OFFLOAD_QINQ_STRIP asked for"):
        port.set_vlan_offload(RxOffload.QINQ_STRIP, True)
    with pytest.raises(ConfigError, match="is no offload for VLANs"):
        port.set_vlan_offload(RxOffload.TCP_LRO, True)
    assert port.config.rx_offloads == RxOffload.VLAN_STRIP | RxOffload.VLAN_FILTER


def test_groups_are_set_as_a_whole(port: Port) -> None:
    port.set_multicast([GROUP, OTHER, GROUP])
    assert port.multicast == (GROUP, OTHER)
    assert calls(port) == [("set_multicast", (GROUP, OTHER))]
    for wrong in (bytes(6), b"", GROUP + b"x"):
        with pytest.raises(ConfigError, match="is not a multicast address"):
            port.set_multicast([wrong])
    assert port.multicast == (GROUP, OTHER)


def test_the_redirection_table_is_changed_by_entries(port: Port) -> None:
    port.set_reta({1: 3, 7: 2})
    assert port.reta() == [0, 3, 0, 0, 0, 0, 0, 2]
    with pytest.raises(ConfigError, match="there is no entry 8; the redirection table has 8"):
        port.set_reta({8: 0})
    with pytest.raises(ConfigError, match="entry 0 names queue 4; it has 0 to 3"):
        port.set_reta({1: 0, 0: 4})
    assert port.reta() == [0, 3, 0, 0, 0, 0, 0, 2]


def test_hash_types_and_key_are_held_against_the_device(port: Port) -> None:
    port.set_rss_hash(RssType.IPV6, bytes(range(40)))
    port.set_rss_hash(RssType.IPV4)
    assert port.rss_hash() == RssHash(RssType.IPV4, bytes(range(40)))
    with pytest.raises(ConfigError, match="RSS hash functions 0x20 are not among"):
        port.set_rss_hash(RssType.NONFRAG_IPV4_UDP)
    with pytest.raises(ConfigError, match="an RSS key of 39 bytes, the device takes 40"):
        port.set_rss_hash(RssType.IPV4, bytes(39))


def test_a_port_without_rss_has_no_table(port: Port) -> None:
    port.configure(1, 1)
    for call in (port.reta, port.rss_hash, lambda: port.set_reta({}), lambda: port.set_rss_hash(0)):
        with pytest.raises(UnsupportedError, match="multi-queue RSS is not enabled"):
            call()


def test_what_a_driver_lacks_is_told_with_its_name() -> None:
    device = ModelDevice()
    for call in (
        lambda: Device.set_vlan_filter(device, 1, True),
        lambda: Device.set_vlan_offload(device, 0),
        lambda: Device.set_multicast(device, [GROUP]),
        lambda: Device.rss_hash(device),
        lambda: Device.set_rss_hash(device, 0, None),
        lambda: Device.reta(device),
        lambda: Device.set_reta(device, []),
    ):
        with pytest.raises(UnsupportedError, match="model0: driver model "):
            call()
