# SPDX-License-Identifier: BSD-3-Clause
"""Receiving, against the model: what the kernel wrote arrives, what it should not have written breaks the queue."""

from __future__ import annotations

import numpy as np
import pytest
from net_af_packet.conftest import Model

from pollmode.ethdev import Event, RxOffload
from pollmode.mbuf import HEADROOM, RX_L4_CKSUM_GOOD, RX_L4_CKSUM_NONE, RX_VLAN, RX_VLAN_STRIPPED, Burst
from pollmode.net_af_packet.layout import (
    TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_KERNEL,
    TP_STATUS_USER,
)

ADDRESSES = bytes(range(12))


def frame(size: int, seed: int = 0) -> bytes:
    return ADDRESSES + b"\x08\x00" + bytes((seed + i) & 0xFF for i in range(size - 14))


@pytest.mark.parametrize("size", [14, 15, 60, 64, 65, 1514, 1982])
def test_a_packet_arrives_as_it_was_and_its_frame_goes_back(size: int, model: Model) -> None:
    port = model()
    assert port.receive() == []
    port.rings.deliver(frame(size))
    burst = Burst(4)
    assert port.port.rx(0, burst) == 1
    assert bytes(burst[0]) == frame(size)
    expected = {"pkt_len": size, "data_len": size, "port": port.port.id, "nb_segs": 1, "refcnt": 1, "ol_flags": 0}
    for field, value in {**expected, "data_off": HEADROOM, "packet_type": 0, "vlan_tci": 0, "next": 0}.items():
        assert burst.column(field)[0] == value, field
    assert port.rings.rx_header(0)["status"][0] == TP_STATUS_KERNEL
    burst.free()


def test_the_ring_goes_round_in_order_and_bursts_end_where_it_is_empty(model: Model) -> None:
    port = model(frames=16)
    expected = []
    for turn in range(10):
        packets = [frame(60 + i, turn) for i in range(1 + 3 * turn % 16)]
        for packet in packets:
            assert port.rings.deliver(packet)
        expected += packets
        assert port.receive(most=5) + port.receive() == packets
    stats = port.port.stats()
    assert (stats.ipackets, stats.ibytes) == (len(expected), sum(map(len, expected)))


def test_a_burst_larger_than_the_ring_takes_each_frame_once(model: Model) -> None:
    port = model(frames=2)
    assert port.rings.deliver(frame(60, 1))
    assert port.rings.deliver(frame(60, 2))
    assert not port.rings.deliver(frame(60, 3))
    assert port.receive(most=64) == [frame(60, 1), frame(60, 2)]
    assert port.port.stats().imissed == 1


def test_what_finds_the_ring_full_is_missed_and_counted_once(model: Model) -> None:
    port = model(frames=4)
    for number in range(10):
        port.rings.deliver(frame(64, number))
    assert port.receive() == [frame(64, number) for number in range(4)]
    assert port.port.stats().imissed == 6
    xstats = port.port.xstats()
    assert (xstats["rx_missed_errors"], xstats["rx_q0_ring_full_packets"]) == (6, 6)
    port.port.reset_stats()
    assert port.port.stats().imissed == 0
    for number in range(5):
        port.rings.deliver(frame(64, number))
    assert port.port.stats().imissed == 1
    port.receive()


def test_a_tag_goes_back_into_the_packet(model: Model) -> None:
    port = model()
    port.rings.deliver(frame(60), tag=0x2005)
    port.rings.deliver(frame(60), tag=7, tpid=0x88A8)
    inside = frame(60)[12:]
    assert port.receive() == [
        ADDRESSES + bytes.fromhex("81002005") + inside,
        ADDRESSES + bytes.fromhex("88a80007") + inside,
    ]
    assert port.port.stats().ibytes == 128


def test_with_vlan_strip_the_tag_is_in_the_mbuf(model: Model) -> None:
    port = model(rx_offloads=RxOffload.VLAN_STRIP)
    port.rings.deliver(frame(60), tag=0x2005)
    port.rings.deliver(frame(60))
    burst = Burst(4)
    assert port.port.rx(0, burst) == 2
    assert bytes(burst[0]) == frame(60)
    assert burst.column("vlan_tci").tolist() == [0x2005, 0]
    assert burst.ol_flags.tolist() == [RX_VLAN | RX_VLAN_STRIPPED, 0]
    burst.free()


def test_what_the_kernel_knows_of_checksums_is_told_when_asked_for(model: Model) -> None:
    for offload, expected in (
        (RxOffload.TCP_CKSUM, [RX_L4_CKSUM_GOOD, RX_L4_CKSUM_NONE, 0]),
        (RxOffload(0), [0, 0, 0]),
    ):
        port = model(rx_offloads=offload)
        for status in (TP_STATUS_CSUM_VALID, TP_STATUS_CSUMNOTREADY, 0):
            port.rings.deliver(frame(60), status=status)
        burst = Burst(4)
        assert port.port.rx(0, burst) == 3
        assert burst.ol_flags.tolist() == expected
        burst.free()


