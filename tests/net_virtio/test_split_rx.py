# SPDX-License-Identifier: BSD-3-Clause
"""Receiving on a split ring: frames in one buffer and in many, refill, an empty pool, statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from net_virtio.rigs import FRAME, PORT, RxRig

from pollmode.ethdev import QueueCount
from pollmode.mbuf import HEADROOM, Mempool
from pollmode.mbuf.layout import RX_VLAN, RX_VLAN_STRIPPED

Rigs = Callable[..., RxRig]

ROOM = 2048  # bytes behind the headroom
VARIANTS = pytest.mark.parametrize(
    ("mergeable", "header"), [(True, 12), (False, 12), (False, 10)], ids=["mergeable", "one buffer", "legacy"]
)


def frame(size: int, number: int = 0) -> bytes:
    return FRAME[:14] + bytes((number + place) & 0xFF for place in range(size - 14))


@VARIANTS
def test_every_descriptor_is_posted_with_room_for_header_and_data(rx_rig: Rigs, mergeable: bool, header: int) -> None:
    rig = rx_rig(mergeable=mergeable, header=header)
    assert rig.posted == rig.host.available() == rig.queue.outstanding() == 16
    buffers = [rig.host.chain(rig.host.take())[0] for _ in range(16)]
    assert {buffer.length for buffer in buffers} == {ROOM + header}
    assert len({buffer.address for buffer in buffers}) == 16


@VARIANTS
def test_a_frame_arrives_as_it_was_sent(rx_rig: Rigs, mergeable: bool, header: int) -> None:
    rig = rx_rig(mergeable=mergeable, header=header)
    rig.host.deliver(FRAME, None if mergeable else bytes(header))
    (packet,) = rig.packets()
    assert bytes(packet) == FRAME
    assert (packet.port, packet.nb_segs, packet.refcnt, packet.headroom) == (PORT, 1, 1, HEADROOM)
    assert (packet.ol_flags, packet.packet_type, packet.vlan_tci) == (0, 0, 0)
    packet.free()


@VARIANTS
def test_the_longest_frame_of_one_buffer_arrives(rx_rig: Rigs, mergeable: bool, header: int) -> None:
    rig = rx_rig(mergeable=mergeable, header=header)
    rig.host.deliver(frame(ROOM), None if mergeable else bytes(header))
    assert rig.receive() == [frame(ROOM)]


def test_nothing_waiting_is_nothing_received(rx_rig: Rigs) -> None:
    assert rx_rig().receive() == []


def test_a_burst_takes_no_more_than_asked_and_leaves_the_rest(rx_rig: Rigs) -> None:
    rig = rx_rig()
    for number in range(10):
        rig.host.deliver(frame(60, number))
    assert rig.receive(3) == [frame(60, number) for number in range(3)]
    assert rig.receive(32) == [frame(60, number) for number in range(3, 10)]


def test_the_ring_goes_round_many_times_and_every_index_wraps(rx_rig: Rigs) -> None:
    rig = rx_rig()
    for start in range(0, 100, 5):
        for number in range(start, start + 5):
            rig.host.deliver(frame(60, number))
        assert rig.receive() == [frame(60, number) for number in range(start, start + 5)]
    assert rig.queue.outstanding() + int(rig.queue.record["free"]) == 16


def test_indexes_wrap_at_sixteen_bits(rx_rig: Rigs) -> None:
    rig = rx_rig(entries=16)
    record, near = rig.queue.record, 0xFFFA
    record["used_idx"], record["avail_idx"] = near, near + 16 & 0xFFFF
    rig.host.next_avail = rig.host.used_index = near
    rig.host.set_used_index(near)
    for slot in range(16):  # what 65530 rounds would have left there: the same descriptors from slot 10 on
        place = rig.queue.avail - rig.queue._zone.address + 4 + 2 * ((near + slot) % 16)
        rig.queue._zone.array(np.dtype("<u2"), 1, place)[0] = slot
    rig.queue._zone.array(np.dtype("<u2"), 1, rig.queue.avail - rig.queue._zone.address + 2)[0] = near + 16 & 0xFFFF
    for number in range(40):
        rig.host.deliver(frame(60, number))
        assert rig.receive() == [frame(60, number)]


@pytest.mark.parametrize("size", [ROOM + 1, 2 * ROOM, 5000, 9000])
def test_a_long_frame_is_chained_over_the_buffers_it_came_in(rx_rig: Rigs, size: int) -> None:
    rig = rx_rig()
    buffers = len(rig.host.deliver(frame(size)))
    rig.host.deliver(FRAME)
    long, short = rig.packets()
    assert (long.nb_segs, long.pkt_len) == (buffers, size)
    assert bytes(long) == frame(size)
    assert bytes(short) == FRAME
    long.free()
    short.free()


def test_a_chain_is_finished_beyond_the_end_of_the_burst(rx_rig: Rigs) -> None:
    rig = rx_rig()
    rig.host.deliver(FRAME)
    rig.host.deliver(frame(9000))
    rig.host.deliver(frame(100))
    assert rig.receive(2) == [FRAME, frame(9000)]
    assert rig.receive(2) == [frame(100)]


@VARIANTS
def test_a_runt_is_an_error_and_the_next_frame_arrives(rx_rig: Rigs, mergeable: bool, header: int) -> None:
    rig = rx_rig(mergeable=mergeable, header=header)
    rig.host.deliver(FRAME[:13], None if mergeable else bytes(header))
    rig.host.deliver(FRAME, None if mergeable else bytes(header))
    assert rig.receive() == [FRAME]
    assert rig.queue.counters().errors == 1
    assert rig.broken == 0


def test_an_empty_pool_costs_buffers_and_giving_back_heals_the_ring(rx_rig: Rigs, pool: Mempool) -> None:
    rig = rx_rig()
    taken = pool.get(pool.available())
    for number in range(16):
        rig.host.deliver(frame(60, number))
    received = rig.packets()
    assert len(received) == 16
    assert rig.queue.counters().nombuf == 16
    assert rig.host.available() == 0
    assert rig.packets() == []  # polls on, finds nothing, and counts nothing twice
    assert rig.queue.counters().nombuf == 16
    for packet in received[:4]:
        packet.free()
    assert rig.packets() == []
    assert rig.host.available() == 4
    rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]
    for packet in received[4:]:
        packet.free()
    pool.put(taken)
    rig.receive()
    assert rig.host.available() >= 12


def test_a_pool_too_small_for_the_ring_posts_what_it_has(rx_rig: Rigs, pool: Mempool) -> None:
    taken = pool.get(pool.available() - 5)
    rig = rx_rig()
    assert rig.posted == rig.host.available() == 5
    pool.put(taken)
    rig.receive()
    assert rig.host.available() == 16


def test_frames_are_counted_by_size_and_kind(rx_rig: Rigs) -> None:
    rig = rx_rig()
    sizes = [60, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518, 1519, 3000]
    for size in sizes:
        rig.host.deliver(frame(size))
        rig.receive()
    rig.host.deliver(b"\xff" * 6 + FRAME[6:])
    rig.host.deliver(b"\x01\x00\x5e" + FRAME[3:])
    rig.receive()
    counters = rig.queue.counters()
    assert (counters.packets, counters.bytes) == (16, sum(sizes) + 120)
    assert (counters.broadcast, counters.multicast) == (1, 1)
    assert list(counters.bins.values()) == [3, 1, 2, 2, 2, 2, 2, 2]
    rig.queue.clear_counters()
    assert rig.queue.counters().packets == sum(rig.queue.counters().bins.values()) == 0


def test_counters_cleared_while_an_lcore_adds_to_them_lose_nothing_and_still_add_up(rx_rig: Rigs) -> None:
    rig = rx_rig()
    rig.host.deliver(FRAME)
    rig.receive()
    loaded = {field: int(rig.queue.record[field]) for field in ("packets", "bytes")}
    rig.queue.clear_counters()
    for field, more in (("packets", 1), ("bytes", 60)):  # the lcore stores the sums it had begun before
        rig.queue.record[field] = loaded[field] + more
    counters = rig.queue.counters()
    assert (counters.packets, counters.bytes) == (1, 60)
    assert rig.queue.counters().bins["undersize_packets"] == 1


def test_the_host_is_kicked_only_when_it_asks(rx_rig: Rigs) -> None:
    rig = rx_rig()
    before = int(rig.queue.record["kicks"])
    rig.host.want_kicks(False)
    for _ in range(8):
        rig.host.deliver(FRAME)
    rig.receive()
    assert int(rig.queue.record["kicks"]) == before
    rig.host.want_kicks(True)
    for _ in range(8):
        rig.host.deliver(FRAME)
    rig.receive()
    assert int(rig.queue.record["kicks"]) == before + 1


def test_a_tag_moves_into_the_mbuf_when_stripping(rx_rig: Rigs) -> None:
    rig = rx_rig(strip=True)
    tagged = FRAME[:12] + bytes.fromhex("8100 2007") + FRAME[12:]
    rig.host.deliver(tagged)
    rig.host.deliver(FRAME)
    with_tag, without = rig.packets()
    assert (bytes(with_tag), with_tag.vlan_tci) == (FRAME, 0x2007)
    assert with_tag.ol_flags == RX_VLAN | RX_VLAN_STRIPPED
    assert (bytes(without), without.ol_flags) == (FRAME, 0)
    with_tag.free()
    without.free()


def test_how_full_the_ring_is_is_what_nobody_has_fetched(rx_rig: Rigs) -> None:
    rig = rx_rig()
    assert rig.queue.count() == QueueCount(0, 16)
    for number in range(10):
        rig.host.deliver(frame(64, number))
    assert rig.queue.count() == QueueCount(10, 16)
    assert len(rig.receive(4)) == 4
    assert rig.queue.count() == QueueCount(6, 16)
    rig.host.set_used_index(9999)  # a device that lies
    assert rig.queue.count() == QueueCount(16, 16)


@VARIANTS
def test_few_buffers_of_a_stream_are_held_back_once(rx_rig: Rigs, mergeable: bool, header: int) -> None:
    rig = rx_rig(mergeable=mergeable, header=header, entries=64)
    rig.queue.record["pacing"]["patience"] = 1 << 40
    for _ in range(16):
        rig.host.deliver(FRAME, None if mergeable else bytes(header))
    assert [len(rig.receive()), len(rig.receive())] == [16, 0]
    rig.host.deliver(FRAME, None if mergeable else bytes(header))
    assert [len(rig.receive()), len(rig.receive())] == [0, 0]
    rig.queue.record["pacing"]["held"] = 1  # the time is over
    assert len(rig.receive()) == 1
