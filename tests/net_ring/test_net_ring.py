# SPDX-License-Identifier: BSD-3-Clause
"""net_ring: what is sent on a queue is received on the queue of the same number, and no mbuf is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.ethdev import Port, Ports, QueueCount
from pollmode.mbuf import Burst, Mempool, create_pool
from pollmode.net_ring import NodeAction

Attach = Callable[..., Port]


def make(pool: Mempool, n: int) -> Burst:
    burst = Burst(n)
    burst.alloc(pool, n)
    return burst


def test_packets_come_back_in_order_and_untouched(attach: Attach, pool: Mempool) -> None:
    port = attach("net_ring0")
    sent = make(pool, 32)
    for number, packet in enumerate(sent):
        packet.append(bytes([number]) * (number + 1))
    addresses = sent.addresses.tolist()
    assert port.tx(0, sent) == 32
    assert len(sent) == 0
    received = Burst(64)
    assert port.rx(0, received) == 32
    assert received.addresses.tolist() == addresses
    assert [bytes(packet.data) for packet in received] == [bytes([number]) * (number + 1) for number in range(32)]
    assert port.rx(0, Burst(1)) == 0
    received.free()
    assert pool.audit().available == 256


def test_a_full_ring_takes_no_more_and_the_sender_keeps_the_rest(attach: Attach, environment: Environment) -> None:
    pool = create_pool(environment.memory, "large", 1100, cache_size=0)
    port = attach("net_ring0", mbufs=pool)
    burst = make(pool, 1100)
    assert port.tx(0, burst) == 1023
    assert len(burst) == 77
    assert port.tx(0, burst) == 0
    received = Burst(77)
    assert port.rx(0, received) == 77
    assert port.tx(0, burst) == 77
    assert (port.stats().ipackets, port.stats().opackets) == (77, 1100)
    received.free()


def test_how_full_a_ring_is_shows_at_both_ends(attach: Attach, pool: Mempool) -> None:
    port = attach("net_ring0")
    assert port.rx_queue_count(0) == QueueCount(0, 1023)
    assert port.tx(0, make(pool, 40)) == 40
    assert port.rx_queue_count(0) == port.tx_queue_count(0) == QueueCount(40, 1023)
    received = Burst(30)
    assert port.rx(0, received) == 30
    received.free()
    assert port.tx_queue_count(0) == QueueCount(10, 1023)


def test_queues_are_rings_of_their_own(attach: Attach, pool: Mempool) -> None:
    port = attach("net_ring0", queues=16)
    for queue in range(16):
        assert port.tx(queue, make(pool, queue + 1)) == queue + 1
    for queue in reversed(range(16)):
        received = Burst(32)
        assert port.rx(queue, received) == queue + 1
        received.free()
    assert port.stats().q_ipackets == tuple(range(1, 17))
    assert port.stats().q_opackets == tuple(range(1, 17))
    port.reset_stats()
    assert port.stats().opackets == 0


def test_there_are_sixteen_queues(attach: Attach) -> None:
    with pytest.raises(ConfigError, match="17 Rx queues asked for, the device has 0 to 16"):
        attach("net_ring0", queues=17)


def test_packets_wait_over_stop_and_start(attach: Attach, pool: Mempool) -> None:
    port = attach("net_ring0")
    port.tx(0, make(pool, 5))
    port.stop()
    port.start()
    received = Burst(8)
    assert port.rx(0, received) == 5
    received.free()


def test_packets_left_in_the_rings_are_freed_with_them(attach: Attach, pool: Mempool, ports: Ports) -> None:
    port = attach("net_ring0", queues=2)
    port.tx(0, make(pool, 7))
    port.tx(1, make(pool, 9))
    assert pool.audit().out == 16
    port.stop()
    ports.remove(port)
    assert pool.audit().available == 256


def test_closing_gives_all_memory_back(attach: Attach, environment: Environment, ports: Ports) -> None:
    before = {zone.name for zone in environment.memory.zones()}
    port = attach("net_ring0", queues=8)
    port.stop()
    ports.remove(port)
    assert {zone.name for zone in environment.memory.zones()} == before
    attach("net_ring0")


def test_two_devices_on_the_same_rings(attach: Attach, pool: Mempool, ports: Ports) -> None:
    first = attach("net_ring0,nodeaction=loop:0:CREATE")
    second = attach("net_ring1,nodeaction=loop:0:ATTACH")
    assert first.tx(0, make(pool, 3)) == 3
    received = Burst(8)
    assert second.rx(0, received) == 3
    assert second.tx(0, received) == 3
    assert second.info().private_info["devices on the rings"] == "2"
    first.stop()
    ports.remove(first)
    assert second.rx(0, received) == 3, "the rings live as long as one device uses them"
    received.free()
    second.tx(0, make(pool, 4))
    second.stop()
    ports.remove(second)
    assert pool.audit().available == 256
    with pytest.raises(ConfigError, match="there are no rings named 'loop' to attach to"):
        attach("net_ring2,nodeaction=loop:0:ATTACH")


def test_rings_that_are_not_there_and_names_that_are_taken(attach: Attach, ports: Ports) -> None:
    with pytest.raises(ConfigError, match="no rings named 'a' to attach to; created: none; give one device nodeaction"):
        attach("net_ring0,nodeaction=a:0:ATTACH")
    attach("net_ring0,nodeaction=alpha:0:CREATE")
    with pytest.raises(ConfigError, match=r"no rings named 'alpho' to attach to \(did you mean 'alpha'\?\)"):
        attach("net_ring1,nodeaction=alpho:0:ATTACH")
    with pytest.raises(ConfigError, match="ETH_RXTX0_alpha"):
        attach("net_ring1,nodeaction=alpha:0:CREATE")
    assert len(ports) == 1


def test_a_link_set_down_passes_nothing(attach: Attach, pool: Mempool) -> None:
    port = attach("net_ring0")
    assert port.link().up
    port.set_link(False)
    assert not port.link().up
    burst = make(pool, 2)
    assert port.tx(0, burst) == 0
    port.set_link(True)
    assert port.tx(0, burst) == 2


def test_settings_are_taken(attach: Attach) -> None:
    port = attach("net_ring0")
    assert port.mac == bytes(6)
    port.set_mac(b"\x02\x00\x00\x00\x00\x07")
    port.set_mtu(9000)
    port.set_promiscuous(False)
    port.set_allmulticast(False)
    assert (port.mac[5], port.mtu, port.promiscuous, port.allmulticast) == (7, 9000, False, False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "it must be name:node:ATTACH or name:node:CREATE"),
        ("a:0", "it must be name:node:ATTACH or name:node:CREATE"),
        (":0:CREATE", "it must be name:node:ATTACH or name:node:CREATE"),
        ("a:x:CREATE", "the memory node 'x' must be a number"),
        ("a:-1:CREATE", "the memory node '-1' must be a number"),
        ("a:0:create", "the action 'create' must be ATTACH or CREATE"),
    ],
)
def test_a_wrong_nodeaction_is_named(text: str, told: str, attach: Attach, ports: Ports) -> None:
    with pytest.raises(ConfigError, match=told):
        attach(f"net_ring0,nodeaction={text}")
    assert len(ports) == 0


def test_nodeaction_is_read() -> None:
    assert NodeAction.parse("rings:1:ATTACH") == NodeAction("rings", 1, "ATTACH")


def test_what_was_taken_was_received_or_is_in_the_ring(attach: Attach, environment: Environment) -> None:
    pool = create_pool(environment.memory, "large", 3000, cache_size=0)
    port = attach("net_ring0", mbufs=pool)
    offered = taken = left = 0
    for count in (700, 700, 1, 600):
        burst = make(pool, count)
        offered, taken = offered + count, taken + port.tx(0, burst)
        left += len(burst)
        burst.free()
        received = Burst(300)
        port.rx(0, received)
        received.free()
    stats = port.stats()
    assert taken == stats.opackets == offered - left
    assert left > 0, "the ring was full"
    assert stats.opackets - stats.ipackets == pool.audit().out, "what is in the ring, and nothing else"
