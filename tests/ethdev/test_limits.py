# SPDX-License-Identifier: BSD-3-Clause
"""What is asked of a port against what its device can do: every refusal names what, the limit and the way out."""

from __future__ import annotations

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.ethdev import (
    DescriptorLimits,
    DeviceInfo,
    Port,
    PortConfig,
    Ports,
    QueueConfig,
    RxOffload,
    TxOffload,
)
from pollmode.ethdev.testing import ModelDevice
from pollmode.mbuf import Mempool, create_pool, mempool


@pytest.fixture
def limited(ports: Ports) -> Port:
    return ports.add(
        ModelDevice(
            "limited0",
            DeviceInfo(
                max_rx_queues=2,
                max_tx_queues=3,
                min_mtu=68,
                max_mtu=9000,
                min_rx_bufsize=1024,
                max_lro_pkt_size=4096,
                rx_offload_capa=RxOffload.IPV4_CKSUM | RxOffload.SCATTER,
                tx_offload_capa=TxOffload.MULTI_SEGS | TxOffload.TCP_CKSUM,
                rx_queue_offload_capa=RxOffload.SCATTER,
                tx_queue_offload_capa=0,
                rx_desc_lim=DescriptorLimits(maximum=1024, minimum=64, align=32),
                tx_desc_lim=DescriptorLimits(maximum=256, minimum=16),
                default_rx_ring_size=128,
                default_tx_ring_size=0,
                flow_type_rss_offloads=0b100,
                hash_key_size=40,
            ),
        )
    )


