# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile host writes into a receive ring: the queue breaks, nothing is touched that should not be, no mbuf is
lost, and a reset heals.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net_virtio.rigs import FRAME, RxRig

from pollmode.eal.jit import INTERPRETED
from pollmode.mbuf import Mempool
from pollmode.net_virtio.layout import (
    FAULT_ID,
    FAULT_LENGTH,
    FAULT_MISSING,
    FAULT_NOT_OUT,
    FAULT_NUM_BUFFERS,
    FAULT_USED_INDEX,
)
from pollmode.net_virtio.testing import net_header

Rigs = Callable[..., RxRig]

POSTED = 2048 + 12
BOTH = pytest.mark.parametrize("mergeable", [True, False], ids=["mergeable", "one buffer"])
EXAMPLES = settings(
    max_examples=20 if INTERPRETED else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

IDENTITY = st.integers(0, 17) | st.integers(0, 2**32 - 1)
LENGTH = st.integers(0, 2100) | st.just(2**32 - 1)


def broken_by(rig: RxRig, fault: int, word: int | None = None) -> None:
    """Check that the queue is broken by this fault, stays silent, says so, and works again after a reset."""
    assert rig.broken == fault
    told = rig.queue.fault()
    assert told is not None
    assert told.queue == 0
    if word is not None:
        assert told.word == word
    rig.host.set_used_index(rig.host.used_index + 1)
    assert rig.receive() == []
    rig.heal()
    rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]


@BOTH
@pytest.mark.parametrize("identity", [16, 17, 0xFFFF, 0x10000, 0x10003, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_used_id_outside_the_ring(rx_rig: Rigs, mergeable: bool, identity: int) -> None:
    rig = rx_rig(mergeable=mergeable)
    rig.host.deliver(FRAME)
    rig.host.use([(identity, 72)])
    assert rig.receive() == [FRAME]
    broken_by(rig, FAULT_ID, identity)


@BOTH
def test_a_used_id_twice_in_one_burst(rx_rig: Rigs, mergeable: bool) -> None:
    rig = rx_rig(mergeable=mergeable)
    (identity,) = rig.host.deliver(FRAME)
    rig.host.take()
    rig.host.use([(identity, 72)])
    assert rig.receive() == [FRAME]
    broken_by(rig, FAULT_NOT_OUT, identity)


@BOTH
def test_a_used_id_twice_in_two_bursts(rx_rig: Rigs, mergeable: bool) -> None:
    rig = rx_rig(mergeable=mergeable)
    (identity,) = rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]
    rig.host.use([(identity, 72)])
    assert rig.receive() == []
    broken_by(rig, FAULT_NOT_OUT, identity)


def test_a_used_id_that_was_never_posted(rx_rig: Rigs, pool: Mempool) -> None:
    taken = pool.get(pool.available() - 4)
    rig = rx_rig()
    assert rig.posted == 4
    rig.host.use([(9, 72)])
    assert rig.receive() == []
    assert rig.broken == FAULT_NOT_OUT
    pool.put(taken)


@BOTH
@pytest.mark.parametrize("length", [POSTED + 1, 0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_used_length_beyond_the_buffer_or_nothing(rx_rig: Rigs, mergeable: bool, length: int) -> None:
    rig = rx_rig(mergeable=mergeable)
    rig.host.deliver(FRAME)
    rig.host.use([(rig.host.take(), length)])
    assert rig.receive() == [FRAME]
    broken_by(rig, FAULT_LENGTH, length)


@BOTH
@pytest.mark.parametrize("length", [1, 11])
def test_a_used_length_below_the_header(rx_rig: Rigs, mergeable: bool, length: int) -> None:
    rig = rx_rig(mergeable=mergeable)
    identity = rig.host.take()
    rig.host.write(identity, net_header())
    rig.host.use([(identity, length)])
    assert rig.receive() == []
    broken_by(rig, FAULT_LENGTH, length)


@BOTH
@pytest.mark.parametrize("length", [POSTED, POSTED - 12])
def test_a_used_length_at_the_boundary_is_good(rx_rig: Rigs, mergeable: bool, length: int) -> None:
    rig = rx_rig(mergeable=mergeable)
    identity = rig.host.take()
    rig.host.write(identity, net_header() + FRAME)
    rig.host.use([(identity, length)])
    (packet,) = rig.packets()
    assert packet.pkt_len == length - 12
    packet.free()


@BOTH
@pytest.mark.parametrize("jump", [17, 1000, 0x7FFF, 0x8000, 0xFFFF])
def test_the_used_index_jumps_or_goes_back(rx_rig: Rigs, mergeable: bool, jump: int) -> None:
    rig = rx_rig(mergeable=mergeable)
    rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]
    rig.host.set_used_index(rig.host.used_index + jump)
    assert rig.receive() == []
    broken_by(rig, FAULT_USED_INDEX)


@pytest.mark.parametrize(
    ("buffers", "fault"),
    [
        (0, FAULT_NUM_BUFFERS),
        (17, FAULT_NUM_BUFFERS),
        (65535, FAULT_NUM_BUFFERS),
        (2, FAULT_MISSING),
        (16, FAULT_MISSING),
    ],
)
def test_num_buffers_that_cannot_be(rx_rig: Rigs, buffers: int, fault: int) -> None:
    rig = rx_rig()
    rig.host.deliver(FRAME)
    rig.host.deliver(FRAME, net_header(num_buffers=buffers))
    assert rig.receive() == [FRAME]
    broken_by(rig, fault, buffers)


def test_num_buffers_swallows_what_follows_but_no_more(rx_rig: Rigs) -> None:
    rig = rx_rig()
    rig.host.deliver(FRAME, net_header(num_buffers=3))
    rig.host.deliver(FRAME)
    rig.host.deliver(FRAME)
    (packet,) = rig.packets()
    assert packet.nb_segs == 3
    assert packet.pkt_len == 60 + 72 + 72
    packet.free()


@pytest.mark.parametrize("bad", [(99, 100), (3, 0xFFFFFFFF), (0, 100), (4, 0)])
@pytest.mark.parametrize("burst", [1, 32], ids=["beyond the burst", "within the burst"])
def test_a_bad_entry_in_the_middle_of_a_chain(rx_rig: Rigs, bad: tuple[int, int], burst: int) -> None:
    rig = rx_rig()
    first = rig.host.take()
    rig.host.write(first, net_header(num_buffers=3) + FRAME)
    rig.host.use([(first, 72), bad, (rig.host.take(), 100)])
    assert rig.receive(burst) == []
    assert rig.broken != 0
    rig.heal()


@EXAMPLES
@given(
    entries=st.lists(st.tuples(IDENTITY, LENGTH), max_size=20),
    header=st.binary(min_size=12, max_size=12),
    jump=st.integers(0, 20) | st.integers(0, 0xFFFF),
)
def test_whatever_a_host_writes_no_mbuf_is_lost(
    rx_rig: Rigs, entries: list[tuple[int, int]], header: bytes, jump: int
) -> None:
    rig = rx_rig()
    for identity in range(16):
        rig.host.write(identity, header)
    rig.host.use(entries, publish=False)
    rig.host.set_used_index(jump)
    for _ in range(4):
        assert all(len(frame) >= 14 for frame in rig.receive())
    rig.heal()
    rig.queue.end(rig.lcore)
    assert rig.pool.in_use() == 0
