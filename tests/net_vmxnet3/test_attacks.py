# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile device writes: the queue breaks, nothing else is touched, no mbuf is lost, a reset heals."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net_vmxnet3.rigs import RX_RING, TX_RING, Rig, frame

from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import PortConfig, RxOffload
from pollmode.net_vmxnet3 import layout as at
from pollmode.net_vmxnet3.records import (
    FAULT_BEGIN,
    FAULT_BUFFER,
    FAULT_ENDLESS,
    FAULT_INDEX,
    FAULT_LENGTH,
    FAULT_NO_BEGIN,
    FAULT_NOT_END,
    FAULT_NOT_OUT,
    FAULT_QUEUE,
    FAULT_TEXTS,
    FAULT_TYPE,
)

Rigs = Callable[..., Rig]
SCATTER = PortConfig(rx_offloads=RxOffload.SCATTER)
ALL = PortConfig(
    rx_offloads=RxOffload.SCATTER | RxOffload.VLAN_STRIP | RxOffload.TCP_LRO | RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM
)
ROOM = 2048
EXAMPLES = settings(
    max_examples=15 if INTERPRETED else 100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MUTATIONS = int(os.environ.get("POLLMODE_MUTATIONS", "300" if INTERPRETED else "5000"))


def completed(
    index: int = 0, *, length: int = 64, rqid: int = 0, sop: int = 1, eop: int = 1, kind: int = at.TYPE_RX, err: int = 0
) -> tuple[int, int]:
    """Return the words of a receive completion."""
    word0 = index | eop << at.RCD_EOP.shift | sop << at.RCD_SOP.shift | rqid << at.RCD_RQID.shift
    return word0, length | err << at.RCD_ERR.shift | kind << at.RCD_TYPE.shift


def broken_by(rig: Rig, fault: int, word: int | None = None) -> None:
    """Check that the only queue is broken by this fault, stays silent, says so once, and works after a reset."""
    (told,) = rig.port.poll()
    assert FAULT_TEXTS[fault] in str(told)
    assert told.queue == 0
    if word is not None:
        assert told.word == word
    if str(told).startswith("Rx"):
        rig.model.complete("rx", 0, *completed(1))
        assert rig.receive() == []
    else:
        assert rig.send(rig.packet(frame())) == 0
    assert rig.port.poll() == []
    rig.heal()
    assert rig.model.deliver(frame(number=3)) == 0
    assert rig.receive() == [frame(number=3)]
    assert rig.send(rig.packet(frame(300))) == 1
    assert [sent.frame for sent in rig.model.collect()] == [frame(300)]


@pytest.mark.parametrize("index", [RX_RING, RX_RING + 1, 0x7FF, 0xFFF])
def test_an_index_outside_the_ring(rig: Rig, index: int) -> None:
    rig.model.deliver(frame())
    rig.model.complete("rx", 0, *completed(index))
    assert rig.receive() == [frame()]
    broken_by(rig, FAULT_INDEX, index)


@pytest.mark.parametrize("index", [0, RX_RING - 1])
def test_an_index_twice_or_never_posted(rig: Rig, index: int) -> None:
    rig.model.deliver(frame())  # descriptor 0; the last one always stays empty
    rig.model.complete("rx", 0, *completed(index))
    assert rig.receive() == [frame()]
    broken_by(rig, FAULT_NOT_OUT, index)


def test_an_index_twice_in_two_bursts(rig: Rig) -> None:
    rig.model.deliver(frame())
    assert rig.receive() == [frame()]
    rig.model.complete("rx", 0, *completed(0))
    assert rig.receive() == []
    broken_by(rig, FAULT_NOT_OUT, 0)


def test_an_index_ahead_passes_over_buffers_which_come_back(rig: Rig) -> None:
    before = rig.pool.in_use()
    rig.model.complete("rx", 0, *completed(5))
    assert len(rig.receive()) == 1
    assert rig.port.xstats()["rx_q0_skipped_buffers"] == 5
    assert rig.pool.in_use() == before - 6
    rig.model.complete("rx", 0, *completed(3))  # one of those
    assert rig.receive() == []
    broken_by(rig, FAULT_NOT_OUT, 3)


@pytest.mark.parametrize("revision", [1, 3])
@pytest.mark.parametrize("rqid", [1, 2, 3, 4, 0x3FF])
def test_a_ring_this_queue_has_not(make_rig: Rigs, revision: int, rqid: int) -> None:
    rig = make_rig(revision=revision)
    rig.model.complete("rx", 0, *completed(rqid=rqid))
    got = rig.receive()
    if revision == 3 and rqid == 2:  # its data ring
        assert len(got) == 1
    else:
        broken_by(rig, FAULT_QUEUE, rqid)


def test_a_completion_of_another_queue(make_rig: Rigs) -> None:
    rig = make_rig(revision=3, rx_queues=4, config=SCATTER)
    for rqid in (1, 3, 5, 7, 9, 11):
        rig.model.complete("rx", 0, *completed(rqid=rqid))
        assert rig.receive() == []
        assert "is of another queue or ring" in rig.broken[0]
        rig.heal()


@pytest.mark.parametrize("length", [ROOM + 1, 0x3FFF])
def test_a_length_beyond_the_buffer(rig: Rig, length: int) -> None:
    rig.model.complete("rx", 0, *completed(length=length))
    assert rig.receive() == []
    broken_by(rig, FAULT_LENGTH, length)


def test_a_length_at_the_boundary_is_good(rig: Rig) -> None:
    rig.model.complete("rx", 0, *completed(length=ROOM))
    assert [len(data) for data in rig.receive()] == [ROOM]


def test_a_length_beyond_the_entry_of_the_data_ring(make_rig: Rigs) -> None:
    rig = make_rig(revision=3)
    rig.model.complete("rx", 0, *completed(length=256, rqid=2))
    assert [len(data) for data in rig.receive()] == [256]
    rig.model.complete("rx", 0, *completed(1, length=257, rqid=2))
    assert rig.receive() == []
    broken_by(rig, FAULT_LENGTH, 257)


@pytest.mark.parametrize("length", range(14))
def test_less_than_an_ethernet_header_is_dropped(rig: Rig, length: int) -> None:
    rig.model.complete("rx", 0, *completed(length=length))
    rig.model.complete("rx", 0, *completed(1))
    assert len(rig.receive()) == 1
    counted = "rx_q0_drop_short" if length else "rx_q0_skipped_buffers"
    assert rig.port.xstats()[counted] == 1
    assert rig.broken == []


@pytest.mark.parametrize("kind", [at.TYPE_RX_LRO, 5, 64, 127])
def test_a_completion_of_an_unknown_type(rig: Rig, kind: int) -> None:
    rig.model.complete("rx", 0, *completed(kind=kind))
    assert rig.receive() == []
    broken_by(rig, FAULT_TYPE, kind)


def test_a_packet_that_begins_twice(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, eop=0))
    rig.model.complete("rx", 0, *completed(1))
    assert rig.receive() == []
    broken_by(rig, FAULT_BEGIN)