REFUSED_CONFIGURATIONS = [
    ((3, 1, PortConfig()), "3 Rx queues asked for, the device has 0 to 2"),
    ((1, 4, PortConfig()), "4 Tx queues asked for, the device has 0 to 3"),
    ((-1, 1, PortConfig()), "-1 Rx queues asked for"),
    ((0, 0, PortConfig()), "neither Rx nor Tx queues; ask for at least one"),
    ((1, 1, PortConfig(rx_offloads=RxOffload.TCP_LRO)), r"RTE_ETH_RX_OFFLOAD_TCP_LRO asked for \(0x10\)"),
    (
        (1, 1, PortConfig(rx_offloads=RxOffload.CHECKSUM)),
        "RX_OFFLOAD_UDP_CKSUM, RTE_ETH_RX_OFFLOAD_TCP_CKSUM asked for",
    ),
    ((1, 1, PortConfig(tx_offloads=TxOffload.TCP_TSO)), r"its Tx offloads 0x8008 \(RTE_ETH_TX_OFFLOAD_TCP_CKSUM, "),
    ((1, 1, PortConfig(tx_offloads=1 << 40)), "unknown bits 0x10000000000 asked for"),
    ((1, 1, PortConfig(mtu=67)), "MTU 67 is not within 68 to 9000"),
    ((1, 1, PortConfig(mtu=9001)), "MTU 9001 is not within 68 to 9000"),
    ((1, 1, PortConfig(max_lro_pkt_size=5000)), "max_lro_pkt_size 5000 is above 4096"),
    ((1, 1, PortConfig(rss_hf=0b110)), "RSS hash functions 0x6 are not among the device's 0x4"),
    ((1, 1, PortConfig(rss_key=bytes(16))), "an RSS key of 16 bytes, the device takes 40"),
    ((1, 1, PortConfig(lsc=True)), "the device has no lsc interrupt; configure without lsc"),
    ((1, 1, PortConfig(rmv=True)), "the device has no rmv interrupt"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED_CONFIGURATIONS)
def test_a_configuration_beyond_the_device_is_refused(
    asked: tuple[int, int, PortConfig], told: str, limited: Port
) -> None:
    with pytest.raises(ConfigError, match=told):
        limited.configure(*asked)
    assert limited.state.value == "attached"
    assert isinstance(limited.device, ModelDevice)
    assert limited.device.calls == []


def test_a_configuration_at_every_limit_is_taken(limited: Port) -> None:
    config = PortConfig(
        rx_offloads=RxOffload.IPV4_CKSUM,
        tx_offloads=TxOffload.MULTI_SEGS,
        mtu=9000,
        max_lro_pkt_size=4096,
        rss_hf=4,
        rss_key=bytes(40),
    )
    limited.configure(2, 3, config)
    assert (limited.rx_queues, limited.tx_queues, limited.mtu) == (2, 3, 9000)
    assert limited.config == config


def test_the_device_is_told_the_mtu_in_force(limited: Port) -> None:
    limited.configure(1, 1, PortConfig(mtu=2000))
    limited.configure(1, 1)
    assert limited.mtu == 2000
    assert isinstance(limited.device, ModelDevice)
    assert limited.device.calls[-1] == ("configure", 1, 1, PortConfig(mtu=2000))


@pytest.mark.parametrize("descriptors", [32, 65, 1056, -64])
def test_descriptors_outside_the_limits_are_refused(descriptors: int, limited: Port, pool: Mempool) -> None:
    limited.configure(1, 1)
    with pytest.raises(ConfigError, match=rf"Rx queue 0: {descriptors} descriptors; .* 64 to 1024 in steps of 32"):
        limited.setup_rx_queue(0, descriptors, pool)


def test_no_descriptors_means_the_devices_default(limited: Port, pool: Mempool) -> None:
    limited.configure(1, 1)
    limited.setup_rx_queue(0, 0, pool)
    assert isinstance(limited.device, ModelDevice)
    assert limited.device.calls[-1] == ("setup_rx_queue", 0, 128)
    with pytest.raises(ConfigError, match=r"Tx queue 0: 0 descriptors; the device takes 16 to 256$"):
        limited.setup_tx_queue(0, 0)


@pytest.mark.parametrize("queue", [-1, 1, 1000])
def test_a_queue_that_was_not_configured_is_named(queue: int, limited: Port, pool: Mempool) -> None:
    limited.configure(1, 0)
    with pytest.raises(ConfigError, match=f"there is no Rx queue {queue}; it has 0 to 0"):
        limited.setup_rx_queue(queue, 64, pool)
    with pytest.raises(ConfigError, match="there is no Tx queue 0; it has none"):
        limited.setup_tx_queue(0, 64)


def test_a_queue_may_add_only_per_queue_offloads(limited: Port, pool: Mempool) -> None:
    limited.configure(1, 1, PortConfig(rx_offloads=RxOffload.IPV4_CKSUM))
    limited.setup_rx_queue(0, 0, pool, QueueConfig(offloads=RxOffload.IPV4_CKSUM | RxOffload.SCATTER))
    with pytest.raises(ConfigError, match=r"Rx queue 0 \(beyond its port's\): RTE_ETH_RX_OFFLOAD_TCP_CKSUM asked"):
        limited.setup_rx_queue(0, 0, pool, QueueConfig(offloads=RxOffload.TCP_CKSUM))
    with pytest.raises(ConfigError, match=r"RTE_ETH_TX_OFFLOAD_MULTI_SEGS asked for .* 0x0 \(none\)"):
        limited.setup_tx_queue(0, 64, QueueConfig(offloads=TxOffload.MULTI_SEGS))


def test_a_pool_with_too_small_mbufs_is_refused(limited: Port, environment: Environment) -> None:
    limited.configure(1, 0)
    small = create_pool(environment.memory, "small", 16, data_room=1151)
    with pytest.raises(
        ConfigError, match=r"pool small has a data room of 1151 bytes, the device needs 1152 \(headroom"
    ):
        limited.setup_rx_queue(0, 0, small)
    enough = create_pool(environment.memory, "enough", 16, data_room=1152)
    limited.setup_rx_queue(0, 0, enough)


def test_a_pool_without_mbufs_is_refused(limited: Port, environment: Environment) -> None:
    limited.configure(1, 0)
    other = mempool.create(environment.memory, "other", 16, element_size=64)
    with pytest.raises(ConfigError, match=r"pool other has no data room; make it with mbuf\.create_pool"):
        limited.setup_rx_queue(0, 0, other)


def test_offload_bits_are_dpdks() -> None:
    assert RxOffload.RSS_HASH == 1 << 19
    assert RxOffload.BUFFER_SPLIT == 1 << 20
    assert TxOffload.MULTI_SEGS == 1 << 15
    assert TxOffload.SEND_ON_TIMESTAMP == 1 << 21
