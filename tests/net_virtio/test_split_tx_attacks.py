# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile host writes into a transmit ring: the queue breaks, no mbuf is freed twice or lost, a reset heals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net_virtio.rigs import FRAME, TxRig

from pollmode.eal.jit import INTERPRETED
from pollmode.mbuf import Mempool, Packet
from pollmode.net_virtio.layout import FAULT_ID, FAULT_NOT_OUT, FAULT_USED_INDEX

Rigs = Callable[..., TxRig]

EXAMPLES = settings(
    max_examples=20 if INTERPRETED else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

IDENTITY = st.integers(0, 17) | st.integers(0, 2**32 - 1)


def send(rig: TxRig, count: int = 1) -> int:
    packets = [Packet.alloc(rig.pool, FRAME) for _ in range(count)]
    took = rig.offer(packets)
    for packet in packets[took:]:
        packet.free()
    return took


def broken_by(rig: TxRig, fault: int, word: int | None = None) -> None:
    """Check that the queue is broken by this fault, stays silent, says so, and works again after a reset."""
    assert rig.broken == fault
    told = rig.queue.fault()
    assert told is not None
    assert told.queue == 1
    if word is not None:
        assert told.word == word
    assert send(rig) == 0
    rig.heal()
    assert send(rig) == 1
    assert [sent.frame for sent in rig.host.collect()] == [FRAME]


@pytest.mark.parametrize("identity", [16, 17, 0xFFFF, 0x10000, 0x10003, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_used_id_outside_the_ring(tx_rig: Rigs, identity: int) -> None:
    rig = tx_rig()
    send(rig, 8)
    rig.host.use([(identity, 0)] * 4)
    assert send(rig) == 0
    broken_by(rig, FAULT_ID, identity)


def test_a_used_id_twice(tx_rig: Rigs) -> None:
    rig = tx_rig()
    send(rig, 8)
    rig.host.use([(0, 0), (1, 0), (1, 0), (2, 0)])
    assert send(rig) == 0
    broken_by(rig, FAULT_NOT_OUT, 1)


def test_a_used_id_that_was_never_posted(tx_rig: Rigs) -> None:
    rig = tx_rig()
    send(rig, 8)
    rig.host.use([(12, 0)] * 4)
    assert send(rig) == 0
    broken_by(rig, FAULT_NOT_OUT, 12)


def test_a_used_id_in_the_middle_of_a_chain(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    long = Packet.alloc(pool, FRAME)
    long.chain(Packet.alloc(pool, FRAME))
    rig.send(long)
    send(rig, 6)
    rig.host.use([(1, 0)] * 4)
    assert send(rig) == 0
    broken_by(rig, FAULT_NOT_OUT, 1)


@pytest.mark.parametrize("jump", [9, 17, 0x7FFF, 0x8000, 0xFFFF])
def test_the_used_index_jumps_or_goes_back(tx_rig: Rigs, jump: int) -> None:
    rig = tx_rig()
    send(rig, 8)
    rig.host.set_used_index(jump)
    assert send(rig) == 0
    broken_by(rig, FAULT_USED_INDEX)


def test_a_used_length_means_nothing(tx_rig: Rigs) -> None:
    rig = tx_rig()
    send(rig, 8)
    rig.host.use([(identity, 0xFFFFFFFF) for identity in range(8)])
    assert send(rig) == 1
    assert rig.queue.outstanding() == 1
    assert rig.broken == 0


def test_a_next_written_by_the_host_is_not_followed(tx_rig: Rigs, pool: Mempool) -> None:
    rig = tx_rig()
    for _ in range(20):
        long = Packet.alloc(pool, FRAME)
        long.chain(Packet.alloc(pool, FRAME))
        assert rig.send(long) == 1
        identity = rig.host.take()
        table = rig.queue._zone.array("<u2", 8 * 16)
        table[7::8] = 0xFFFF  # every descriptor's next
        rig.host.use([(identity, 0)])
    rig.heal()


@EXAMPLES
@given(entries=st.lists(IDENTITY, max_size=20), jump=st.integers(0, 20) | st.integers(0, 0xFFFF))
def test_whatever_a_host_writes_no_mbuf_is_lost(tx_rig: Rigs, entries: list[int], jump: int) -> None:
    rig = tx_rig()
    send(rig, 12)
    rig.host.use([(identity, 0) for identity in entries], publish=False)
    rig.host.set_used_index(jump)
    for _ in range(4):
        send(rig, 4)
    rig.heal()
    assert rig.pool.audit().out == 0
