# SPDX-License-Identifier: BSD-3-Clause
"""Translations behind an IOMMU: what is known, what a ring waits for, what a front end may not say."""

import itertools
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vhost import OFFER, settle, until

from pollmode.vhost.connection import Connection
from pollmode.vhost.iotlb import Iotlb, IotlbType, Unknown, ask
from pollmode.vhost.memory import ACCESS_BOTH, ACCESS_READ, ACCESS_WRITE, ADDRESS_LIMIT
from pollmode.vhost.messages import IOTLB, U64, VRING_ADDR, BackendRequest, Request
from pollmode.vhost.testing import HONEST_FEATURES, WAIT, GuestMemory
from pollmode.vhost.virtqueue import VHOST_F_LOG_ALL, VIRTIO_F_IOMMU_PLATFORM, features

PAGE = 0x1000
BEHIND = HONEST_FEATURES | features(VIRTIO_F_IOMMU_PLATFORM)
IOVA = 0x40_0000_0000  # what the guest's memory begins at, for its devices


def known(iotlb):
    return iotlb.table.rows(0, iotlb.table.count)


def test_ranges_that_follow_each_other_on_both_sides_become_one():
    iotlb = Iotlb()
    iotlb.update(0x1000, PAGE, 0x9000, ACCESS_BOTH)
    iotlb.update(0x3000, PAGE, 0xB000, ACCESS_BOTH)
    assert len(known(iotlb)) == 2
    iotlb.update(0x2000, PAGE, 0xA000, ACCESS_BOTH)
    assert known(iotlb) == [(0x1000, 3 * PAGE, 0x8000, ACCESS_BOTH)]


@pytest.mark.parametrize(
    ("host", "access", "region"),
    [(0xC000, ACCESS_BOTH, 0), (0xA000, ACCESS_READ, 0), (0xA000, ACCESS_BOTH, 1)],
    ids=["elsewhere", "other access", "other region"],
)
def test_ranges_that_differ_stay_apart(host, access, region):
    iotlb = Iotlb()
    iotlb.update(0x1000, PAGE, 0x9000, ACCESS_BOTH)
    iotlb.update(0x2000, PAGE, host, access, region)
    assert len(known(iotlb)) == 2


def test_newer_range_wins_where_two_overlap():
    iotlb = Iotlb()
    iotlb.update(0x1000, 4 * PAGE, 0x9000, ACCESS_BOTH)
    iotlb.update(0x2000, PAGE, 0x5000, ACCESS_READ)
    assert known(iotlb) == [
        (0x1000, PAGE, 0x8000, ACCESS_BOTH),
        (0x2000, PAGE, 0x3000, ACCESS_READ),
        (0x3000, 2 * PAGE, 0x8000, ACCESS_BOTH),
    ]


def test_address_is_found_only_in_one_piece_and_with_the_access():
    iotlb = Iotlb()
    iotlb.update(0x1000, PAGE, 0x9000, ACCESS_BOTH)
    iotlb.update(0x2000, PAGE, 0xA000, ACCESS_READ)
    iotlb.update(0x3000, PAGE, 0xF000, ACCESS_READ)
    assert iotlb.host(0x1800, PAGE, ACCESS_READ) == 0x9800
    assert iotlb.host(0x2800, PAGE, ACCESS_READ) == 0, "its halves lie apart"
    for address, size, access, missing in (
        (0x1800, PAGE, ACCESS_WRITE, 0x2000),
        (0x3800, PAGE, ACCESS_READ, 0x4000),
        (0x4000, 1, ACCESS_READ, 0x4000),
        (0xFFF, 2, ACCESS_READ, 0xFFF),
    ):
        with pytest.raises(Unknown) as caught:
            iotlb.host(address, size, access)
        assert (caught.value.address, caught.value.access) == (missing, access)


def test_table_that_is_full_starts_over():
    iotlb = Iotlb(4)
    for number in range(4):
        iotlb.update(0x10000 * number, PAGE, 0x9000, ACCESS_BOTH)
    assert len(known(iotlb)) == 4
    iotlb.update(0x90000, PAGE, 0x9000, ACCESS_BOTH)
    assert [start for start, *_ in known(iotlb)] == [0x90000]


def test_range_cut_in_two_without_room_is_forgotten_whole():
    iotlb = Iotlb(1)
    iotlb.update(0x1000, 3 * PAGE, 0x9000, ACCESS_BOTH)
    iotlb.invalidate(0x2000, PAGE)
    assert known(iotlb) == []


