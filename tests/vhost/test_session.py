# SPDX-License-Identifier: BSD-3-Clause
"""The back end's side, message by message: what the owner is told, in which order, and what stays as it was."""

import os
import socket
import threading

import pytest
from support.vhost import OFFER, PROTOCOL_OFFER, Recorder, settle, until

from pollmode.eal.errors import ConfigError, HostError, InternalError, UnsupportedError
from pollmode.eal.jit import compiled, load64
from pollmode.vhost.memory import translate
from pollmode.vhost.messages import (
    LOG_AREA,
    U64,
    VRING_ADDR,
    VRING_NO_FD,
    VRING_STATE,
    BackendRequest,
    RegionEntry,
    Request,
    pack_region,
    pack_table,
)
from pollmode.vhost.session import Session
from pollmode.vhost.testing import HONEST_FEATURES, WAIT, GuestMemory, ScriptedFrontend
from pollmode.vhost.virtqueue import VHOST_F_LOG_ALL, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, features


@compiled
def _read(regions, address):
    return load64(translate(regions, address, 8))


@pytest.fixture
def memory():
    with GuestMemory() as made:
        yield made


@pytest.fixture
def running(session, front, owner, memory):
    """A session whose ring 0 of 256 entries runs from index 5."""
    front.negotiate()
    front.share(memory)
    ring = memory.ring(256)
    front.start_ring(0, ring, base=5)
    settle(front)
    yield ring
    session.close()  # before the memory that the test still has mapped


def test_ring_is_ready_when_features_memory_addresses_kick_and_enable_are_there(session, front, owner, memory, running):
    assert owner.events == [("features", HONEST_FEATURES), ("ready", 0, 256, 5)]
    vring = owner.running[0]
    offset = running.desc - memory.address
    assert vring.desc - session.memory[0].file.address == offset
    assert vring.used - vring.desc == running.used - running.desc
    assert vring.avail - vring.desc == running.avail - running.desc
    assert vring.kick_fd >= 0
    assert vring.call_fd >= 0


def test_ring_shows_the_front_ends_memory(owner, memory, running):
    memory.bytes[64:72] = (0x1122334455667788).to_bytes(8, "little")
    assert _read(owner.running[0].regions, memory.guest_address + 64) == 0x1122334455667788


@pytest.mark.parametrize("missing", ["features", "memory", "num", "addr", "kick", "enable"])
def test_ring_does_not_run_while_anything_is_missing_and_runs_when_it_comes(session, front, owner, memory, missing):
    ring = memory.ring(64)
    front.send(Request.SET_PROTOCOL_FEATURES, U64.pack(PROTOCOL_OFFER))
    steps = {
        "features": lambda: front.send(Request.SET_FEATURES, U64.pack(HONEST_FEATURES)),
        "memory": lambda: front.share(memory),
        "num": lambda: front.send(Request.SET_VRING_NUM, VRING_STATE.pack(0, 64)),
        "addr": lambda: front.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(0, 0, ring.desc, ring.used, ring.avail, 0)),
        "kick": lambda: front.send(Request.SET_VRING_KICK, U64.pack(0), [front.eventfd()]),
        "enable": lambda: front.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(0, 1)),
    }
    for name, step in steps.items():
        if name != missing:
            step()
    settle(front)
    assert owner.running == {}
    steps[missing]()
    settle(front)
    assert list(owner.running) == [0]
    session.close()


def test_ring_without_protocol_features_is_enabled_from_its_start(session, front, owner, memory):
    ring = memory.ring(64)
    front.send(Request.SET_FEATURES, U64.pack(features(VIRTIO_F_VERSION_1)))
    front.share(memory)
    front.send(Request.SET_VRING_NUM, VRING_STATE.pack(0, 64))
    front.send(Request.SET_VRING_ADDR, VRING_ADDR.pack(0, 0, ring.desc, ring.used, ring.avail, 0))
    front.send(Request.SET_VRING_KICK, U64.pack(0 | VRING_NO_FD))
    settle(front)
    assert list(owner.running) == [0]
    assert owner.running[0].kick_fd == -1
    session.close()


def test_get_vring_base_stops_the_ring_and_tells_the_owners_index(front, owner, running):
    assert front.ask(Request.GET_VRING_BASE, VRING_STATE.pack(0, 0)) == VRING_STATE.pack(0, 5 + 7)
    assert owner.events[-1] == ("stopped", 0)
    assert owner.running == {}
    front.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(0, 1))
    settle(front)
    assert owner.running == {}, "a ring that was stopped starts only when it is described and kicked anew"


