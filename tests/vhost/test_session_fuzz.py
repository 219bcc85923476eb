# SPDX-License-Identifier: BSD-3-Clause
"""Streams of messages nobody would write by hand: no exception, no descriptor or mapping kept, no broken promise.

The recording owner checks the promises as it is called: a ring is ready once before it is stopped, it is mapped while
it is stopped, features never change under it. It runs on this thread, so a broken promise fails the test.
"""

import os
import socket

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vhost import PROTOCOL_OFFER, Recorder, kept

from pollmode.eal.jit import INTERPRETED
from pollmode.vhost.messages import (
    HEADER,
    IOTLB,
    LOG_AREA,
    RULES,
    U64,
    VRING_ADDR,
    VRING_STATE,
    RegionEntry,
    Request,
    pack_region,
    pack_table,
)
from pollmode.vhost.session import Session
from pollmode.vhost.testing import HONEST_FEATURES, GuestMemory, ScriptedFrontend
from pollmode.vhost.virtqueue import VHOST_F_LOG_ALL, VIRTIO_F_IOMMU_PLATFORM, features

LOGGING = HONEST_FEATURES | features(VHOST_F_LOG_ALL)
BEHIND = HONEST_FEATURES | features(VIRTIO_F_IOMMU_PLATFORM)
EXAMPLES = 40 if INTERPRETED else 200
SIZE = 1 << 18
GUEST = 0x1000_0000
USER = 0x7000_0000_0000  # the front end's addresses, whatever the mapping here

edge = st.sampled_from([0, 1, 2, 3, 4, 5, 255, 256, 257, 0x7FFF, 0x8000, 0xFFFF, 0x10000, (1 << 31), (1 << 32) - 1])
word32 = st.one_of(edge, st.integers(0, (1 << 32) - 1))
index = st.one_of(st.integers(0, 3), word32)
inside = st.integers(0, SIZE // 16 - 1).map(lambda slot: USER + 16 * slot)
word64 = st.one_of(inside, edge, st.integers(0, (1 << 64) - 1), st.sampled_from([(1 << 63), (1 << 64) - 4096]))
size = st.one_of(st.sampled_from([0, 4096, SIZE, SIZE + 1, 1 << 63, (1 << 64) - 1]), st.integers(0, SIZE))
entry = st.builds(
    RegionEntry,
    st.one_of(st.sampled_from([GUEST, GUEST + SIZE, 0]), word64),
    size,
    st.one_of(st.sampled_from([USER, USER + SIZE]), word64),
    st.one_of(st.sampled_from([0, 0, 4096, 100]), word64),
)
entries = st.one_of(st.just([RegionEntry(GUEST, SIZE, USER, 0)]), st.lists(entry, min_size=1, max_size=8))
files = st.lists(st.sampled_from(["memory", "memory", "eventfd", "eventfd", "pipe", "socket"]), max_size=3)
state = st.builds(VRING_STATE.pack, index, word32)
number = st.builds(
    U64.pack,
    st.one_of(
        index,
        st.sampled_from([0x100, 0x101, HONEST_FEATURES, LOGGING, BEHIND, PROTOCOL_OFFER]),
        word64,
    ),
)
address = st.builds(VRING_ADDR.pack, index, edge, word64, word64, word64, word64)
payloads = {
    8: st.one_of(state, number),
    0: st.just(b""),
    16: st.builds(LOG_AREA.pack, size, word64),
    IOTLB.size: st.builds(IOTLB.pack, st.one_of(edge, word64), size, word64, st.integers(0, 4), st.integers(0, 5)),
    VRING_ADDR.size: st.one_of(address, st.builds(pack_region, entry)),
}


def _payload(request):
    if request == Request.SET_MEM_TABLE:
        return entries.map(pack_table)
    sizes = RULES[request].sizes if request in RULES else (8,)
    return st.one_of(*(payloads[size] for size in sizes))


def _files(request):
    """Mostly what belongs there, so that streams get far."""
    if request == Request.SET_MEM_TABLE:
        return st.one_of(st.just(["memory"]), files)
    if request in (Request.ADD_MEM_REG, Request.SET_LOG_BASE):
        return st.one_of(st.just(["memory"]), files)
    if request in (Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR):
        return st.one_of(st.just(["eventfd"]), st.just([]), files)
    return st.just([]) if request != Request.SET_BACKEND_REQ_FD else st.one_of(st.just(["socket"]), files)


messages = st.sampled_from(sorted(Request)).flatmap(
    lambda request: st.tuples(st.just(request), st.sampled_from([1, 1, 1, 9, 9, 5]), _payload(request), _files(request))
)
noise = st.tuples(word32, word32, st.binary(max_size=40), files)


class Bench:
    """A session on this thread, and the descriptors a hostile front end might send."""

    def __init__(self):
        self.owner = Recorder()
        self.owner.features |= features(VIRTIO_F_IOMMU_PLATFORM)
        ours, theirs = socket.socketpair()
        self.session = Session(ours, self.owner)
        self.front = ScriptedFrontend(theirs)
        theirs.setblocking(False)  # all runs on this thread: nobody to wait for
        self.memory = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, SIZE)
        self.pipe = os.pipe()
        self.socket, self.other = socket.socketpair()
        self.files = {"memory": self.memory, "pipe": self.pipe[1], "socket": self.socket.fileno()}

    def send(self, request, flags, payload, kinds):
        fds = [self.files[kind] if kind in self.files else self.front.eventfd() for kind in kinds]
        self.front.send(request, payload, fds, flags=flags)
        while self.front.eventfds:
            os.close(self.front.eventfds.pop())
        self.session.receive()
        self.drain()

    def drain(self):
        try:
            while self.front.sock.recv(4096):
                pass
        except (BlockingIOError, ConnectionResetError):
            return

    def start(self, chosen=HONEST_FEATURES):
        """Do what an honest front end does, up to two running rings; I/O virtual addresses are those of the user."""
        self.send(Request.SET_PROTOCOL_FEATURES, 1, U64.pack(PROTOCOL_OFFER), [])
        self.send(Request.SET_FEATURES, 1, U64.pack(chosen), [])
        self.send(Request.SET_MEM_TABLE, 1, pack_table([RegionEntry(GUEST, SIZE, USER, 0)]), ["memory"])
        if chosen == BEHIND:
            self.send(Request.IOTLB_MSG, 1, IOTLB.pack(USER, SIZE, USER, 3, 2), [])
        for ring in range(2):
            base = USER + ring * 0x8000
            self.send(Request.SET_VRING_NUM, 1, VRING_STATE.pack(ring, 256), [])
            self.send(Request.SET_VRING_ADDR, 1, VRING_ADDR.pack(ring, 0, base, base + 0x2000, base + 0x4000, 0), [])
            self.send(Request.SET_VRING_KICK, 1, U64.pack(ring), ["eventfd"])
            self.send(Request.SET_VRING_ENABLE, 1, VRING_STATE.pack(ring, 1), [])
        assert sorted(self.owner.running) == [0, 1]

    def close(self):
        self.session.close()
        self.front.close()
        os.close(self.memory)
        for fd in self.pipe:
            os.close(fd)
        self.socket.close()
        self.other.close()


