# SPDX-License-Identifier: BSD-3-Clause
"""Rings full of nonsense: whatever the front end writes, nothing outside its buffers changes and no mbuf is lost."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.net_vhost_rig import LEGACY, MERGEABLE, MODERN, Rig, frame

from pollmode.net_vhost.queue import RX, TX
from pollmode.vhost.virtqueue import VRING_DESC_SIZE, used_size

NUM = 8
SIZE = 1 << 16
GUEST = 0x10_0000

addresses = st.one_of(
    st.integers(GUEST, GUEST + 2 * SIZE),
    st.sampled_from([0, GUEST - 1, GUEST + SIZE - 10, GUEST + 2 * SIZE - 20, 1 << 63, (1 << 64) - 8]),
)
lengths = st.one_of(st.integers(0, 300), st.sampled_from([0, 10, 12, 16, 128, 2048, 65535, 0xFFFFFFFF]))
descriptors = st.tuples(addresses, lengths, st.integers(0, 7), st.one_of(st.integers(0, NUM), st.just(0xFFFF)))
tables = st.lists(descriptors, min_size=NUM, max_size=NUM)
heads = st.lists(st.one_of(st.integers(0, NUM - 1), st.integers(0, 0xFFFF)), max_size=NUM)
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def lie(rig: Rig, table: list[tuple[int, int, int, int]], inner: list[tuple[int, int, int, int]]) -> None:
    """Write both tables: the ring's, and one that indirect descriptors may find at the end of the memory."""
    for index, (address, length, flags, following) in enumerate(table):
        if flags & 4 and address % 2:  # half of the indirect ones find a table of the right length
            address, length = rig.guest.end - NUM * VRING_DESC_SIZE, 16 * (1 + length % NUM)
        rig.ring.descriptor(index, address, length, flags, following)
    at = rig.ring.desc
    rig.ring.desc = rig.guest.end - NUM * VRING_DESC_SIZE
    for index, entry in enumerate(inner):
        rig.ring.descriptor(index, *entry)
    rig.ring.desc = at


@FUZZ
@given(tables, tables, heads, st.sampled_from([LEGACY, MODERN, MERGEABLE]))
def test_receiving_from_a_nonsensical_ring(
    make_rig: Callable[..., Rig],
    table: list[tuple[int, int, int, int]],
    inner: list[tuple[int, int, int, int]],
    offered: list[int],
    features: int,
) -> None:
    rig = make_rig(RX, features, num=NUM, regions=2, size=SIZE)
    lie(rig, table, inner)
    for head in offered:
        rig.ring.offer(head)
    before = rig.guest.read(GUEST, 2 * SIZE)
    for _ in range(NUM + 1):
        received = rig.run()
        assert received <= len(offered)
        rig.frames(received)
        assert rig.out == 0
        rig.queue.heal()
    after = bytearray(rig.guest.read(GUEST, 2 * SIZE))
    start = rig.ring.used - GUEST
    after[start : start + used_size(NUM)] = before[start : start + used_size(NUM)]
    assert after == before, "something besides the used ring was written"
    assert rig.ring.used_index <= len(offered)
    rig.close()


@FUZZ
@given(tables, tables, heads, st.sampled_from([LEGACY, MODERN, MERGEABLE]), st.integers(14, 2000))
def test_sending_into_a_nonsensical_ring(
    make_rig: Callable[..., Rig],
    table: list[tuple[int, int, int, int]],
    inner: list[tuple[int, int, int, int]],
    offered: list[int],
    features: int,
    size: int,
) -> None:
    rig = make_rig(TX, features, num=NUM, regions=2, size=SIZE)
    lie(rig, table, inner)
    for head in offered:
        rig.ring.offer(head)
    loaded = rig.load(*[(frame(size, seed),) for seed in range(4)])
    for _ in range(NUM + 1):
        sent = rig.run(loaded)
        loaded -= sent
        rig.burst[:loaded] = rig.burst[sent : sent + loaded].copy()
        assert rig.out == loaded
        rig.queue.heal()
    rig.free(loaded)
    assert rig.out == 0
    rig.close()
