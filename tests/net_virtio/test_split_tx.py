# SPDX-License-Identifier: BSD-3-Clause
"""Transmitting on a split ring: where the header goes, chains, indirect tables, a full ring, whose mbufs are freed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_virtio.rigs import FRAME, TxRig

from pollmode.eal.memory import Memory
from pollmode.ethdev import QueueCount
from pollmode.mbuf import Mempool, Packet, create_pool
from pollmode.mbuf.layout import TX_VLAN

Rigs = Callable[..., TxRig]

PLAIN = bytes(12)
VARIANTS = pytest.mark.parametrize(
    "variant",
    [{}, {"indirect": True}, {"header": 10}, {"layout": False}],
    ids=["plain", "indirect", "legacy", "header apart"],
)


def frame(size: int, number: int = 0) -> bytes:
    return FRAME[:14] + bytes((number + place) & 0xFF for place in range(size - 14))


def chained(pool: Mempool, *parts: bytes) -> Packet:
    first, *rest = (Packet.alloc(pool, part) for part in parts)
    for segment in rest:
        first.chain(segment)
    return first


def collect(rig: TxRig, variant: dict[str, object] | None = None) -> list[bytes]:
    header = int((variant or {}).get("header", 12))  # type: ignore[call-overload]  # an int or absent
    sent = rig.host.collect(header)
    assert all(packet.header == bytes(header) for packet in sent)
    return [packet.frame for packet in sent]


@VARIANTS
def test_a_frame_goes_out_as_it_is(tx_rig: Rigs, pool: Mempool, variant: dict[str, object]) -> None:
    rig = tx_rig(**variant)
    assert rig.send(Packet.alloc(pool, FRAME)) == 1
    assert collect(rig, variant) == [FRAME]


def test_a_packet_of_its_own_takes_one_descriptor_with_the_header_before_the_data(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    packet = Packet.alloc(pool, FRAME)
    data = int(packet.record["buf_addr"]) + int(packet.record["data_off"])
    rig.send(packet)
    (buffer,) = rig.host.chain(rig.host.take())
    assert (buffer.address, buffer.length, buffer.flags) == (data - 12, 12 + len(FRAME), 0)


def test_a_stale_header_in_the_headroom_is_cleared(tx_rig: Rigs, pool: Mempool) -> None:
    for header in (10, 12):
        rig = tx_rig(header=header)
        packet = Packet.alloc(pool, b"\xa5" * 20 + FRAME)
        packet.adj(20)
        rig.send(packet)
        assert rig.host.collect(header)[0].header == bytes(header)


@VARIANTS
def test_a_long_packet_is_a_chain(tx_rig: Rigs, pool: Mempool, variant: dict[str, object]) -> None:
    rig = tx_rig(**variant)
    parts = frame(2000), frame(2000, 1), frame(500, 2)
    assert rig.send(chained(pool, *parts)) == 1
    assert collect(rig, variant) == [b"".join(parts)]
    apart = variant.get("layout") is False
    assert rig.queue.record["free"] == (15 if variant.get("indirect") else 12 if apart else 13)


@VARIANTS
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_an_empty_segment_is_left_out(tx_rig: Rigs, pool: Mempool, variant: dict[str, object], place: int) -> None:
    rig = tx_rig(**variant)
    parts = [frame(100), frame(200)]
    whole = b"".join(parts)
    parts.insert(place, b"")
    assert rig.send(chained(pool, *parts), Packet.alloc(pool, FRAME)) == 2
    assert collect(rig, variant) == [whole, FRAME]


def test_a_packet_of_nothing_is_dropped_and_freed(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    assert rig.send(Packet.alloc(pool), chained(pool, b"", b""), Packet.alloc(pool, FRAME)) == 3
    assert collect(rig) == [FRAME]
    assert rig.queue.counters().errors == 2
    assert pool.in_use() == 1  # the one that was sent and not reclaimed yet


def test_a_shared_mbuf_is_not_written_to_and_outlives_the_transmission(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    packet = Packet.alloc(pool, b"\xa5" * 20 + FRAME)
    packet.adj(20)
    packet.record["refcnt"] = 2
    assert rig.send(Packet(packet.address)) == 1
    (sent,) = rig.host.collect()
    assert (sent.buffers, sent.header, sent.frame) == (2, PLAIN, FRAME)
    reclaim(rig, pool)
    assert packet.record["refcnt"] == 1
    assert bytes(packet) == FRAME
    packet.free()


def test_a_clone_is_sent_and_its_original_stays(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    packet = Packet.alloc(pool, FRAME)
    assert rig.send(packet.clone()) == 1
    assert collect(rig) == [FRAME]
    reclaim(rig, pool)
    assert packet.record["refcnt"] == 1
    packet.free()


@pytest.mark.parametrize("indirect", [True, False])
def test_without_headroom_the_header_has_a_buffer_of_its_own(tx_rig: Rigs, pool: Mempool, indirect: bool) -> None:
    rig = tx_rig(indirect=indirect)
    packet = Packet.alloc(pool, FRAME)
    packet.prepend(bytes(120))
    whole = bytes(packet)
    assert rig.send(packet) == 1
    (sent,) = rig.host.collect()
    assert (sent.buffers, sent.header, sent.frame) == (2, PLAIN, whole)


@VARIANTS
def test_a_full_ring_leaves_the_rest_to_the_caller(tx_rig: Rigs, pool: Mempool, variant: dict[str, object]) -> None:
    rig = tx_rig(**variant)
    packets = [Packet.alloc(pool, frame(60, number)) for number in range(20)]
    took = rig.offer(packets)
    assert took == (8 if variant.get("layout") is False else 16)
    assert collect(rig, variant) == [frame(60, number) for number in range(took)]
    assert rig.offer(packets[took:]) == min(took, 20 - took)
    collect(rig, variant)
    for packet in packets[2 * took :]:
        packet.free()


def test_a_chain_that_finds_too_little_room_waits_and_is_not_torn(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    rig.send(*(Packet.alloc(pool, FRAME) for _ in range(14)))
    long = chained(pool, frame(100), frame(100), frame(100))
    assert rig.offer([long]) == 0
    assert rig.queue.record["free"] == 2
    assert len(rig.host.collect()) == 14
    assert rig.send(long) == 1
    assert [len(sent.frame) for sent in rig.host.collect()] == [300]


def test_a_chain_longer_than_the_ring_is_dropped(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    assert rig.send(chained(pool, *(frame(20) for _ in range(17))), Packet.alloc(pool, FRAME)) == 2
    assert collect(rig) == [FRAME]
    assert rig.queue.counters().errors == 1


def test_the_longest_chain_fills_the_ring(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig(indirect=True)  # too long for an indirect table
    parts = [frame(20, number) for number in range(16)]
    assert rig.send(chained(pool, *parts)) == 1
    assert rig.queue.record["free"] == 0
    assert collect(rig) == [b"".join(parts)]


@VARIANTS
def test_round_and_round_with_every_kind_of_packet(tx_rig: Rigs, pool: Mempool, variant: dict[str, object]) -> None:
    rig = tx_rig(**variant)
    expected: list[bytes] = []
    got: list[bytes] = []
    for number in range(60):
        parts = [frame(30 + number, number)] * (1 + number % 4)
        expected.append(b"".join(parts))
        assert rig.send(chained(pool, *parts)) == 1
        if number % 3 == 2:
            got += collect(rig, variant)
    got += collect(rig, variant)
    assert got == expected
    assert rig.queue.counters().bytes == sum(map(len, expected))


def test_descriptors_come_back_in_any_order(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    for number in range(30):
        rig.send(*(Packet.alloc(pool, frame(60, number + k)) for k in range(4)))
        taken = [rig.host.take() for _ in range(4)]
        rig.host.use((identity, 0) for identity in reversed(taken))
    assert rig.queue.counters().packets == 120
    assert rig.queue.fault() is None


def test_packets_of_several_pools_go_home(tx_rig: Rigs, memory: Memory, pool: Mempool) -> None:
    rig = tx_rig()
    other = create_pool(memory, "other", 64, cache_size=0)
    for _ in range(10):
        assert rig.send(Packet.alloc(pool, FRAME), Packet.alloc(other, FRAME), Packet.alloc(pool, FRAME)) == 3
        assert collect(rig) == [FRAME] * 3
    rig.queue.end(rig.lcore)
    assert pool.in_use() == other.in_use() == 0


def test_the_queue_follows_the_traffic_to_another_pool(tx_rig: Rigs, memory: Memory, pool: Mempool) -> None:
    rig = tx_rig()
    other = create_pool(memory, "other", 64, cache_size=0)
    for home in (pool, other, pool):
        for _ in range(6):
            rig.send(*(Packet.alloc(home, FRAME) for _ in range(4)))
            rig.host.collect()
        assert rig.queue.record["pool"] == home.address
    rig.queue.end(rig.lcore)
    assert pool.in_use() == other.in_use() == 0


def test_a_tag_is_put_into_the_frame(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    packet = Packet.alloc(pool, FRAME)
    packet.ol_flags, packet.vlan_tci = TX_VLAN, 0x2007
    shared = Packet.alloc(pool, FRAME)
    shared.ol_flags = TX_VLAN
    shared.record["refcnt"] = 2
    assert rig.send(packet, Packet(shared.address)) == 2
    assert collect(rig) == [FRAME[:12] + bytes.fromhex("8100 2007") + FRAME[12:]]
    assert rig.queue.counters().errors == 1  # who shares an mbuf must not write to it
    shared.free()


def test_frames_are_counted_by_size_and_kind(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig(entries=32)
    sizes = [60, 64, 65, 128, 256, 512, 1024, 1519]
    rig.send(*(Packet.alloc(pool, frame(size)) for size in sizes))
    rig.send(Packet.alloc(pool, b"\xff" * 6 + FRAME[6:]), Packet.alloc(pool, b"\x01" + FRAME[1:]))
    rig.send(chained(pool, frame(1000), frame(1000)))
    counters = rig.queue.counters()
    assert (counters.packets, counters.bytes) == (11, sum(sizes) + 120 + 2000)
    assert (counters.broadcast, counters.multicast) == (1, 1)
    assert list(counters.bins.values()) == [3, 1, 1, 1, 1, 1, 1, 2]


def test_the_host_is_kicked_once_a_burst_and_only_when_it_asks(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    rig.send(*(Packet.alloc(pool, FRAME) for _ in range(5)))
    assert rig.queue.record["kicks"] == 1
    rig.host.want_kicks(False)
    rig.send(*(Packet.alloc(pool, FRAME) for _ in range(5)))
    assert rig.queue.record["kicks"] == 1


def reclaim(rig: TxRig, pool: Mempool) -> None:
    """Have everything reclaimed that the host returned: a quarter of the ring makes the driver do it."""
    for _ in range(4):
        rig.send(Packet.alloc(pool, FRAME))
    rig.host.collect()
    rig.send(Packet.alloc(pool, FRAME))


def test_how_full_the_ring_is_is_what_the_device_has_not_sent(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    assert rig.queue.count() == QueueCount(0, rig.queue.entries)
    assert rig.send(*(Packet.alloc(pool, FRAME) for _ in range(5))) == 5
    assert rig.queue.count() == QueueCount(5, rig.queue.entries)
    assert len(rig.host.collect(limit=3)) == 3
    assert rig.queue.count() == QueueCount(2, rig.queue.entries)
    rig.host.set_used_index(9999)  # a device that lies
    assert rig.queue.count() == QueueCount(rig.queue.entries, rig.queue.entries)