def test_disabled_ring_goes_on_where_it_was(front, owner, running):
    front.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(0, 0))
    front.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(0, 1))
    settle(front)
    assert owner.events[-2:] == [("stopped", 0), ("ready", 0, 256, 12)]


@pytest.mark.parametrize("request_", [Request.SET_VRING_CALL, Request.SET_VRING_ERR, Request.SET_VRING_KICK])
def test_new_descriptor_comes_while_the_ring_pauses_and_goes_on(front, owner, running, request_):
    which = f"{request_.name.removeprefix('SET_VRING_').lower()}_fd"
    before, theirs = len(owner.events), front.eventfd()
    front.send(request_, U64.pack(0), [theirs])
    settle(front)
    assert owner.events[before:] == [("file", 0)]
    os.eventfd_write(getattr(owner.running[0], which), 1)
    assert os.eventfd_read(theirs) == 1
    front.send(request_, U64.pack(0 | VRING_NO_FD))
    settle(front)
    assert owner.events[before:] == [("file", 0)] * 2
    assert getattr(owner.running[0], which) == -1


def test_features_of_running_rings_wait_for_what_they_need_and_nobody_else_waits(session, front, owner, loop, running):
    begun, finished, prepared = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        assert finished.wait(WAIT)
        prepared.append(list(owner.events))

    owner.preparation = lambda session, word: slow
    before = list(owner.events)
    logging = HONEST_FEATURES | features(VHOST_F_LOG_ALL)
    front.send(Request.SET_FEATURES, U64.pack(logging))
    front.send(Request.SET_VRING_ENABLE, VRING_STATE.pack(0, 0))
    assert begun.wait(WAIT)
    ours, theirs = socket.socketpair()
    Session(ours, Recorder()).attach(loop)
    with ScriptedFrontend(theirs) as other:
        settle(other)
    assert session.alive()
    assert owner.events == before, "the ring runs on, and what was sent later waits"
    finished.set()
    settle(front)
    assert prepared == [before]
    assert owner.events[len(before) :] == [
        ("stopped", 0),
        ("features", logging),
        ("ready", 0, 256, 12),
        ("stopped", 0),
    ]


def test_session_that_ends_while_something_is_prepared_serves_no_more(session, front, owner, running, loop):
    begun, finished, rang = threading.Event(), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert finished.wait(WAIT)
        raise HostError("no memory to compile in")

    owner.preparation = lambda session, word: slow
    front.send(Request.SET_FEATURES, U64.pack(HONEST_FEATURES | features(VHOST_F_LOG_ALL)))
    assert begun.wait(WAIT)
    front.sock.close()
    assert not session.alive()
    assert owner.closed == ["the peer closed its end"]
    finished.set()
    until(lambda: not any(thread.name == "vhost preparation" for thread in threading.enumerate()))
    loop.alarm(0, rang.set)
    assert rang.wait(WAIT)
    assert owner.events[-1] == ("stopped", 0)


def test_new_memory_stops_every_ring_and_starts_them_again(session, front, owner, memory, running):
    front.start_ring(1, memory.ring(128))
    before = session.memory[0].file.address
    with GuestMemory(guest_address=0x8000_0000) as more:
        front.share(memory, more)
        settle(front)
        assert owner.events[-4:] == [("stopped", 0), ("stopped", 1), ("ready", 0, 256, 12), ("ready", 1, 128, 7)]
        assert len(session.memory) == 2
        assert session.memory[0].file.address != before
        assert owner.running[0].desc == session.memory[0].file.address + running.desc - memory.address
        session.close()


def test_same_memory_again_stops_nothing(session, front, owner, memory, running):
    before = list(owner.events)
    front.share(memory)
    settle(front)
    assert owner.events == before


def test_ring_whose_memory_went_away_waits_until_it_comes_back(session, front, owner, memory, running, capfd):
    with GuestMemory(guest_address=0x8000_0000) as other:
        front.share(other)
        settle(front)
        assert owner.running == {}
        assert "a ring waits" in capfd.readouterr().err
        front.share(memory)
        settle(front)
        assert list(owner.running) == [0]
        session.close()


