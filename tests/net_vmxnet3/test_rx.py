# SPDX-License-Identifier: BSD-3-Clause
"""Receiving from a device that keeps the rules: one buffer, several, both rings, the data ring, an empty pool."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import MAC, RX_RING, Rig, frame

from pollmode.ethdev import PortConfig, RxOffload
from pollmode.mbuf import Packet
from pollmode.net_vmxnet3.layout import MIN_HEAD_BUFFER

Rigs = Callable[..., Rig]
SCATTER = PortConfig(rx_offloads=RxOffload.SCATTER)
REVISIONS = pytest.mark.parametrize("revision", range(1, 8))


@REVISIONS
def test_frames_of_all_sizes_arrive_unchanged_and_in_order(make_rig: Rigs, revision: int) -> None:
    rig = make_rig(revision=revision)
    sizes = [14, 15, 60, 64, 127, 128, 129, 255, 256, 257, 1500, 1514, 1518]
    sent = [frame(size, number=number) for number, size in enumerate(sizes)]
    assert [rig.model.deliver(data) for data in sent] == [0] * len(sent)
    assert rig.receive() == sent
    assert rig.receive() == []
    stats = rig.port.stats()
    assert (stats.ipackets, stats.ibytes, stats.ierrors, stats.imissed) == (len(sent), sum(sizes), 0, 0)


def test_both_rings_go_around_many_times(make_rig: Rigs) -> None:
    rig = make_rig(revision=2, config=SCATTER, data_room=128 + 256, mbufs=600)
    for number in range(5 * RX_RING):
        sent = frame(14 + number * 37 % 1500, number=number)
        assert rig.model.deliver(sent) == 0
        assert rig.receive() == [sent], number
    assert rig.broken == []


def test_a_burst_takes_no_more_than_was_asked_for(rig: Rig) -> None:
    sent = [frame(number=number) for number in range(10)]
    for data in sent:
        rig.model.deliver(data)
    assert rig.receive(4) == sent[:4]
    assert rig.receive(4) == sent[4:8]
    assert rig.receive(4) == sent[8:]


@pytest.mark.parametrize("revision", [1, 3])
def test_a_frame_longer_than_a_buffer_is_a_chain(make_rig: Rigs, revision: int) -> None:
    room = MIN_HEAD_BUFFER
    rig = make_rig(revision=revision, config=SCATTER, data_room=128 + room)
    for size, segments in ((512, 4), (room + 1 + 256, 4), (room * 5, 5), (room * 5 + 1, 6)):
        sent = frame(size)
        rig.model.deliver(sent)
        (packet,) = rig.packets()
        assert bytes(packet) == sent
        assert packet.nb_segs == segments
        assert [len(segment) for segment in packet.segments][:-1] == [room] * (segments - 1)
        packet.free()
    assert rig.broken == []


def test_a_chain_may_come_in_two_bursts(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER, data_room=128 + 128)
    sent = frame(300)
    rig.model.deliver(sent)
    queue = rig.device.queues("rx")[0]
    entries = queue.record["comp"] + 16  # the second completion is held back and shown later
    word = ctypes.c_uint64.from_address(int(entries) + 8)
    shown, word.value = word.value, 0
    assert rig.receive() == []
    assert queue.record["head"] != 0
    word.value = shown
    assert rig.receive() == [sent]


def test_without_scatter_a_longer_frame_is_lost_by_the_device(rig: Rig) -> None:
    assert rig.model.deliver(frame(3000)) is None
    assert rig.port.stats().imissed == 1
    rig.model.deliver(frame())
    assert rig.receive() == [frame()]


def test_a_device_out_of_buffers_counts_what_it_loses(rig: Rig) -> None:
    results = [rig.model.deliver(frame(number=number)) for number in range(RX_RING + 10)]
    assert results.count(0) == RX_RING - 1  # one descriptor always stays empty
    assert rig.port.stats().imissed == 11
    assert len(rig.receive(2 * RX_RING)) == RX_RING - 1
    assert rig.model.deliver(frame()) == 0
    assert rig.receive() == [frame()]


def test_a_ring_that_could_not_be_refilled_is_refilled_later(make_rig: Rigs) -> None:
    """DPDK 8fce14b789."""
    rig = make_rig(revision=1, mbufs=RX_RING + 8)
    kept: list[Packet] = []
    while rig.model.deliver(frame(number=len(kept))) == 0:
        kept += rig.packets()
    assert len(kept) == rig.pool.count
    assert rig.port.stats().rx_nombuf > 0
    assert rig.port.xstats()["rx_q0_rx_buf_alloc_failure"] == rig.port.stats().rx_nombuf
    assert rig.receive() == []
    for packet in kept:
        packet.free()
    assert rig.receive() == []  # an empty burst fills the ring again
    assert rig.model.deliver(frame()) == 0
    assert rig.receive() == [frame()]


def test_a_pool_too_small_for_the_ring_starts_all_the_same(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, mbufs=16)
    for number in range(40):
        assert rig.model.deliver(frame(number=number)) == 0
        assert rig.receive() == [frame(number=number)]


def test_small_frames_come_by_the_data_ring_of_revision_3(make_rig: Rigs) -> None:
    rig = make_rig(revision=3)
    before = rig.model.record("rx", 0)["ring0"]["next"]
    for size in (14, 64, 256):
        rig.model.deliver(frame(size))
    assert rig.receive() == [frame(14), frame(64), frame(256)]
    assert rig.model.record("rx", 0)["ring0"]["next"] == before + 3
    assert rig.device.info().private_info["rx_path"].startswith("vmxnet3_rx_data")


def test_several_queues_are_filled_and_polled_on_their_own(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, rx_queues=4, tx_queues=4)
    for queue in range(4):
        for number in range(3 + queue):
            assert rig.model.deliver(frame(number=16 * queue + number), queue=queue) == queue
    for queue in range(4):
        assert rig.receive(queue=queue) == [frame(number=16 * queue + number) for number in range(3 + queue)]
    assert rig.port.stats().q_ipackets == (3, 4, 5, 6)


def test_the_device_is_told_of_new_buffers_only_if_it_wants(make_rig: Rigs) -> None:
    quiet, told = make_rig(revision=1, wants_rx_doorbells=False), make_rig(revision=1)
    for rig in (quiet, told):
        before = int(rig.device.queues("rx")[0].record["kicks"])
        for number in range(4 * RX_RING):
            rig.model.deliver(frame(number=number))
            assert rig.receive() == [frame(number=number)]
        rang = int(rig.device.queues("rx")[0].record["kicks"]) - before
        assert (rang > 0) == (rig is told)


def test_a_received_packet_knows_its_port_and_has_its_headroom(rig: Rig) -> None:
    rig.model.deliver(frame())
    (packet,) = rig.packets()
    assert (packet.port, packet.headroom, packet.nb_segs, packet.pkt_len) == (rig.port.id, 128, 1, 64)
    assert bytes(packet)[:6] == MAC
    packet.free()