def test_a_packet_that_begins_twice_in_two_bursts(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, eop=0))
    assert rig.receive() == []
    rig.model.complete("rx", 0, *completed(1, eop=0))
    assert rig.receive() == []
    broken_by(rig, FAULT_BEGIN)


@pytest.mark.parametrize("eop", [0, 1])
def test_a_packet_that_goes_on_without_a_begin(make_rig: Rigs, eop: int) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.deliver(frame())
    rig.model.complete("rx", 0, *completed(0, rqid=1, sop=0, eop=eop))
    assert rig.receive() == [frame()]
    broken_by(rig, FAULT_NO_BEGIN)


def test_a_packet_that_begins_in_a_body_buffer(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, rqid=1))
    assert rig.receive() == []
    broken_by(rig, FAULT_BUFFER)


def test_a_packet_that_goes_on_in_a_head_buffer(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, eop=0))
    rig.model.complete("rx", 0, *completed(1, sop=0))
    assert rig.receive() == []
    broken_by(rig, FAULT_BUFFER)


def test_an_empty_part_of_a_packet(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, eop=0))
    rig.model.complete("rx", 0, *completed(0, rqid=1, sop=0, eop=0, length=0))
    assert rig.receive() == []
    broken_by(rig, FAULT_LENGTH, 0)