def test_memory_slots_are_added_and_removed(session, front, owner, memory, running):
    assert front.ask(Request.GET_MAX_MEM_SLOTS) == U64.pack(8)
    with GuestMemory(guest_address=0x8000_0000) as more:
        front.send(Request.ADD_MEM_REG, pack_region(more.entry), [more.fd])
        settle(front)
        assert [mapped.entry for mapped in session.memory] == [memory.entry, more.entry]
        assert owner.events[-2:] == [("stopped", 0), ("ready", 0, 256, 12)]
        front.send(Request.REM_MEM_REG, pack_region(more.entry))
        settle(front)
        assert [mapped.entry for mapped in session.memory] == [memory.entry]
        assert list(owner.running) == [0]


def test_memory_slot_told_once_for_each_queue_pair_is_one(session, front, owner, memory, running):
    with GuestMemory(guest_address=0x8000_0000) as more:
        assert front.acknowledged(Request.ADD_MEM_REG, pack_region(more.entry), [more.fd]) == 0
        told = len(owner.events)
        assert front.acknowledged(Request.ADD_MEM_REG, pack_region(more.entry), [more.fd]) == 0
        assert [mapped.entry for mapped in session.memory] == [memory.entry, more.entry]
        assert len(owner.events) == told, "a ring stopped for memory that did not change"
        assert front.acknowledged(Request.REM_MEM_REG, pack_region(more.entry)) == 0
        told = len(owner.events)
        assert front.acknowledged(Request.REM_MEM_REG, pack_region(more.entry)) == 0
        assert [mapped.entry for mapped in session.memory] == [memory.entry]
        assert len(owner.events) == told, "a ring stopped for memory that did not change"


def test_ninth_memory_slot_is_refused(session, front, memory):
    front.negotiate()
    entries = [RegionEntry(index << 24, 4096, index << 24, index * 4096) for index in range(9)]
    front.send(Request.SET_MEM_TABLE, pack_table(entries[:8]), [memory.fd] * 8)
    assert front.acknowledged(Request.ADD_MEM_REG, pack_region(entries[8]), [memory.fd]) == 1
    assert len(session.memory) == 8
    session.close()


def test_features_may_change_only_in_logging_while_a_ring_runs(session, front, owner, running):
    word = HONEST_FEATURES | features(VHOST_F_LOG_ALL)
    front.send(Request.SET_FEATURES, U64.pack(word))
    settle(front)
    assert owner.events[-3:] == [("stopped", 0), ("features", word), ("ready", 0, 256, 12)]
    front.send(Request.SET_FEATURES, U64.pack(word))
    settle(front)
    assert owner.events[-1] == ("ready", 0, 256, 12)
    front.send(Request.SET_FEATURES, U64.pack(features(VIRTIO_F_VERSION_1)))
    assert front.closed()


def test_queries_are_answered_with_the_owners_offer(front, owner):
    assert front.ask(Request.GET_FEATURES) == U64.pack(OFFER)
    assert front.ask(Request.GET_PROTOCOL_FEATURES) == U64.pack(PROTOCOL_OFFER)
    assert front.ask(Request.GET_QUEUE_NUM) == U64.pack(owner.queue_pairs)


def test_status_is_told_and_kept_and_reset_stops_the_rings(session, front, owner, running):
    front.send(Request.SET_STATUS, U64.pack(15))
    assert front.ask(Request.GET_STATUS) == U64.pack(15)
    front.send(Request.SET_STATUS, U64.pack(0))
    settle(front)
    assert owner.events[-3:] == [("status", 15), ("stopped", 0), ("status", 0)]


@pytest.mark.parametrize("request_", [Request.RESET_OWNER, Request.RESET_DEVICE])
def test_reset_forgets_the_rings_and_the_handshake_may_be_done_again(session, front, owner, memory, running, request_):
    front.send(request_)
    settle(front)
    assert owner.running == {}
    assert session.vrings == {}
    front.negotiate()
    front.share(memory)
    front.start_ring(0, running)
    settle(front)
    assert list(owner.running) == [0]


def test_mtu_is_accepted_or_refused_by_the_owner(session, front, owner):
    front.negotiate()
    assert front.acknowledged(Request.NET_SET_MTU, U64.pack(1500)) == 0
    assert session.mtu == 1500
    assert front.acknowledged(Request.NET_SET_MTU, U64.pack(9001)) == 1
    assert front.acknowledged(Request.NET_SET_MTU, U64.pack(67)) == 1
    assert front.acknowledged(Request.NET_SET_MTU, U64.pack(1 << 40)) == 1
    assert session.mtu == 1500
    assert owner.events[1:] == [("mtu", 1500), ("mtu", 9001)]


