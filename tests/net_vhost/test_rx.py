# SPDX-License-Identifier: BSD-3-Clause
"""Receiving what a front end transmits: every legal shape of a packet comes out whole, in order, counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from support.net_vhost_rig import EVENTS, LEGACY, MERGEABLE, MODERN, Rig, frame

from pollmode.net_vhost.queue import RX
from pollmode.vhost.pacing import FEW, STREAM


@pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
@pytest.mark.parametrize("size", [14, 15, 60, 64, 65, 127, 1518, 2048])
def test_packet_in_one_descriptor_arrives_unchanged(make_rig: Callable[..., Rig], features: int, size: int) -> None:
    rig = make_rig(RX, features)
    head = rig.ring.post([rig.buffer(bytes(rig.header) + frame(size))], writable=False)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(size)]
    assert rig.ring.used_index == 1
    assert rig.ring.used_entry(0) == (head, 0)


def test_burst_keeps_the_order_and_stops_at_what_was_asked(rx: Rig) -> None:
    for seed in range(5):
        rx.ring.post([rx.buffer(bytes(12) + frame(64, seed))], writable=False)
    assert rx.run(3) == 3
    assert rx.frames(3) == [frame(64, seed) for seed in range(3)]
    assert rx.run(32) == 2
    assert rx.frames(2) == [frame(64, seed) for seed in (3, 4)]
    assert rx.run(32) == 0
    assert rx.out == 0


@pytest.mark.parametrize("cuts", [(12,), (5,), (5, 9), (3, 6, 9, 12, 40), (20,), (1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
def test_header_and_data_spread_over_descriptors(rx: Rig, cuts: tuple[int, ...], indirect: bool) -> None:
    """CVE-2022-2132: the header may lie in several descriptors."""
    data = bytes(12) + frame(200)
    edges = [0, *cuts, len(data)]
    pieces = [rx.buffer(data[begin:end]) for begin, end in itertools.pairwise(edges)]
    (rx.ring.post_indirect if indirect else rx.ring.post)(pieces, writable=False)
    assert rx.run() == 1
    assert rx.frames(1) == [frame(200)]
    assert rx.queue.fault() is None


def test_empty_descriptors_in_a_chain_add_nothing_wherever_they_point(rx: Rig) -> None:
    """CVE-2020-10725: an address with length 0 is never used."""
    nowhere = (0xDEAD_0000_0000, 0)
    rx.ring.post([nowhere, rx.buffer(bytes(12)), nowhere, rx.buffer(frame(64)), nowhere], writable=False)
    assert rx.run() == 1
    assert rx.frames(1) == [frame(64)]
    assert rx.queue.fault() is None


def test_plain_descriptor_may_lead_to_an_indirect_table(rx: Rig) -> None:
    """virtio 1.2, 2.7.5.3.2: zero or more plain descriptors, then one indirect."""
    table = rx.ring.post_indirect([rx.buffer(frame(64))], writable=False)
    rx.ring.set_avail_index(0)
    rx.ring.descriptor(7, *rx.buffer(bytes(12)), 1, table)
    rx.ring.offer(7)
    assert rx.run() == 1
    assert rx.frames(1) == [frame(64)]


@pytest.mark.parametrize("size", [2049, 4096, 9018, 40000, 65549])
def test_long_packet_is_chained_over_mbufs(make_rig: Callable[..., Rig], size: int) -> None:
    rig = make_rig(RX, MERGEABLE, num=64)
    data = bytes(12) + frame(size)
    rig.ring.post([rig.buffer(data[at : at + 3000]) for at in range(0, len(data), 3000)], writable=False)
    assert rig.run() == 1
    assert rig.out == -(-size // 2048)
    assert rig.frames(1) == [frame(size)]
    assert rig.out == 0


def test_buffer_across_two_regions_is_read_from_both(make_rig: Callable[..., Rig]) -> None:
    """CVE-2018-1059: what is contiguous for the guest need not be for us."""
    rig = make_rig(RX, regions=3, size=1 << 16)
    data = bytes(12) + frame(300)
    edge = rig.guest.start(1) - 100
    rig.guest.write(edge, data)
    rig.ring.post([(edge, len(data))], writable=False)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(300)]


def test_packets_alternating_between_regions(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, regions=8, size=1 << 16)
    for seed in range(8):
        rig.ring.post([rig.buffer(bytes(12) + frame(64, seed), region=seed)], writable=False)
    assert rig.run() == 8
    assert rig.frames(8) == [frame(64, seed) for seed in range(8)]


def test_buffer_up_to_the_last_byte_of_memory(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, size=1 << 16)
    data = bytes(12) + frame(61)
    rig.guest.write(rig.guest.end - len(data), data)
    rig.ring.post([(rig.guest.end - len(data), len(data))], writable=False)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(61)]


@pytest.mark.parametrize("size", [0, 1, 13])
def test_packet_shorter_than_an_ethernet_header_is_dropped_and_counted(rx: Rig, size: int) -> None:
    rx.ring.post([rx.buffer(bytes(12) + frame(14)[:size])], writable=False)
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    assert rx.run() == 1
    assert rx.frames(1) == [frame(64)]
    assert rx.ring.used_index == 2
    assert (rx.counts()["errors"], rx.counts()["packets"], rx.out) == (1, 1, 0)


def test_packet_longer_than_any_frame_is_dropped_and_counted(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    place, _ = rig.buffer(bytes(12) + frame(100))
    rig.ring.post([(place, 40000), (place, 40000)], writable=False)
    assert rig.run() == 0
    assert (rig.counts()["errors"], rig.ring.used_index, rig.out) == (1, 1, 0)


def test_empty_pool_leaves_packets_in_the_ring(rx: Rig) -> None:
    for seed in range(4):
        rx.ring.post([rx.buffer(bytes(12) + frame(64, seed))], writable=False)
    held = rx.pool.get(64)
    assert rx.run() == 0
    assert (rx.counts()["nombuf"], rx.ring.used_index) == (4, 0)
    rx.pool.put(held)
    assert rx.run() == 4
    assert rx.frames(4) == [frame(64, seed) for seed in range(4)]


def test_pool_too_small_for_a_long_packet_leaves_it_in_the_ring(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX)
    rig.ring.post([rig.buffer(bytes(12) + frame(64))], writable=False)
    rig.ring.post([rig.buffer(bytes(12) + frame(9000))], writable=False)
    held = rig.pool.get(60)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(64)]
    assert (rig.ring.used_index, rig.counts()["nombuf"]) == (1, 1)
    rig.pool.put(held)
    assert rig.run() == 1
    assert rig.frames(1) == [frame(9000)]
    assert rig.out == 0


def test_ring_indexes_wrap_at_16_bits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, num=4)
    rig.guest.write(rig.ring.used + 2, b"\xfe\xff")
    rig.ring.set_avail_index(0xFFFE)
    rig.ring._used_index = 0xFFFE
    rig.queue.bind(rig.vring, MERGEABLE)
    for seed in range(12):
        rig.ring.post([rig.buffer(bytes(12) + frame(64, seed))], writable=False)
        assert rig.run() == 1
        assert rig.frames(1) == [frame(64, seed)]
        assert len(rig.ring.collect()) == 1
    assert rig.ring.used_index == 10


def test_sizes_and_groups_are_counted(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, num=16)
    sizes = [20, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518, 1519]
    for size in sizes:
        rig.ring.post([rig.buffer(bytes(12) + frame(size))], writable=False)
    rig.ring.post([rig.buffer(bytes(12) + b"\xff" * 6 + frame(64)[6:])], writable=False)
    rig.ring.post([rig.buffer(bytes(12) + b"\x33" + frame(64)[1:])], writable=False)
    assert rig.run() == 16
    rig.free(16)
    counts = rig.counts()
    assert (counts["packets"], counts["bytes"]) == (16, sum(sizes) + 128)
    assert (counts["broadcast"], counts["multicast"]) == (1, 1)
    bins = ["undersize", "size_64", "size_65_127", "size_128_255", "size_256_511", "size_512_1023", "size_1024_1518"]
    assert [counts[f"{name}_packets"] for name in [*bins, "size_1519_max"]] == [2, 3, 2, 2, 2, 2, 2, 1]
    rig.queue.reset_counts()
    assert set(rig.counts().values()) == {0}


def test_front_end_is_called_only_when_it_wants_to_be(rx: Rig) -> None:
    rx.ring.set_avail_flags(interrupts=False)
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.free(rx.run())
    assert rx.ring.calls() == 0
    rx.ring.set_avail_flags(interrupts=True)
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.ring.post([rx.buffer(bytes(12) + frame(64))], writable=False)
    rx.free(rx.run())
    assert (rx.ring.calls(), rx.counts()["calls"]) == (1, 1)
    assert rx.run() == 0
    assert rx.ring.calls() == 0


def test_event_index_says_when_to_call(make_rig: Callable[..., Rig]) -> None:
    """virtio 1.2, 2.7.7.2: call when the entry at used_event was written."""
    rig = make_rig(RX, EVENTS)
    rig.ring.set_used_event(2)
    for expected in (0, 0, 1, 0):
        rig.ring.post([rig.buffer(bytes(12) + frame(64))], writable=False)
        rig.free(rig.run())
        assert rig.ring.calls() == expected


def test_front_end_is_asked_not_to_kick(rx: Rig) -> None:
    assert rx.guest.read(rx.ring.used, 2) == b"\x01\x00"


def test_linear_queue_drops_what_one_mbuf_cannot_hold(rx: Rig) -> None:
    rx.queue.use_pool(rx.pool, 3, 1)
    rx.ring.post([rx.buffer(bytes(12) + frame(2049))], writable=False)
    rx.ring.post([rx.buffer(bytes(12) + frame(2048))], writable=False)
    assert rx.run() == 1
    assert rx.frames(1) == [frame(2048)]
    assert rx.counts()["errors"] == 1


def post(rig: Rig, count: int) -> None:
    for seed in range(count):
        rig.ring.post([rig.buffer(bytes(12) + frame(64, seed))], writable=False)


def test_few_packets_of_a_stream_are_held_back_once(make_rig: Callable[..., Rig]) -> None:
    rx = make_rig(RX, MERGEABLE, num=64)
    rx.queue._record["pacing"]["patience"] = 1 << 40
    post(rx, STREAM)
    assert rx.run() == STREAM
    assert rx.run() == 0  # empty: the front end is slower than we are
    post(rx, 3)
    assert [rx.run(), rx.run()] == [0, 0]
    assert rx.ring.used_index == STREAM
    rx.queue._record["pacing"]["held"] = 1  # the time is over
    assert rx.run() == 3
    assert rx.ring.used_index == STREAM + 3
    assert len(rx.frames(3)) == 3


def test_counter_that_jumped_back_holds_nothing_back(make_rig: Callable[..., Rig]) -> None:
    """As when a machine slept, or a virtual one was moved."""
    rx = make_rig(RX, MERGEABLE, num=64)
    post(rx, 1)
    rx.queue._record["pacing"]["held"] = 1 << 62
    assert rx.run() == 1
    assert rx.queue._record["pacing"]["held"] == 0


def test_many_packets_of_a_stream_are_not_held_back(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, MERGEABLE, num=512)
    rig.queue._record["pacing"]["patience"] = 1 << 40
    post(rig, STREAM)
    assert [rig.run(), rig.run()] == [STREAM, 0]
    post(rig, FEW)
    assert rig.run() == 32


def test_half_a_small_ring_is_not_held_back(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(RX, MERGEABLE, num=64)
    rig.queue._record["pacing"]["patience"] = 1 << 40
    post(rig, STREAM)
    assert [rig.run(), rig.run()] == [STREAM, 0]
    post(rig, 32)
    assert rig.run() == 32


def test_packets_behind_a_small_burst_are_not_held_back(make_rig: Callable[..., Rig]) -> None:
    rx = make_rig(RX, MERGEABLE, num=64)
    rx.queue._record["pacing"]["patience"] = 1 << 40
    post(rx, STREAM - 1)
    assert [rx.run(), rx.run()] == [STREAM - 1, 0]
    post(rx, 1)
    assert rx.run() == 1


def test_a_ring_bound_anew_holds_nothing_back(make_rig: Callable[..., Rig]) -> None:
    rx = make_rig(RX, MERGEABLE, num=64)
    rx.queue._record["pacing"]["patience"] = 1 << 40
    post(rx, STREAM)
    assert [rx.run(), rx.run()] == [STREAM, 0]
    post(rx, 1)
    assert rx.run() == 0
    rx.queue.unbind()
    rx.vring.base = STREAM
    rx.queue.bind(rx.vring, rx.features)
    assert rx.run() == 1