def test_a_packet_that_the_kernel_cut_is_dropped_and_named(model: Model) -> None:
    port = model()
    port.rings.deliver(frame(3000))
    port.rings.deliver(frame(60))
    assert port.receive() == [frame(60)]
    assert port.port.stats().ierrors == 1
    assert port.port.xstats()["rx_q0_too_long_packets"] == 1


@pytest.mark.parametrize("size", [2048, 2049, 4224, 4225, 9000])
def test_with_scatter_long_packets_are_chains(size: int, model: Model) -> None:
    port = model(frame_size=16384, rx_offloads=RxOffload.SCATTER)
    port.rings.deliver(frame(size))
    port.rings.deliver(frame(60))
    burst = Burst(4)
    assert port.port.rx(0, burst) == 2
    assert b"".join(bytes(segment) for segment in burst[0].segments) == frame(size)
    assert bytes(burst[1]) == frame(60)
    burst[0].check()
    burst.free()


def test_without_scatter_packets_longer_than_an_mbuf_are_dropped(model: Model) -> None:
    port = model(frame_size=16384)
    port.rings.deliver(frame(2048))
    port.rings.deliver(frame(2049))
    assert port.receive() == [frame(2048)]
    assert port.port.stats().ierrors == 1


def test_frames_wait_where_the_pool_is_empty(model: Model) -> None:
    port = model(frame_size=16384, mbufs=15, rx_offloads=RxOffload.SCATTER)
    for number in range(4):
        port.rings.deliver(frame(9000, number))  # five mbufs each
    burst = Burst(8)
    assert port.port.rx(0, burst) == 2, "the mbufs of a burst are taken before the rests of its packets"
    assert port.port.stats().rx_nombuf > 0
    assert port.receive() == []
    assert [bytes(packet)[14] for packet in burst] == [0, 1]
    burst.free()
    assert len(port.receive()) == 2
    assert port.port.stats().ipackets == 4


@pytest.mark.parametrize(
    ("field", "value", "word", "told"),
    [
        ("mac", 31, 31, "a packet starts outside its frame"),
        ("mac", 0xFFFF, 0xFFFF, "a packet starts outside its frame"),
        ("mac", 2000, 60, "a packet ends outside its frame"),
        ("snaplen", 1983, 1983, "a packet ends outside its frame"),
        ("snaplen", 0xFFFFFFFF, 0xFFFFFFFF, "a packet ends outside its frame"),
        ("snaplen", 13, 13, "or before its Ethernet header does"),
        ("snaplen", 0, 0, "or before its Ethernet header does"),
    ],
)
def test_a_place_or_length_outside_the_frame_breaks_the_queue(
    field: str, value: int, word: int, told: str, model: Model
) -> None:
    port = model()
    events: list[Event] = []
    port.port.on(None, lambda _port, event, _detail: events.append(event))
    port.rings.deliver(frame(60, 1))
    port.rings.deliver(frame(60, 2))
    header = port.rings.rx_header(1)
    header[field] = value
    if field == "snaplen":
        header["len"] = value
    assert port.receive() == [frame(60, 1)], "what came before is received"
    assert port.receive() == []
    (fault,) = port.port.poll()
    assert told in str(fault)
    assert (fault.queue, fault.index) == (0, 1)
    assert fault.word == word
    assert events == [Event.INTR_RESET]
    assert port.pool.available() == port.pool.count
    before = port.rings
    port.port.reset()
    assert before.closed
    port.rings.deliver(frame(60, 3))
    assert port.receive() == [frame(60, 3)]
    assert port.port.poll() == []


@pytest.mark.parametrize("status", [0, 2, 4, 0xFFFFFFFE])
def test_a_frame_that_is_not_ours_is_not_touched(status: int, model: Model) -> None:
    port = model()
    port.rings.deliver(frame(60))
    port.rings.rx_header(0)["status"] = status
    assert port.receive() == []
    port.rings.rx_header(0)["status"] = TP_STATUS_USER
    assert port.receive() == [frame(60)]


def test_nothing_beyond_the_packet_is_written(model: Model) -> None:
    port = model()
    data = 128 + HEADROOM  # behind the mbuf's header
    for offset in (-1, 0, 59, 60):
        port.pool.column(np.dtype("u1"), data + offset)[:] = 0xA5
    port.rings.deliver(frame(60))
    assert port.receive() == [frame(60)]
    changed = {offset: (port.pool.column(np.dtype("u1"), data + offset) != 0xA5).sum() for offset in (-1, 0, 59, 60)}
    assert changed == {-1: 0, 0: 1, 59: 1, 60: 0}


def test_queue_pairs_are_apart(model: Model) -> None:
    port = model(pairs=3)
    for number, rings in enumerate(port.kernel.opened):
        for _ in range(number + 1):
            rings.deliver(frame(60, number))
    assert [port.receive(queue=queue) for queue in range(3)] == [[frame(60, q)] * (q + 1) for q in range(3)]
    assert port.port.stats().q_ipackets == (1, 2, 3)