def test_last_address_there_is():
    iotlb = Iotlb()
    iotlb.update(ADDRESS_LIMIT - PAGE, PAGE, 0x9000, ACCESS_BOTH)
    assert iotlb.host(ADDRESS_LIMIT - 1, 1, ACCESS_BOTH) == 0x9FFF
    iotlb.invalidate(0, ADDRESS_LIMIT)
    assert known(iotlb) == []


access = st.sampled_from([ACCESS_READ, ACCESS_BOTH])
steps = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 12),
        st.integers(1, 5),
        st.integers(0, 3),
        st.sampled_from([ACCESS_READ, ACCESS_BOTH]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps)
def test_ranges_agree_with_a_table_of_single_pages(steps):
    iotlb, pages = Iotlb(64), {}
    for update, first, count, place, access in steps:
        covered = range(first, first + count)
        if update:
            iotlb.update(first * PAGE, count * PAGE, (100 * place + first) * PAGE, access)
            pages |= {page: (100 * place + page, access) for page in covered}
        else:
            iotlb.invalidate(first * PAGE, count * PAGE)
            pages = {page: there for page, there in pages.items() if page not in covered}
        rows = known(iotlb)
        assert all(a[0] + a[1] <= b[0] for a, b in itertools.pairwise(rows))
        flat = {
            start // PAGE + n: ((start + delta) // PAGE + n, access)
            for start, length, delta, access in rows
            for n in range(length // PAGE)
        }
        assert flat == pages


# --- over a socket ----------------------------------------------------------------------------------------------------


@pytest.fixture
def memory():
    with GuestMemory() as made:
        yield made


class Channel:
    """The front end's end of the channel for the back end's requests."""

    def __init__(self, front):
        ours, theirs = socket.socketpair()
        front.send(Request.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        theirs.close()
        self.connection = Connection(ours, lambda request, flags, size: None)

    def request(self):
        """The next request: address, access, type."""
        with self.connection.receive_within(WAIT) as message:
            assert message.request == BackendRequest.IOTLB_MSG
            address, size, user, access, kind = IOTLB.unpack(message.payload)
            assert (size, user) == (0, 0)
            return address, access, kind

    def silent(self):
        return self.connection.receive() is None


@pytest.fixture
def channel(front, owner, memory):
    owner.features = OFFER | features(VIRTIO_F_IOMMU_PLATFORM)
    front.negotiate(BEHIND)
    made = Channel(front)
    front.share(memory)
    yield made
    made.connection.close()


def tell(front, memory, kind, offset, size, access=ACCESS_BOTH):
    """Update or invalidate part of the memory, which begins at IOVA; return what is acknowledged."""
    payload = IOTLB.pack(IOVA + offset, size, memory.address + offset, access, kind)
    return front.acknowledged(Request.IOTLB_MSG, payload)


def start(front, memory, ring):
    """Start ring 0, described by I/O virtual addresses."""
    moved = [IOVA + part - memory.address for part in (ring.desc, ring.used, ring.avail)]
    front.start_ring(0, ring)
    front.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(0, 0, *moved, 0))
    settle(front)


def parts(memory, ring):
    return sorted(part - memory.address for part in (ring.desc, ring.avail, ring.used))


def test_ring_waits_for_its_translations_and_asks_for_each_once(session, front, owner, memory, channel):
    ring = memory.ring(256)
    start(front, memory, ring)
    asked = {channel.request() for _ in range(2)}  # before the addresses were I/O virtual ones, and after
    assert (IOVA + ring.desc - memory.address, ACCESS_READ, IotlbType.MISS) in asked
    assert not owner.running
    settle(front)
    assert channel.silent()
    for offset in range(0, memory.size, PAGE):
        if owner.running:
            break
        assert tell(front, memory, IotlbType.UPDATE, offset, PAGE) == 0
    vring = owner.running[0]
    assert vring.desc - session.memory[0].file.address == ring.desc - memory.address
    assert vring.used - vring.desc == ring.used - ring.desc


def test_ring_whose_pages_are_taken_back_stops_before_the_answer(session, front, owner, memory, channel):
    ring = memory.ring(256)
    assert tell(front, memory, IotlbType.UPDATE, 0, memory.size) == 0
    start(front, memory, ring)
    assert list(owner.running) == [0]
    used = ring.used - memory.address
    assert tell(front, memory, IotlbType.INVALIDATE, memory.size - PAGE, PAGE) == 0
    assert list(owner.running) == [0], "that was another page"
    assert tell(front, memory, IotlbType.INVALIDATE, used & -PAGE, PAGE) == 0
    assert owner.events[-1] == ("stopped", 0)
    assert not owner.running
    while channel.request()[0] & -PAGE != IOVA + used & -PAGE:
        pass
    assert tell(front, memory, IotlbType.UPDATE, used & -PAGE, PAGE) == 0
    assert owner.events[-1][:2] == ("ready", 0)


@pytest.mark.parametrize("whole", [(0, 0), (0, 1 << 63), (0, (1 << 64) - 1)])
def test_everything_may_be_taken_back_at_once(session, front, owner, memory, channel, whole):
    assert tell(front, memory, IotlbType.UPDATE, 0, memory.size) == 0
    start(front, memory, memory.ring(16))
    assert front.acknowledged(Request.IOTLB_MSG, IOTLB.pack(*whole, 0, 0, IotlbType.INVALIDATE)) == 0
    assert not owner.running
    assert known(session.iotlb) == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((IOVA, 0, 0, 3, 2), "empty"),
        ((1 << 63, PAGE, 0, 3, 2), "beyond 63 bits"),
        (((1 << 63) - PAGE, 2 * PAGE, 0, 3, 2), "beyond 63 bits"),
        (((1 << 64) - 1, (1 << 64) - 1, 0, 3, 2), "beyond 63 bits"),
        ((IOVA, PAGE, 0, 0, 2), "access 0"),
        ((IOVA, PAGE, 0, 4, 2), "access 4"),
        ((IOVA, PAGE, 1, 3, 2), "not inside one memory region"),
        ((IOVA, 1 << 62, 0, 3, 2), "not inside one memory region"),
        ((IOVA, PAGE, (1 << 64) - PAGE, 3, 2), "not inside one memory region"),
        ((IOVA, 0, 0, 0, 3), "empty"),
        (((1 << 64) - 1, 2, 0, 0, 3), "beyond 64 bits"),
        ((IOVA, PAGE, 0, 3, 0), "type 0"),
        ((IOVA, PAGE, 0, 3, 1), "type 1"),
        ((IOVA, PAGE, 0, 3, 4), "type 4"),
        ((IOVA, PAGE, 0, 3, 255), "type 255"),
    ],
)
def test_impossible_messages_end_the_session_with_their_name(front, owner, memory, channel, fields, text, capfd):
    start_, size, user, access, kind = fields
    user = memory.address if user == 0 else memory.address + memory.size - 1 if user == 1 else user
    front.send(Request.IOTLB_MSG, IOTLB.pack(start_, size, user, access, kind))
    until(lambda: bool(owner.closed))
    assert text in owner.closed[0]


