# SPDX-License-Identifier: BSD-3-Clause
"""Sending: single and chained packets, the data ring, doorbells, a full ring, packets that can never be sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import TX_RING, Rig, frame

from pollmode.mbuf import Packet, create_pool
from pollmode.net_vmxnet3.layout import MAX_SEGMENTS

Rigs = Callable[..., Rig]


@pytest.mark.parametrize("revision", range(1, 8))
def test_frames_of_all_sizes_leave_unchanged_and_in_order(make_rig: Rigs, revision: int) -> None:
    rig = make_rig(revision=revision)
    sizes = [1, 14, 60, 64, 127, 128, 129, 1500, 1514, 2000]
    frames = [(frame(2000, number=number))[:size] for number, size in enumerate(sizes)]
    assert rig.send(*(rig.packet(data) for data in frames)) == len(frames)
    assert [sent.frame for sent in rig.model.collect()] == frames
    assert rig.model.collect() == []
    stats = rig.port.stats()
    assert (stats.opackets, stats.obytes, stats.oerrors) == (len(frames), sum(sizes), 0)


def test_the_ring_goes_around_many_times(rig: Rig) -> None:
    for number in range(4 * TX_RING):
        data = frame(14 + number * 29 % 1400, number=number)
        middle = len(data) // 2
        assert rig.send(rig.packet(data) if number % 3 else rig.packet(data[:middle], data[middle:])) == 1
        assert [sent.frame for sent in rig.model.collect()] == [data], number
    assert rig.broken == []


def test_small_packets_are_copied_and_free_at_once(rig: Rig) -> None:
    before = rig.pool.in_use()
    rig.send(rig.packet(frame(64)), rig.packet(frame(128)))
    assert rig.pool.in_use() == before
    rig.send(rig.packet(frame(129)))
    assert rig.pool.in_use() == before + 1
    assert [len(sent.frame) for sent in rig.model.collect()] == [64, 128, 129]


@pytest.mark.parametrize("segments", [2, 3, MAX_SEGMENTS])
def test_a_chain_is_one_frame(rig: Rig, segments: int) -> None:
    data = frame(segments * 70)
    packet = rig.packet(*(data[start : start + 70] for start in range(0, len(data), 70)))
    assert rig.send(packet) == 1
    (sent,) = rig.model.collect()
    assert (sent.frame, sent.descriptors) == (data, segments)
    assert rig.broken == []


def test_a_chain_too_long_is_dropped_and_counted(rig: Rig) -> None:
    pieces = [frame(64)] + [b"x"] * MAX_SEGMENTS
    assert rig.send(rig.packet(*pieces), rig.packet(frame())) == 2
    assert [sent.frame for sent in rig.model.collect()] == [frame()]
    assert rig.port.xstats()["tx_q0_drop_too_many_segs"] == 1
    assert rig.port.stats().oerrors == 1


@pytest.mark.parametrize("place", ["first", "middle", "last", "all but one"])
def test_empty_segments_need_no_descriptor(rig: Rig, place: str) -> None:
    """DPDK b44f3e1381."""
    data = frame(200)
    pieces = {
        "first": [b"", data[:100], data[100:]],
        "middle": [data[:100], b"", data[100:]],
        "last": [data[:100], data[100:], b""],
        "all but one": [b"", b"", data, b""],
    }[place]
    for _ in range(2 * TX_RING // 2):
        assert rig.send(rig.packet(*pieces)) == 1
        (sent,) = rig.model.collect()
        assert (sent.frame, sent.descriptors) == (data, len([piece for piece in pieces if piece]))
    assert rig.broken == []


def test_a_packet_of_nothing_is_dropped_and_counted(rig: Rig) -> None:
    assert rig.send(rig.packet(b""), rig.packet(b"", b""), rig.packet(frame())) == 3
    assert [sent.frame for sent in rig.model.collect()] == [frame()]
    assert rig.port.xstats()["tx_q0_drop_empty"] == 2
    assert rig.port.xstats()["tx_q0_drop_total"] == 2


def test_a_large_segment_takes_several_descriptors(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, data_room=128 + 40000, mbufs=300)
    data = frame(40000)
    assert rig.send(rig.packet(data)) == 1
    (sent,) = rig.model.collect()
    assert (sent.frame, sent.descriptors) == (data, 3)


def test_a_full_ring_takes_what_fits_and_loses_nothing(rig: Rig) -> None:
    taken = 0
    for _ in range(40):
        taken += rig.send(*(rig.packet(frame(130)) for _ in range(16)))
    assert taken == TX_RING - 1
    assert rig.port.xstats()["tx_q0_tx_ring_full"] > 0
    assert len(rig.model.collect()) == TX_RING - 1
    assert rig.send(*(rig.packet(frame(130)) for _ in range(16))) == 16
    assert len(rig.model.collect()) == 16


def test_a_chain_waits_for_room_rather_than_be_dropped(rig: Rig) -> None:
    while rig.send(rig.packet(frame(130))):
        pass
    assert rig.model.drain(4) == 4
    data = frame(1000)
    pieces = [data[start : start + 100] for start in range(0, 1000, 100)]
    assert rig.send(rig.packet(*pieces)) == 0
    assert rig.model.drain(10) == 10
    assert rig.send(rig.packet(*pieces)) == 1
    assert rig.model.collect()[-1].frame == data
    assert rig.port.stats().oerrors == 0


def test_shared_indirect_and_foreign_packets_are_freed_rightly(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, mbufs=2048)
    other = create_pool(rig.environment.memory, "other", 64, cache_size=0)
    original = rig.packet(frame(500))
    clone = original.clone()
    rig.send(clone, Packet.alloc(other, frame(600)), original, rig.packet(frame(700)))
    assert [len(sent.frame) for sent in rig.model.collect()] == [500, 600, 500, 700]
    before = rig.pool.in_use()
    while rig.send(rig.packet(frame(130))):  # a full ring reclaims
        pass
    rig.model.collect()
    rig.send(*(rig.packet(frame(64)) for _ in range(TX_RING)))
    assert other.in_use() == 0
    assert rig.pool.in_use() < before
    rig.model.collect()


def test_the_device_is_told_when_as_many_wait_as_it_wants(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, threshold=8)
    for number in range(7):
        rig.send(rig.packet(frame(number=number)))
        assert rig.model.collect() == []
    rig.send(rig.packet(frame(number=7)))
    assert [sent.frame for sent in rig.model.collect()] == [frame(number=number) for number in range(8)]
    assert rig.device.queues("tx")[0].record["kicks"] == 1


def test_a_full_ring_is_announced_whatever_the_threshold(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, threshold=0xFFFFFFFF)
    while rig.send(*(rig.packet(frame()) for _ in range(16))) == 16:
        pass
    assert len(rig.model.collect()) == TX_RING - 1


def test_several_queues_send_on_their_own(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=4, tx_queues=8)
    for queue in range(8):
        rig.send(*(rig.packet(frame(number=number)) for number in range(queue)), queue=queue)
    for queue in range(8):
        assert [sent.frame for sent in rig.model.collect(queue)] == [frame(number=number) for number in range(queue)]
    assert rig.port.stats().q_opackets == tuple(range(8))


def test_what_was_not_completed_comes_back_when_the_port_stops(rig: Rig) -> None:
    rig.send(*(rig.packet(frame(500), b"tail") for _ in range(10)))
    assert rig.pool.in_use() > 20
    rig.port.stop()
    assert rig.pool.in_use() == 0