def test_a_packet_that_never_ends_takes_no_more_than_the_ring(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    rig.model.complete("rx", 0, *completed(0, eop=0))
    for number in range(2 * RX_RING):  # the ring is refilled meanwhile
        rig.model.complete("rx", 0, *completed(number % RX_RING, rqid=1, sop=0, eop=0))
        assert rig.receive() == []
        if rig.broken:
            break
    broken_by(rig, FAULT_ENDLESS, RX_RING)
    rig.port.stop()
    assert rig.pool.in_use() == 0


def test_a_damaged_end_of_a_chain_frees_all_of_it(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=SCATTER)
    before = rig.pool.in_use()
    rig.model.complete("rx", 0, *completed(0, eop=0))
    rig.model.complete("rx", 0, *completed(0, rqid=1, sop=0, err=1))
    assert rig.receive() == []
    assert rig.broken == []
    assert rig.pool.in_use() == before - 2
    assert rig.port.stats().ierrors == 1


def test_generations_that_flip_at_will_show_nothing_twice(rig: Rig) -> None:
    record = rig.model.record("rx", 0)
    for number in range(40):
        rig.model.deliver(frame(number=number))
    for _ in range(3):  # the device writes what it wrote again, with the other generation
        record["comp_gen"] ^= 1
        rig.model.complete("rx", 0, *completed(2))
    rig.receive(64)
    rig.receive(64)
    rig.heal()
    rig.model.deliver(frame())
    assert rig.receive() == [frame()]


@pytest.mark.parametrize("index", [TX_RING, TX_RING + 1, 0xFFF])
def test_a_sent_index_outside_the_ring(rig: Rig, index: int) -> None:
    sent_and_completed(rig, index)
    broken_by(rig, FAULT_INDEX, index)


@pytest.mark.parametrize("index", [40, TX_RING - 1])
def test_a_sent_index_that_is_not_out(rig: Rig, index: int) -> None:
    sent_and_completed(rig, index)
    broken_by(rig, FAULT_NOT_OUT, index)


def test_a_sent_index_twice(rig: Rig) -> None:
    sent_and_completed(rig, 0, 0)
    broken_by(rig, FAULT_NOT_OUT, 0)


def test_a_sent_index_in_the_middle_of_a_chain(rig: Rig) -> None:
    rig.send(rig.packet(frame(), b"middle", b"end"), *(rig.packet(frame(200)) for _ in range(32)))
    rig.model.complete("tx", 0, 1, 0)
    rig.send(rig.packet(frame()))
    broken_by(rig, FAULT_NOT_END, 1)


def test_a_sent_completion_of_another_type(rig: Rig) -> None:
    rig.send(*(rig.packet(frame(200)) for _ in range(40)))
    rig.model.complete("tx", 0, 0, 3 << at.TCD_TYPE.shift)
    rig.send(rig.packet(frame()))
    broken_by(rig, FAULT_TYPE, 3)


def sent_and_completed(rig: Rig, *indexes: int) -> None:
    """Send more than a reclaim waits for, complete these descriptors, and have the driver look."""
    rig.send(*(rig.packet(frame(200)) for _ in range(40)))
    for index in indexes:
        rig.model.complete("tx", 0, index, 0)
    rig.send(rig.packet(frame()))


def test_a_completion_of_the_last_one_completes_all_before(rig: Rig) -> None:
    before = rig.pool.in_use()
    rig.send(*(rig.packet(frame(200)) for _ in range(40)))
    rig.model.complete("tx", 0, 39, 0)
    assert rig.send(rig.packet(frame())) == 1
    assert rig.pool.in_use() == before


@pytest.mark.parametrize("deferred", [0, 1, 0xFFFF, 0xFFFFFFFF])
def test_a_count_of_deferred_packets_that_the_device_wrote(rig: Rig, deferred: int) -> None:
    rig.device._require_shared().tx_desc(0)["deferred"] = deferred
    assert rig.send(rig.packet(frame())) == 1
    assert len(rig.model.collect()) == 1


WORDS = st.integers(0, 2**64 - 1)
NEAR = st.builds(
    completed,
    st.integers(0, RX_RING),
    length=st.integers(0, ROOM + 1),
    rqid=st.integers(0, 3),
    sop=st.integers(0, 1),
    eop=st.integers(0, 1),
    kind=st.sampled_from([3, 3, 0, 4, 5]),
    err=st.sampled_from([0, 0, 0, 1]),
)


@EXAMPLES
@given(completions=st.lists(NEAR | st.tuples(WORDS, WORDS), max_size=12))
def test_whatever_a_device_completes_no_mbuf_is_lost(make_rig: Rigs, completions: list[tuple[int, int]]) -> None:
    rig = lasting(make_rig)
    for words in completions:
        rig.model.complete("rx", 0, *words)
        rig.receive(4)
    rig.receive(64)
    rig.heal()
    rig.model.deliver(frame())
    assert rig.receive() == [frame()]


@EXAMPLES
@given(
    sizes=st.lists(st.integers(1, 3), min_size=33, max_size=40),
    completions=st.lists(st.tuples(st.integers(0, 130) | WORDS, st.just(0) | WORDS), max_size=12),
)
def test_whatever_a_device_says_it_sent_no_mbuf_is_lost(
    make_rig: Rigs, sizes: list[int], completions: list[tuple[int, int]]
) -> None:
    rig = lasting(make_rig)
    rig.send(*(rig.packet(frame(200), *[b"more"] * (size - 1)) for size in sizes))
    for words in completions:
        rig.model.complete("tx", 0, *words)
        rig.send(rig.packet(frame()))
    rig.heal()
    assert rig.send(rig.packet(frame())) == 1
    assert [sent.frame for sent in rig.model.collect()] == [frame()]


def lasting(make_rig: Rigs) -> Rig:
    """Return the one rig of a test with many examples."""
    made: list[Rig] = make_rig.__closure__[1].cell_contents  # type: ignore[attr-defined]
    return made[0] if made else make_rig(revision=3, config=ALL, mbufs=700)


def test_mutated_completions_end_in_a_marked_queue_and_a_working_reset(make_rig: Rigs) -> None:
    """Good completions with some bits turned over, a burst of them between two looks."""
    rig = make_rig(revision=3, config=ALL, mbufs=700)
    chance = random.Random(3)
    resets = written = 0
    while written < MUTATIONS:
        queue = rig.model.record("rx", 0)
        for _ in range(chance.randrange(1, 32)):
            index = int(queue["ring0"]["next"] + chance.randrange(3)) % RX_RING
            word0, word1 = completed(index, length=chance.randrange(ROOM + 8))
            if chance.random() < 0.2:
                word0 ^= 1 << chance.randrange(64)
                word1 ^= 1 << chance.randrange(64)
            queue["ring0"]["next"] = (index + 1) % RX_RING
            rig.model.complete("rx", 0, word0, word1)
            written += 1
        rig.receive(64)
        if rig.broken:
            rig.heal()
            resets += 1
            rig.model.deliver(frame())
            assert rig.receive() == [frame()]
    assert resets > 10
