# SPDX-License-Identifier: BSD-3-Clause
"""Receive-side scaling: queues by hash, the hash in the mbuf, key, table and flow types changed while it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import TCP, UDP, Rig, ip_frame

from pollmode.eal.errors import ConfigError, DeviceFault, UnsupportedError
from pollmode.ethdev import PortConfig, RssType
from pollmode.mbuf import layout as mbuf
from pollmode.net_vmxnet3.layout import (
    CMD_SET_RSS_FIELDS,
    CMD_UPDATE_RSSIDT,
    FIELD_TCP4,
    FIELD_TCP6,
    FIELD_UDP4,
    FIELD_UDP6,
)
from pollmode.net_vmxnet3.rss import DEFAULT_KEY
from pollmode.net_vmxnet3.testing_frames import toeplitz

Rigs = Callable[..., Rig]
IP_TCP = RssType.IPV4 | RssType.NONFRAG_IPV4_TCP | RssType.IPV6 | RssType.NONFRAG_IPV6_TCP
CONFIG = PortConfig(rss_hf=IP_TCP)


def test_the_hash_is_microsofts() -> None:
    """ "Verifying the RSS hash calculation": 66.9.149.187:2794 to 161.142.100.80:1766."""
    addresses = bytes([66, 9, 149, 187, 161, 142, 100, 80])
    assert toeplitz(DEFAULT_KEY, addresses) == 0x323E8FC2
    assert toeplitz(DEFAULT_KEY, addresses + (2794).to_bytes(2, "big") + (1766).to_bytes(2, "big")) == 0x51CCC178


@pytest.mark.parametrize("revision", [1, 3, 6])
@pytest.mark.parametrize("version", [4, 6])
def test_flows_are_spread_and_their_hash_is_told(make_rig: Rigs, revision: int, version: int) -> None:
    rig = make_rig(revision=revision, rx_queues=4, tx_queues=4, config=CONFIG)
    size = rig.port.info().reta_size
    assert size == len(rig.port.reta()) == (128 if revision >= 6 else 64)
    used = set()
    for source in range(1, 40):
        data = ip_frame(TCP, version=version, source=source)
        queue = rig.model.deliver(data)
        assert queue is not None
        (packet,) = rig.packets(queue=queue)
        start = 26 if version == 4 else 22
        flow = data[start : start + (8 if version == 4 else 32)] + data[34 if version == 4 else 54 :][:4]
        assert packet.hash_rss == toeplitz(DEFAULT_KEY, flow)
        assert packet.ol_flags & mbuf.RX_RSS_HASH
        assert queue == packet.hash_rss % size % 4
        packet.free()
        used.add(queue)
    assert used == {0, 1, 2, 3}


def test_what_is_not_hashed_goes_to_queue_0_and_says_so(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=2, config=PortConfig(rss_hf=RssType.NONFRAG_IPV4_TCP))
    assert rig.model.deliver(ip_frame(UDP)) == 0
    (packet,) = rig.packets()
    assert not packet.ol_flags & mbuf.RX_RSS_HASH
    packet.free()


def test_the_table_is_changed_while_it_runs_and_kept(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=4, config=CONFIG)
    rig.port.set_reta(dict.fromkeys(range(64), 3))
    for source in range(1, 10):
        assert rig.model.deliver(ip_frame(TCP, source=source)) == 3
    assert len(rig.receive(queue=3)) == 9
    rig.port.stop()
    rig.port.start()
    assert rig.model.deliver(ip_frame(TCP)) == 3
    assert rig.port.reta() == [3] * 64


def test_key_and_types_are_changed_while_it_runs(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=4, config=CONFIG)
    key = bytes(range(40))
    rig.port.set_rss_hash(RssType.IPV4, key)
    assert rig.port.rss_hash().key == key
    data = ip_frame(TCP)
    queue = rig.model.deliver(data) or 0
    (packet,) = rig.packets(queue=queue)
    assert packet.hash_rss == toeplitz(key, data[26:34])
    packet.free()
    rig.port.set_rss_hash(RssType.NONFRAG_IPV4_TCP)
    assert rig.port.rss_hash().key == key
    rig.model.deliver(data)
    assert sum(len(rig.receive(queue=queue)) for queue in range(4)) == 1


def test_revision_4_hashes_the_ports_of_udp(make_rig: Rigs) -> None:
    types = RssType.IPV4 | RssType.NONFRAG_IPV4_UDP | RssType.NONFRAG_IPV6_UDP
    rig = make_rig(revision=4, rx_queues=4, config=PortConfig(rss_hf=types))
    assert rig.model.registers.rss_fields == FIELD_TCP4 | FIELD_TCP6 | FIELD_UDP4 | FIELD_UDP6
    assert rig.port.rss_hash().types == types | RssType.NONFRAG_IPV4_TCP | RssType.NONFRAG_IPV6_TCP
    queues = set()
    for number in range(32):
        queue = rig.model.deliver(ip_frame(UDP, ports=(number, 9)))
        assert queue is not None
        queues.add(queue)
        rig.receive(queue=queue)
    assert len(queues) > 1


@pytest.mark.parametrize("revision", [1, 3])
def test_revisions_before_4_know_neither_udp_nor_esp(make_rig: Rigs, revision: int) -> None:
    rig = make_rig(revision=revision, start=False)
    assert rig.port.info().flow_type_rss_offloads == IP_TCP
    with pytest.raises(ConfigError, match="RSS hash functions"):
        rig.port.configure(2, 1, PortConfig(rss_hf=RssType.NONFRAG_IPV4_UDP))


def test_capabilities_are_the_same_before_and_after_configuration(make_rig: Rigs) -> None:
    """DPDK's driver tells a table of 0 entries and a key of 0 bytes at first."""
    rig = make_rig(revision=6, start=False)
    before = rig.port.info()
    rig.configure(4, 4, CONFIG)
    after = rig.port.info()
    assert (before.reta_size, before.hash_key_size) == (after.reta_size, after.hash_key_size) == (128, 40)
    assert before.flow_type_rss_offloads == after.flow_type_rss_offloads


def test_one_queue_has_nothing_to_spread(make_rig: Rigs) -> None:
    rig = make_rig(revision=4, config=CONFIG)
    assert rig.model.registers.rss is None
    assert rig.model.deliver(ip_frame(TCP)) == 0
    assert rig.receive() == [ip_frame(TCP)]
    assert rig.port.reta() == [0] * 64


@pytest.mark.parametrize("command", [CMD_UPDATE_RSSIDT, CMD_SET_RSS_FIELDS])
def test_a_refused_change_leaves_all_as_before(make_rig: Rigs, command: int) -> None:
    rig = make_rig(revision=4, rx_queues=2, config=CONFIG)
    before = rig.port.reta()
    rig.model.refuse(command)
    with pytest.raises(DeviceFault, match="the device refuses"):
        rig.port.set_reta({0: 1})
    with pytest.raises(DeviceFault, match="the device refuses"):
        rig.port.set_rss_hash(RssType.IPV4, bytes(40))
    assert rig.port.reta() == before
    assert rig.port.rss_hash().key == DEFAULT_KEY


def test_a_port_without_rss_has_neither_table_nor_key(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=2)
    with pytest.raises(UnsupportedError, match="multi-queue RSS is not enabled"):
        rig.port.reta()
