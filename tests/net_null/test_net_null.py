# SPDX-License-Identifier: BSD-3-Clause
"""net_null: packets out of nowhere and into nowhere, counted, and no mbuf lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.ethdev import Port, Ports
from pollmode.mbuf import HEADROOM, Burst, Mempool, create_pool

Attach = Callable[..., Port]


@pytest.mark.parametrize("size", [1, 64, 1518, 2048])
def test_packets_have_the_size_asked_for_and_a_clean_header(size: int, attach: Attach, ports: Ports) -> None:
    attach("net_null0")
    port = attach(f"net_null1,size={size}")
    burst = Burst(8)
    assert port.rx(0, burst) == 8
    for field, value in {
        "data_len": size,
        "pkt_len": size,
        "data_off": HEADROOM,
        "port": 1,
        "refcnt": 1,
        "nb_segs": 1,
        "ol_flags": 0,
        "packet_type": 0,
        "next": 0,
        "vlan_tci": 0,
    }.items():
        assert burst.column(field).tolist() == [value] * 8, field
    burst.free()


def test_used_mbufs_come_out_with_clean_headers(attach: Attach, pool: Mempool) -> None:
    port = attach("net_null0")
    dirty = pool.column(np.dtype("u1"), 24)
    for offset in range(24):  # ol_flags to hash_rss: what a driver before may have left
        pool.column(np.dtype("u1"), 24 + offset)[:] = 0xA5
    assert (dirty == 0xA5).all()
    burst = Burst(32)
    assert port.rx(0, burst) == 32
    for field in ("ol_flags", "packet_type", "vlan_tci", "hash_rss"):
        assert not burst.column(field).any(), field
    burst.free()


def test_everything_sent_is_taken_counted_and_freed(attach: Attach, pool: Mempool) -> None:
    port = attach("net_null0,size=100")
    burst = Burst(32)
    for _ in range(20):
        port.rx(0, burst)
        assert port.tx(0, burst) == 32
    stats = port.stats()
    assert (stats.ipackets, stats.ibytes, stats.opackets, stats.obytes) == (640, 64000, 640, 64000)
    assert pool.audit().available == 256
    port.reset_stats()
    assert port.stats().ipackets == 0
    port.rx(0, burst)
    assert (port.stats().ipackets, port.stats().ibytes) == (32, 3200)
    burst.free()


def test_a_chain_is_freed_whole_and_counted_by_its_length(attach: Attach, pool: Mempool) -> None:
    port = attach("net_null0")
    burst = Burst(2)
    burst.alloc(pool, 2)
    burst[0].append(b"x" * 10)
    burst[1].append(b"y" * 20)
    burst[0].chain(burst.take(1))
    assert pool.audit().available == 254
    assert port.tx(0, burst) == 1
    assert (port.stats().opackets, port.stats().obytes) == (1, 30)
    assert pool.audit().available == 256


def test_an_empty_pool_gives_no_packets_and_is_counted(attach: Attach, environment: Environment) -> None:
    small = create_pool(environment.memory, "small", 40, cache_size=0)
    port = attach("net_null0", mbufs=small)
    first, second = Burst(32), Burst(32)
    assert port.rx(0, first) == 32
    assert port.rx(0, second) == 0
    assert port.stats().rx_nombuf == 32
    assert port.xstats()["rx_mbuf_allocation_errors"] == 32
    first.free()
    assert port.rx(0, second) == 32, "given back, they come again"
    second.free()


def test_copying_queues_write_zeros_over_what_was_in_the_mbufs(attach: Attach, pool: Mempool) -> None:
    port = attach("net_null0,size=100,copy=1")
    data = pool.column(np.dtype("u1"), 128 + HEADROOM + 99)
    data[:] = 0xA5
    beyond = pool.column(np.dtype("u1"), 128 + HEADROOM + 100)
    beyond[:] = 0xA5
    burst = Burst(32)
    assert port.rx(0, burst) == 32
    assert all(bytes(packet.data) == bytes(100) for packet in burst)
    assert (beyond == 0xA5).all()
    assert port.tx(0, burst) == 32
    assert pool.audit().available == 256


def test_copying_sends_no_more_than_the_packet_has(attach: Attach, pool: Mempool) -> None:
    port = attach("net_null0,size=64,copy=1")
    burst = Burst(2)
    burst.alloc(pool, 2)
    burst[0].append(b"x" * 10)
    burst[1].append(b"y" * 2000)
    assert port.tx(0, burst) == 2
    assert port.stats().obytes == 2010
    assert pool.audit().available == 256


def test_no_rx_receives_nothing_and_needs_no_room(attach: Attach, environment: Environment, pool: Mempool) -> None:
    tiny = create_pool(environment.memory, "tiny", 16, data_room=HEADROOM)
    port = attach("net_null0,no-rx=1,size=2000", mbufs=tiny)
    burst = Burst(8)
    assert port.rx(0, burst) == 0
    burst.alloc(pool, 8)
    assert port.tx(0, burst) == 8
    assert pool.audit().available == 256


def test_packets_that_do_not_fit_into_an_mbuf_are_refused(attach: Attach) -> None:
    with pytest.raises(ConfigError, match="pool pool has a data room of 2176 bytes, the device needs 2177"):
        attach("net_null0,size=2049")


def test_queues_count_for_themselves(attach: Attach) -> None:
    port = attach("net_null0", queues=4)
    burst = Burst(4)
    for queue in range(4):
        for _ in range(queue + 1):
            port.rx(queue, burst)
            port.tx(3 - queue, burst)
    stats = port.stats()
    assert stats.q_ipackets == (4, 8, 12, 16)
    assert stats.q_opackets == (16, 12, 8, 4)
    assert stats.q_ibytes == (256, 512, 768, 1024)
    assert port.xstats()["rx_q3_packets"] == 16
    assert port.xstats()["tx_q0_bytes"] == 1024


def test_counters_of_queues_that_are_not_set_up_are_zero(ports: Ports, environment: Environment, pool: Mempool) -> None:
    port = VdevBus(environment, ports).attach("net_null0")
    assert port.stats().q_ipackets == ()
    port.configure(3, 1)
    port.setup_rx_queue(1, 0, pool)
    assert port.stats().q_ipackets == (0, 0)
    assert port.xstats()["rx_q2_packets"] == 0


def test_the_highest_queue_works(attach: Attach) -> None:
    port = attach("net_null0", queues=1024)
    burst = Burst(4)
    assert port.rx(1023, burst) == 4
    assert port.tx(1023, burst) == 4
    assert port.stats().q_opackets[1023] == 4


def test_the_link_is_up_while_started(attach: Attach) -> None:
    port = attach("net_null0")
    assert str(port.link()) == "Link up at 10 Gbps FDX Fixed"
    port.stop()
    assert not port.link().up


def test_it_is_promiscuous_and_cannot_be_otherwise(attach: Attach) -> None:
    port = attach("net_null0")
    assert port.promiscuous
    assert port.allmulticast
    port.set_promiscuous(True)
    with pytest.raises(UnsupportedError, match="net_null0: driver net_null cannot switch promiscuous mode"):
        port.set_promiscuous(False)
    assert port.promiscuous


def test_addresses_are_random_local_and_settable(attach: Attach) -> None:
    first, second = attach("net_null0"), attach("net_null1")
    assert first.mac != second.mac
    assert first.mac[0] & 3 == 2
    first.set_mac(second.mac)
    assert first.mac == second.mac


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("net_null0,size=0", "size=0 is not valid: it must be from 1 to 65535"),
        ("net_null0,size=65536", "size=65536 is not valid"),
        ("net_null0,size=big", "size=big is not valid: it must be an integer"),
        ("net_null0,copy=2", "copy=2 is not valid: it must be 0 or 1"),
        ("net_null0,no-rx=yes", "no-rx=yes is not valid"),
        ("net_null0,size", "'size' has no value"),
        ("net_null0,size=64,size=64", "'size' is given twice"),
        ("net_null0,sise=64", r"unknown argument 'sise' \(did you mean 'size'\?\); it takes copy, no-rx, size"),
    ],
)
def test_devargs_that_are_wrong_are_named_and_leave_nothing(text: str, told: str, attach: Attach, ports: Ports) -> None:
    with pytest.raises(ConfigError, match=told):
        attach(text)
    assert len(ports) == 0


def test_dpdks_old_name_works(attach: Attach) -> None:
    assert attach("eth_null7").device.driver_name == "net_null"


def test_closing_gives_all_memory_back(attach: Attach, environment: Environment, ports: Ports) -> None:
    before = {zone.name for zone in environment.memory.zones()}
    port = attach("net_null0,copy=1", queues=8)
    port.stop()
    ports.remove(port)
    assert {zone.name for zone in environment.memory.zones()} == before


def test_what_was_asked_for_came_or_found_no_mbuf(attach: Attach, environment: Environment) -> None:
    small = create_pool(environment.memory, "small", 100, cache_size=0)
    port = attach("net_null0", mbufs=small)
    kept = [Burst(30) for _ in range(5)]
    received = sum(port.rx(0, burst) for burst in kept)
    sent = sum(port.tx(0, burst) for burst in kept[:2])
    stats = port.stats()
    assert (stats.ipackets, stats.rx_nombuf) == (received, 150 - received) == (90, 60)
    assert stats.opackets == sent == 60
    for burst in kept:
        burst.free()
    assert small.audit().out == 0
