# SPDX-License-Identifier: BSD-3-Clause
"""Sending, against the model: what is taken goes out once and unchanged, or is counted under a name."""

from __future__ import annotations

import itertools

import pytest
from net_af_packet.conftest import Model

from pollmode.mbuf import TX_VLAN, Burst, Packet

ADDRESSES = bytes(range(12))


def frame(size: int, seed: int = 0, kind: bytes = b"\x08\x00") -> bytes:
    return ADDRESSES + kind + bytes((seed + i) & 0xFF for i in range(size - 14))


@pytest.mark.parametrize("size", [14, 15, 60, 64, 65, 1514])
def test_a_packet_goes_out_as_it_was(size: int, model: Model) -> None:
    port = model()
    assert port.send(frame(size)) == 1
    assert port.rings.take() == [frame(size)]
    header = port.rings.tx_header(0)
    assert (header["len"][0], header["snaplen"][0]) == (size, size)
    stats = port.port.stats()
    assert (stats.opackets, stats.obytes, stats.oerrors) == (1, size, 0)


def test_one_kick_a_burst_and_none_for_nothing(model: Model) -> None:
    port = model()
    port.rings.kicks()
    assert port.send(*(frame(60, i) for i in range(10))) == 10
    assert port.rings.kicks() == 1
    assert port.rings.take() == [frame(60, i) for i in range(10)]
    assert port.port.tx(0, Burst(1)) == 0
    assert port.rings.kicks() == 0


def test_the_ring_goes_round(model: Model) -> None:
    port = model(frames=4)
    for turn in range(9):
        packets = [frame(60 + i, turn) for i in range(1 + turn % 4)]
        assert port.send(*packets) == len(packets)
        assert port.rings.take() == packets


def test_a_full_ring_takes_what_it_can_and_keeps_the_rest_with_the_caller(model: Model) -> None:
    port = model(frames=4)
    packets = [frame(60, i) for i in range(7)]
    assert port.send(*packets) == 4
    assert port.send(frame(60)) == 0
    assert port.port.xstats()["tx_q0_ring_full_bursts"] == 2
    assert port.rings.kicks() > 1, "it asks the kernel to go on before it gives up"
    assert port.rings.take(2) == packets[:2]
    assert port.send(*packets[4:]) == 2
    assert port.rings.take() == packets[2:6]
    assert port.port.stats().opackets == 6
    assert port.port.stats().oerrors == 0


def test_chains_are_sent_whole(model: Model) -> None:
    port = model()
    whole = frame(1000)
    assert port.send([whole[:5], whole[5:11], whole[11:900], whole[900:]]) == 1
    assert port.rings.take() == [whole]


@pytest.mark.parametrize("cuts", [(), (5,), (12,), (14,), (3, 30)])
def test_a_tag_that_is_asked_for_is_put_in(cuts: tuple[int, ...], model: Model) -> None:
    port = model()
    whole = frame(64)
    places = [0, *cuts, 64]
    parts = [whole[a:b] for a, b in itertools.pairwise(places)]
    head = Packet.alloc(port.pool, parts[0])
    for part in parts[1:]:
        head.chain(Packet.alloc(port.pool, part))
    head.ol_flags, head.vlan_tci = TX_VLAN, 0x6123
    assert port.port.tx(0, Burst.of([head])) == 1
    assert port.rings.take() == [whole[:12] + bytes.fromhex("81006123") + whole[12:]]
    assert port.port.stats().obytes == 68


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (frame(1515), "too_long"),
        (frame(1519, kind=b"\x81\x00"), "too_long"),
        ([frame(1000), bytes(515)], "too_long"),
        ([frame(2000), bytes(2000)], "too_long"),
        (b"short", "too_short"),
        (frame(14)[:13], "too_short"),
        ([b"sh", b"ort"], "too_short"),
    ],
)
def test_what_the_interface_would_not_send_is_dropped_and_named(
    packet: bytes | list[bytes], counter: str, model: Model
) -> None:
    port = model()
    assert port.send(frame(60, 1), packet, frame(60, 2)) == 3
    assert port.rings.take() == [frame(60, 1), frame(60, 2)]
    assert port.port.xstats()[f"tx_q0_{counter}_packets"] == 1
    stats = port.port.stats()
    assert (stats.opackets, stats.oerrors) == (2, 1)


def test_a_tagged_frame_may_be_four_bytes_longer(model: Model) -> None:
    port = model()
    packet = frame(1518, kind=b"\x81\x00")
    assert port.send(packet) == 1
    assert port.rings.take() == [packet]


def test_the_limit_follows_the_interface(model: Model) -> None:
    port = model(frame_size=16384)
    port.kernel.device.size = 9000
    port.kernel.changed()
    packet = [frame(2000), bytes(2000), bytes(2000), bytes(2000), bytes(1014)]
    assert port.send(packet) == 1
    assert port.rings.take() == [b"".join(packet)]
    port.port.set_mtu(1000)
    assert port.kernel.device.size == 1000
    assert port.send(frame(1015)) == 1
    assert port.port.stats().oerrors == 1


@pytest.mark.parametrize("status", [4, 8, 0x1000_0001])
def test_a_status_the_kernel_may_not_give_breaks_the_queue(status: int, model: Model) -> None:
    port = model(frames=4)
    assert port.send(*(frame(60, i) for i in range(4))) == 4
    port.rings.tx_header(0)["status"] = status
    assert port.send(frame(60)) == 0
    (fault,) = port.port.poll()
    assert "a frame to send has a status that the kernel may not give it" in str(fault)
    assert (fault.queue, fault.index, fault.word) == (0, 0, status)
    port.port.reset()
    assert port.send(frame(60, 9)) == 1
    assert port.rings.take() == [frame(60, 9)]


def test_the_mark_of_a_timestamp_is_no_fault(model: Model) -> None:
    port = model(frames=2)
    assert port.send(frame(60, 1), frame(60, 2)) == 2
    assert port.rings.take() == [frame(60, 1), frame(60, 2)]
    port.rings.tx_header(0)["status"] = 1 << 29
    assert port.send(frame(60, 3)) == 1
    assert port.rings.take() == [frame(60, 3)]


def test_refused_sends_are_counted_and_the_packets_wait(model: Model) -> None:
    port = model(frames=4)
    port.rings.refuse_kicks()
    assert port.send(frame(60, 1)) == 1
    assert port.port.xstats()["tx_q0_refused_sends"] == 1
    assert port.rings.take() == [frame(60, 1)]


def test_what_was_not_sent_when_the_port_stops_is_counted_as_dropped(model: Model) -> None:
    port = model()
    assert port.send(*(frame(60, i) for i in range(5))) == 5
    assert port.rings.take(2) == [frame(60, 0), frame(60, 1)]
    port.port.stop()
    stats = port.port.stats()
    assert (stats.opackets, stats.obytes, stats.oerrors) == (2, 120, 3)
    assert port.port.xstats()["tx_q0_unsent_packets"] == 3
    port.port.start()
    assert port.send(frame(60, 7)) == 1
    assert port.rings.take() == [frame(60, 7)]