def _attack(stream, started, chosen=HONEST_FEATURES):
    before = kept()
    bench = Bench()
    try:
        if started:
            bench.start(chosen)
        for request, flags, payload, kinds in stream:
            bench.send(request, flags, payload, kinds)
            for vring in bench.owner.running.values():
                _touch(vring)
    finally:
        bench.close()
    assert bench.owner.running == {}
    assert len(bench.owner.closed) == 1
    assert not kept() - before


def _touch(vring):
    """Read the first and the last byte of every part: a ring that is ready is mapped in its full length."""
    for address, length in (
        (vring.desc, 16 * vring.num),
        (vring.avail, 6 + 2 * vring.num),
        (vring.used, 6 + 8 * vring.num),
    ):
        np.ctypeslib.as_array((np.ctypeslib.ctypes.c_ubyte * length).from_address(address))[[0, -1]].sum()


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.one_of(messages, messages, messages, noise), min_size=1, max_size=12), st.booleans())
def test_any_stream_of_messages_leaves_the_process_whole(stream, started):
    _attack(stream, started)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(messages.filter(lambda message: message[1] != 5), min_size=1, max_size=6),
    st.sampled_from([HONEST_FEATURES, BEHIND]),
)
def test_any_messages_to_running_rings_leave_the_process_whole(stream, chosen):
    _attack(stream, True, chosen)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.lists(st.integers(1, 60), max_size=6))
def test_any_bytes_in_any_pieces_leave_the_process_whole(data, cuts):
    before = kept()
    bench = Bench()
    good = HEADER.pack(Request.GET_FEATURES, 1, 0)
    left = good + data
    for cut in [*cuts, len(left)]:
        bench.front.send_bytes(left[:cut])
        left = left[cut:]
        bench.session.receive()
        bench.drain()
    bench.close()
    assert not kept() - before


def test_the_bench_itself_shares_memory_that_is_mapped():
    with GuestMemory() as memory:
        memory.bytes[0] = 0xA5
        assert os.pread(memory.fd, 1, 0) == b"\xa5"
