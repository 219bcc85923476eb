# SPDX-License-Identifier: BSD-3-Clause
"""Each known way of breaking a vhost-user peer: the session ends, another one goes on, nothing is kept (conftest)."""

import os
import socket

import pytest
from support.vhost import Recorder, settle, until

from pollmode.eal.errors import PollmodeError
from pollmode.vhost.attacks import BACKEND_ATTACKS, FRONTEND_ATTACKS
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES, Frontend
from pollmode.vhost.messages import LOG_AREA, U64, VRING_STATE, RegionEntry, Request, pack_table
from pollmode.vhost.session import Session
from pollmode.vhost.testing import GuestMemory, ScriptedBackend, ScriptedFrontend
from pollmode.vhost.virtqueue import VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1, features


@pytest.mark.parametrize("name", FRONTEND_ATTACKS)
def test_hostile_front_end_is_sent_away_and_the_next_session_works(name, loop, owner, served, capfd):
    _, front = served
    ours, theirs = socket.socketpair()
    neighbour = Recorder()
    other = Session(ours, neighbour)
    other.attach(loop)
    with ScriptedFrontend(theirs) as bystander, GuestMemory() as memory:
        bystander.negotiate()
        bystander.share(memory)
        bystander.start_ring(0, memory.ring(256))
        FRONTEND_ATTACKS[name](front)
        assert front.closed(), "the session is still open"
        until(lambda: owner.closed != [])
        settle(bystander)
        assert list(neighbour.running) == [0]
        other.close()
    assert "front end sent away" in capfd.readouterr().err


@pytest.mark.parametrize("name", BACKEND_ATTACKS)
def test_hostile_back_end_gives_an_error_that_names_the_phase(name):
    ours, theirs = socket.socketpair()
    model = ScriptedBackend(theirs, BACKEND_ATTACKS[name])
    front = Frontend(ours, timeout=5)
    with pytest.raises(PollmodeError, match="phase") as caught:
        _start_and_stop(front)
    assert front.fileno() == -1
    assert "\n" not in str(caught.value)
    model.join()


def _start_and_stop(front: Frontend) -> None:
    with GuestMemory() as memory:
        ring = memory.ring(256)
        offered = front.negotiate(DRIVER_PROTOCOL_FEATURES)
        front.set_features(offered & features(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES))
        front.set_mem_table([memory.region])
        front.set_vring_num(0, ring.num)
        front.set_vring_addr(0, desc=ring.desc, avail=ring.avail, used=ring.used)
        front.get_vring_base(0)


def test_cve_2019_14818_repeated_messages_keep_no_descriptor_and_no_mapping(session, front, owner):
    front.negotiate()
    before = _open_eventfds()
    with GuestMemory() as first, GuestMemory(guest_address=0x9000_0000) as second:
        ring = first.ring(256)
        for _ in range(20):
            for memories in ((first,), (first, second), (first, second)):
                front.share(*memories)
            front.start_ring(0, ring)
            front.send(Request.SET_VRING_ERR, U64.pack(0), [front.eventfd()])
            settle(front)
            while front.eventfds:
                os.close(front.eventfds.pop())
        vring = session.vrings[0]
        assert len({vring.kick_fd, vring.call_fd, vring.err_fd}) == 3
        assert len(session.memory) == 2
        assert _open_eventfds() <= before + 3  # the session's own
        session.close()


def _open_eventfds() -> int:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return links.count("anon_inode:[eventfd]")


def test_cve_2020_10722_log_within_its_file_is_mapped_and_replaced(session, front):
    front.negotiate()
    with GuestMemory(1 << 16) as area:
        for _ in range(3):
            assert front.ask(Request.SET_LOG_BASE, LOG_AREA.pack(1 << 15, 1 << 15), [area.fd]) == U64.pack(0)
        assert session.dirty_log is not None
        assert session.dirty_log.address
        session.close()
        assert session.dirty_log is None


def test_cve_2021_3839_ring_index_up_to_the_limit_is_served(session, front, owner):
    front.negotiate()
    front.send(Request.SET_VRING_NUM, VRING_STATE.pack(2 * owner.queue_pairs - 1, 256))
    settle(front)
    front.send(Request.SET_VRING_NUM, VRING_STATE.pack(2 * owner.queue_pairs, 256))
    assert front.closed()


def test_refused_messages_are_answered_no_when_an_answer_was_asked_for(session, front):
    front.negotiate()
    for request in (Request.VRING_KICK, Request.GET_INFLIGHT_FD, Request.GET_CONFIG):
        assert front.acknowledged(request) == 1
    settle(front)
    assert not session.closed


def test_malformed_message_is_fatal_even_when_an_answer_was_asked_for(front):
    front.negotiate()
    assert front.acknowledged(Request.SET_VRING_NUM, VRING_STATE.pack(0, 3)) == -1


def test_front_end_that_reads_no_answers_is_sent_away(session, front):
    for _ in range(20000):
        if session.closed:
            break
        front.send(Request.GET_FEATURES)
    until(lambda: session.closed)


def test_front_end_that_stalls_in_a_message_does_not_stop_others(loop, session, front):
    front.send_bytes(b"\x01\x00")
    ours, theirs = socket.socketpair()
    other = Session(ours, Recorder())
    other.attach(loop)
    with ScriptedFrontend(theirs) as bystander:
        settle(bystander)
        assert not session.closed
        front.send_bytes(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")
        assert len(front.receive()) == 8
        other.close()


def test_memory_that_cannot_be_mapped_is_refused_and_the_old_table_stays(session, front, tmp_path):
    front.negotiate()
    path = tmp_path / "memory"
    path.write_bytes(bytes(4096))
    with GuestMemory() as memory:
        front.share(memory)
        settle(front)
        before = session.memory
        with path.open("rb") as file:
            small = RegionEntry(0, 4096, 0, 0)
            assert front.acknowledged(Request.SET_MEM_TABLE, pack_table([small]), [file.fileno()]) == 1
        assert session.memory is before
        session.close()
