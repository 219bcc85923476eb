# SPDX-License-Identifier: BSD-3-Clause
"""Transmitting into a front end's buffers: every legal shape is filled right, and not one byte beyond it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from support.mbuf_verbs import header
from support.net_vhost_rig import EVENTS, LEGACY, MERGEABLE, MODERN, Rig, chained, frame

from pollmode.net_vhost.queue import TX

FILL = 0xA5


def merged(rig: Rig) -> tuple[int, list[int], bytes]:
    """What was used: num_buffers, the used lengths, the frame put together."""
    entries = rig.ring.collect()
    data = b"".join(contents[:length] for _, length, contents in entries)
    for _, length, contents in entries:
        assert set(contents[length:]) <= {FILL}, "bytes behind the used length were written"
    number = struct.unpack_from("<H", data, 10)[0] if rig.header == 12 else 1
    assert data[:10] == bytes(10)
    return number, [length for _, length, _ in entries], data[rig.header :]


@pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
@pytest.mark.parametrize("size", [1, 14, 15, 31, 60, 64, 65, 127, 1518, 2036])
def test_packet_into_one_buffer(make_rig: Callable[..., Rig], features: int, size: int) -> None:
    rig = make_rig(TX, features)
    rig.ring.post([rig.room(2048)], writable=True)
    data = frame(2036)[:size]
    assert rig.run(rig.load((data,))) == 1
    assert merged(rig) == (1, [size + rig.header], data)
    assert rig.out == 0


def test_packet_fills_its_buffer_to_the_last_byte(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, MODERN)
    place, _ = rig.room(12 + 100)
    rig.ring.post([(place, 112)], writable=True)
    assert rig.run(rig.load((frame(100),))) == 1
    assert rig.guest.read(place + 112, 64) == bytes([FILL]) * 64
    assert merged(rig) == (1, [112], frame(100))


@pytest.mark.parametrize("features", [LEGACY, MODERN], ids=["legacy", "modern"])
def test_packet_too_long_for_its_only_buffer_is_dropped(make_rig: Callable[..., Rig], features: int) -> None:
    rig = make_rig(TX, features)
    rig.ring.post([rig.room(rig.header + 99)], writable=True)
    assert rig.run(rig.load((frame(100),), (frame(99),))) == 2
    assert merged(rig) == (1, [rig.header + 99], frame(99))
    counts = rig.counts()
    assert (counts["errors"], counts["packets"], rig.out) == (1, 1, 0)


@pytest.mark.parametrize("buffers", [[500, 500, 500], [12, 1000], [5, 5, 5, 1000], [1, 2, 3, 4, 5, 6, 7, 1000], [1012]])
@pytest.mark.parametrize("segments", [(1000,), (1, 999), (300, 0, 400, 300)], ids=str)
def test_mergeable_packet_over_several_buffers(
    make_rig: Callable[..., Rig], buffers: list[int], segments: tuple[int, ...]
) -> None:
    rig = make_rig(TX)
    for size in buffers:
        rig.ring.post([rig.room(size)], writable=True)
    whole = frame(1000)
    parts = [whole[sum(segments[:index]) : sum(segments[: index + 1])] for index in range(len(segments))]
    assert rig.run(rig.load(tuple(parts))) == 1
    number, lengths, data = merged(rig)
    assert (number, sum(lengths), data) == (len(lengths), 1012, whole)
    assert lengths == [*buffers[: len(lengths) - 1], lengths[-1]]
    assert rig.out == 0


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("features", [LEGACY, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
def test_packet_into_a_chain_with_its_header_apart(make_rig: Callable[..., Rig], features: int, indirect: bool) -> None:
    rig = make_rig(TX, features)
    pieces = [rig.room(7), rig.room(rig.header - 7), rig.room(100), rig.room(500)]
    (rig.ring.post_indirect if indirect else rig.ring.post)(pieces, writable=True)
    assert rig.run(rig.load((frame(300),))) == 1
    assert merged(rig) == (1, [300 + rig.header], frame(300))


def test_jumbo_packet_over_mbufs_and_buffers(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, num=16)
    for _ in range(8):
        rig.ring.post([rig.room(2048)], writable=True)
    whole = frame(9018)
    assert rig.run(rig.load(tuple(whole[at : at + 2000] for at in range(0, 9018, 2000)))) == 1
    number, lengths, data = merged(rig)
    assert (number, lengths, data) == (5, [2048] * 4 + [9030 - 4 * 2048], whole)
    assert rig.out == 0


def test_packets_wait_while_there_are_too_few_buffers(tx: Rig) -> None:
    n = tx.load((frame(64),), (frame(64, 1),), (frame(600, 2),), (frame(64, 3),))
    assert tx.run(n) == 0
    for _ in range(3):
        tx.ring.post([tx.room(200)], writable=True)
    assert tx.run(n) == 2
    assert tx.out == 2
    assert (tx.counts()["missed"], tx.counts()["packets"], tx.ring.used_index) == (4 + 2, 2, 2)
    tx.burst[:2] = tx.burst[2:4]
    for _ in range(3):
        tx.ring.post([tx.room(200)], writable=True)
    assert tx.run(2) == 1
    assert tx.out == 1
    tx.burst[0] = tx.burst[1]
    tx.free(1)


def test_packet_longer_than_the_whole_ring_is_dropped(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, num=4)
    for _ in range(4):
        rig.ring.post([rig.room(100)], writable=True)
    assert rig.run(rig.load((frame(389),), (frame(388),))) == 2
    assert merged(rig) == (4, [100] * 4, frame(388))
    assert (rig.counts()["errors"], rig.out) == (1, 0)


def test_shared_mbuf_is_given_back_once(tx: Rig) -> None:
    for _ in range(3):
        tx.ring.post([tx.room(200)], writable=True)
    shared = chained(tx.pool, (frame(64),))
    header(shared)["refcnt"] = 2
    tx.load((frame(64, 1),))
    tx.burst[1] = shared
    assert tx.run(2) == 2
    assert (int(header(shared)["refcnt"]), tx.out) == (1, 1)
    tx.burst[0] = shared
    assert tx.run(1) == 1
    assert tx.out == 0


def test_buffer_across_two_regions_is_written_in_both(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, regions=2, size=1 << 16)
    edge = rig.guest.start(1) - 50
    rig.ring.post([(edge, 500)], writable=True)
    assert rig.run(rig.load((frame(300),))) == 1
    assert rig.guest.read(edge + 12, 300) == frame(300)
    assert rig.guest.read(edge + 312, 188) == bytes([FILL]) * 188


def test_used_entries_name_heads_in_order(tx: Rig) -> None:
    heads = [tx.ring.post([tx.room(200)], writable=True) for _ in range(4)]
    assert tx.run(tx.load(*[(frame(64, seed),) for seed in range(4)])) == 4
    entries = tx.ring.collect()
    assert [head for head, _, _ in entries] == heads
    assert [contents[12:76] for _, _, contents in entries] == [frame(64, seed) for seed in range(4)]


def test_sizes_and_groups_are_counted(tx: Rig) -> None:
    for _ in range(3):
        tx.ring.post([tx.room(2048)], writable=True)
    broadcast = b"\xff" * 6 + frame(64)[6:]
    assert tx.run(tx.load((broadcast,), (b"\x01" + frame(1518)[1:],), (frame(1519),))) == 3
    counts = tx.counts()
    assert (counts["packets"], counts["bytes"]) == (3, 64 + 1518 + 1519)
    assert (counts["broadcast"], counts["multicast"], counts["size_64_packets"]) == (1, 1, 1)
    assert (counts["size_1024_1518_packets"], counts["size_1519_max_packets"]) == (1, 1)


def test_front_end_is_called_once_a_burst(tx: Rig) -> None:
    tx.ring.set_avail_flags(interrupts=True)
    for _ in range(4):
        tx.ring.post([tx.room(200)], writable=True)
    assert tx.run(tx.load(*[(frame(64, seed),) for seed in range(3)])) == 3
    assert tx.ring.calls() == 1
    tx.ring.set_avail_flags(interrupts=False)
    assert tx.run(tx.load((frame(64),))) == 1
    assert tx.ring.calls() == 0


def test_event_index_says_when_to_call(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, EVENTS)
    rig.ring.set_used_event(1)
    for _ in range(4):
        rig.ring.post([rig.room(200)], writable=True)
    assert rig.run(rig.load((frame(64),))) == 1
    assert rig.ring.calls() == 0
    assert rig.run(rig.load((frame(64),), (frame(64),))) == 2
    assert rig.ring.calls() == 1


def test_ring_indexes_wrap_at_16_bits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(TX, num=4)
    rig.guest.write(rig.ring.used + 2, b"\xfe\xff")
    rig.ring.set_avail_index(0xFFFE)
    rig.ring._used_index = 0xFFFE
    rig.queue.bind(rig.vring, MERGEABLE)
    for seed in range(10):
        rig.ring.post([rig.room(200)], writable=True)
        assert rig.run(rig.load((frame(64, seed),))) == 1
        assert merged(rig) == (1, [76], frame(64, seed))
    assert rig.ring.used_index == 8