def test_rarp_brings_the_address_in_wire_order(front, owner):
    front.negotiate()
    front.send(Request.SEND_RARP, bytes.fromhex("525400aabbcc0000"))
    settle(front)
    assert owner.events[-1] == ("rarp", bytes.fromhex("525400aabbcc"))


def test_acknowledgements_come_only_when_negotiated_and_asked_for(front):
    front.send(Request.SET_OWNER, flags=9)
    assert front.ask(Request.GET_FEATURES) == U64.pack(OFFER), "nothing came before the answer"
    front.negotiate()
    assert front.acknowledged(Request.SET_OWNER) == 0


def test_configuration_change_is_told_on_the_channel_the_front_end_gave(session, front):
    front.negotiate()
    assert session.notify_config_change() is False
    channels = []
    for _ in range(2):  # a second channel replaces the first
        ours, theirs = socket.socketpair()
        channels.append(ours)
        front.send(Request.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        settle(front)
        assert session.notify_config_change() is True
        assert ours.recv(64) == bytes([BackendRequest.CONFIG_CHANGE_MSG, 0, 0, 0, 1]) + bytes(7)
    assert channels[0].recv(64) == b"", "the first channel was closed"
    for channel in channels:
        channel.close()
    assert session.notify_config_change() is False


def test_lost_front_end_ends_the_session_and_stops_the_rings(session, front, owner, memory, running):
    front.sock.close()
    until(lambda: owner.closed != [])
    assert owner.closed == ["the peer closed its end"]
    assert owner.events[-1] == ("stopped", 0)
    assert session.fileno() == -1
    assert session.memory == []


def test_closing_twice_and_from_two_threads_tells_the_owner_once(session, owner, running):
    threads = [threading.Thread(target=session.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert owner.closed == ["closed by us"]
    assert owner.running == {}


def test_owner_may_close_the_session_from_a_callback(loop):
    class Impatient(Recorder):
        def on_features(self, session, word):
            session.close("enough")

    ours, theirs = socket.socketpair()
    owner = Impatient()
    session = Session(ours, owner)
    session.attach(loop)
    with ScriptedFrontend(theirs) as front:
        front.send(Request.SET_FEATURES, U64.pack(HONEST_FEATURES))
        assert front.closed()
    until(lambda: owner.closed == ["enough"])


@pytest.mark.parametrize("brings", ["call", "log", "memory"])
def test_session_closed_while_it_serves_keeps_nothing_of_what_the_message_brought(
    front, owner, memory, running, brings
):
    def closing(session, vring):
        owner.running.pop(vring.index)
        session.close("enough")
        return 0

    owner.on_vring_stopped = closing
    owner.on_vring_file = lambda session, vring: session.close("enough")
    with GuestMemory(guest_address=0x2000_0000) as other:
        if brings == "call":
            front.send(Request.SET_VRING_CALL, U64.pack(0), [front.eventfd()])
        elif brings == "log":
            front.send(Request.SET_LOG_BASE, LOG_AREA.pack(4096, 0), [memory.fd])
        else:
            front.share(memory, other)
        assert front.closed()
        until(lambda: owner.closed == ["enough"])


def test_ring_the_owner_cannot_leave_keeps_no_mapping_and_no_descriptor(session, front, owner, memory, running, capfd):
    assert front.ask(Request.SET_LOG_BASE, LOG_AREA.pack(4096, 0), [memory.fd]) == U64.pack(0)
    front.start_ring(1, memory.ring(16))
    settle(front)

    def failing(session, vring):
        owner.running.pop(vring.index)
        if vring.index == 0:
            raise InternalError("an lcore stays in it")
        return 0

    owner.on_vring_stopped = failing
    front.send(Request.GET_VRING_BASE, VRING_STATE.pack(0, 0))
    until(lambda: bool(owner.closed))
    assert not owner.running
    assert not session.memory
    assert session.dirty_log is None
    assert "an lcore stays in it" in capfd.readouterr().err


@pytest.mark.parametrize("brings", ["call", "kick", "log", "memory"])
def test_ring_the_owner_cannot_leave_keeps_nothing_the_message_brought(front, owner, memory, running, brings):
    def failing(session, vring):
        owner.running.pop(vring.index)
        raise InternalError("an lcore stays in it")

    def failing_pause(session):
        raise InternalError("an lcore stays in it")

    owner.on_vring_stopped, owner.paused = failing, failing_pause
    with GuestMemory(guest_address=0x2000_0000) as other:
        if brings in ("call", "kick"):
            front.send(Request[f"SET_VRING_{brings.upper()}"], U64.pack(0), [front.eventfd()])
        elif brings == "log":
            front.send(Request.SET_LOG_BASE, LOG_AREA.pack(4096, 0), [memory.fd])
        else:
            front.share(memory, other)
        assert front.closed()
        until(lambda: bool(owner.closed))


def test_call_descriptor_of_a_ring_the_owner_cannot_leave_goes_to_nobody_else(session, front, owner, running):
    """A thread of the owner's may write to it for ever: its number must not become another file's."""
    call = owner.running[0].call_fd

    def failing(session, vring):
        owner.running.pop(vring.index)
        raise InternalError("an lcore stays in it")

    owner.on_vring_stopped = failing
    front.send(Request.GET_VRING_BASE, VRING_STATE.pack(0, 0))
    until(lambda: bool(owner.closed))
    assert os.readlink(f"/proc/self/fd/{call}") == os.devnull
    os.close(call)


def test_memory_that_cannot_be_watched_does_not_keep_the_memory_before(session, front, owner, memory, monkeypatch):
    def refusing(regions):
        if regions:
            raise HostError("the kernel does not watch such a file")

    front.negotiate()
    front.share(memory)
    settle(front)
    monkeypatch.setattr(session.postcopy, "watch", refusing)
    with GuestMemory(guest_address=0x2000_0000) as other:
        front.share(other)
        assert front.closed()
        until(lambda: bool(owner.closed))


def test_error_of_the_owner_ends_its_session_alone(loop, served, front, capfd):
    class Broken(Recorder):
        def on_features(self, session, word):
            raise RuntimeError("a driver's mistake")

    ours, theirs = socket.socketpair()
    owner = Broken()
    Session(ours, owner).attach(loop)
    with ScriptedFrontend(theirs) as other:
        other.send(Request.SET_FEATURES, U64.pack(HONEST_FEATURES))
        assert other.closed()
    settle(front)
    until(lambda: "a driver's mistake" in capfd.readouterr().err)
    assert owner.closed == ["an error of ours while serving SET_FEATURES(0x140000000)"]


def test_silent_peer_is_sent_away_after_the_handshake_time(loop, owner):
    ours, theirs = socket.socketpair()
    Session(ours, owner).attach(loop, handshake_seconds=0.05)
    with ScriptedFrontend(theirs) as front:
        assert front.closed()
    until(lambda: owner.closed != [])
    assert "said nothing" in owner.closed[0]


def test_peer_that_spoke_is_not_sent_away_after_the_handshake_time(loop, owner):
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    with ScriptedFrontend(theirs) as front:
        front.send(Request.SET_OWNER)
        session.receive()
        session.attach(loop, handshake_seconds=0)
        settle(front)
        settle(front)
        assert not session.closed
        session.close()


def test_alive_notices_a_peer_that_is_gone_before_the_loop_does(owner):
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    assert session.alive()
    theirs.send(b"\x01")
    theirs.close()
    assert not session.alive()
    assert len(owner.closed) == 1


@pytest.mark.parametrize("pairs", [0, 129, -1])
def test_offer_of_impossible_queue_pairs_is_refused_and_the_socket_closed(owner, pairs):
    owner.queue_pairs = pairs
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(ConfigError, match="queue pairs are 1 to 128"):
        Session(ours, owner)
    assert ours.fileno() == -1


def test_offer_of_packed_rings_is_not_supported(owner):
    owner.features |= features(VIRTIO_F_RING_PACKED)
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(UnsupportedError, match="VIRTIO_F_RING_PACKED"):
        Session(ours, owner)


def test_128_pairs_are_256_rings(loop, owner, memory):
    owner.queue_pairs = 128
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(loop)
    with ScriptedFrontend(theirs) as front:
        front.negotiate()
        front.share(memory)
        for index in (0, 127, 128, 255):
            front.start_ring(index, memory.ring(16))
        settle(front)
        assert list(owner.running) == [0, 127, 128, 255]
        session.close()


def test_call_descriptor_is_made_non_blocking(front, owner, memory, running):
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    front.send(Request.SET_VRING_CALL, U64.pack(0), [fd])
    settle(front)
    assert os.get_blocking(owner.running[0].call_fd) is False
    os.close(fd)