def test_ring_beyond_63_bits_waits_for_nothing(front, owner, memory, channel):
    front.start_ring(0, memory.ring(16))
    front.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(0, 0, *[(1 << 64) - 16] * 3, 0))
    until(lambda: bool(owner.closed))
    assert "descriptor table" in owner.closed[0]


def test_without_the_feature_the_message_is_refused(front, session):
    front.negotiate()
    assert front.acknowledged(Request.IOTLB_MSG, IOTLB.pack(0, PAGE, 0, 3, 2)) == 1
    assert not session.closed


def test_new_memory_forgets_all_translations_and_logging_none(session, front, owner, memory, channel):
    assert tell(front, memory, IotlbType.UPDATE, 0, memory.size) == 0
    front.send(Request.SET_FEATURES, U64.pack(BEHIND | features(VHOST_F_LOG_ALL)))
    settle(front)
    assert len(known(session.iotlb)) == 1
    with GuestMemory(guest_address=0x2000_0000) as other:
        front.share(other)
        settle(front)
        assert known(session.iotlb) == []


def test_flood_of_ranges_and_of_rings_that_move_stays_bounded(session, front, owner, memory, channel):
    for number in range(2100):
        front.send(Request.IOTLB_MSG, IOTLB.pack(number * 2 * PAGE, PAGE, memory.address, 3, IotlbType.UPDATE))
    settle(front)
    assert 0 < session.iotlb.table.count <= 2048
    for number in range(5000):
        ask(session, number, ACCESS_READ)
        if number % 100 == 0:
            while not channel.silent():
                pass
    assert len(session.iotlb.asked) <= 2048


def test_back_end_without_a_channel_says_so_once(session, front, owner, memory, capfd):
    owner.features = OFFER | features(VIRTIO_F_IOMMU_PLATFORM)
    front.negotiate(BEHIND)
    front.share(memory)
    settle(front)
    for _ in range(3):
        ask(session, IOVA, ACCESS_READ)
    assert capfd.readouterr().err.count("there is no back-end channel") == 1
