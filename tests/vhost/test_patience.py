# SPDX-License-Identifier: BSD-3-Clause
"""How long a peer is waited for, on both sides: half messages, silence, and who may end a wait."""

import socket

import pytest
from support.vhost import Recorder, settle, until

from pollmode.vhost.faults import PeerTimeout, WaitInterrupted
from pollmode.vhost.frontend import Frontend
from pollmode.vhost.messages import HEADER, U64, VERSION, Request
from pollmode.vhost.server import Listener
from pollmode.vhost.session import Session
from pollmode.vhost.testing import HONEST_FEATURES, WAIT, Answer, ScriptedBackend, ScriptedFrontend

HALF_SECONDS = 0.2
QUESTION = HEADER.pack(Request.GET_FEATURES, VERSION, 0)


# --- the back end waits for the rest of a message ---------------------------------------------------------------------


def test_half_a_message_is_waited_for_so_long_and_other_sessions_go_on(loop, owner, served):
    session, other = served
    ours, theirs = socket.socketpair()
    Session(ours, owner).attach(loop, message_seconds=HALF_SECONDS)
    with ScriptedFrontend(theirs) as front:
        front.send(Request.SET_FEATURES, b"\0\0\0", size=U64.size)
        settle(other)
        assert front.closed()
    until(lambda: bool(owner.closed))
    assert owner.closed == ["a message that began 0.2 s ago is not whole yet"]
    settle(other)
    assert session.alive()


def test_dripping_bytes_does_not_prolong_a_message(loop, owner):
    ours, theirs = socket.socketpair()
    Session(ours, owner).attach(loop, message_seconds=HALF_SECONDS)
    with ScriptedFrontend(theirs) as front:
        front.send_bytes(HEADER.pack(Request.SET_MEM_TABLE, VERSION, 8 + 32 * 8))
        until(lambda: front.send_bytes(b"\0") or bool(owner.closed))
    assert "is not whole yet" in owner.closed[0]


def test_message_in_pieces_is_served_however_many_came_before(session, front):
    for _ in range(50):
        front.send_bytes(QUESTION[:5])
        front.send_bytes(QUESTION[5:])
        assert len(front.receive()) == U64.size
    assert session.alive()


class Hand:
    """A loop whose alarms ring when the test says so."""

    def __init__(self):
        self.alarms = []

    def register(self, fd, callback):
        return None

    def unregister(self, fd):
        return None

    def alarm(self, seconds, callback):
        self.alarms.append((seconds, callback))
        return callback

    def cancel(self, handle):
        return None


def test_alarm_of_an_earlier_message_spares_the_one_under_way(owner):
    hand = Hand()
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(hand, message_seconds=60)
    with ScriptedFrontend(theirs) as front:
        front.send_bytes(QUESTION[:5])
        session.receive()
        front.send_bytes(QUESTION[5:] + QUESTION[:5])
        session.receive()
        assert len(front.receive()) == U64.size
        _handshake, (first, look) = hand.alarms
        assert first == 60
        look()
        assert session.alive()
        again, look = hand.alarms[2]
        assert 0 < again <= 60, "the second message has its own time"
        front.send_bytes(QUESTION[5:])
        session.receive()
        look()
        assert len(hand.alarms) == 3, "nothing is under way, nothing is to be looked at"
        session.close()


def test_half_a_message_does_not_hold_the_socket_for_ever(tmp_path, monkeypatch, loop):
    monkeypatch.chdir(tmp_path)  # pytest's own paths can be longer than a socket's may be
    sessions = []

    def connected(sock):
        sessions.append(Session(sock, Recorder()))
        sessions[-1].attach(loop, message_seconds=HALF_SECONDS if len(sessions) == 1 else WAIT)
        return sessions[-1]

    def dial():
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT)
        sock.connect("sock")
        return ScriptedFrontend(sock)

    listener = Listener("sock")
    listener.serve(loop, connected)
    with dial() as half:
        settle(half)
        half.send_bytes(QUESTION[:3])
        assert half.closed()
        until(lambda: bool(sessions[0].owner.closed))
        with dial() as second:
            settle(second)
    listener.close()
    for session in sessions:
        session.close()


# --- the front end waits for answers ----------------------------------------------------------------------------------


@pytest.fixture
def pair():
    made = []

    def make(answers=None):
        ours, theirs = socket.socketpair()
        made.append((Frontend(ours, name="port 0"), ScriptedBackend(theirs, answers or {})))
        return made[-1][0]

    yield make
    for front, back in made:
        front.close()
        back.join()


def test_time_limit_of_several_requests_is_for_all_together(pair):
    front = pair({Request.GET_PROTOCOL_FEATURES: Answer(silent=True)})
    text = r"no answer within the 0.5 s of all requests together; phase: .*; message GET_PROTOCOL_FEATURES"
    with front.within(0.5), pytest.raises(PeerTimeout, match=text):
        front.negotiate()


def test_half_an_answer_is_no_answer(pair):
    front = pair({Request.GET_FEATURES: Answer(payload=b"\0" * 3, size=U64.size)})
    with front.within(HALF_SECONDS), pytest.raises(PeerTimeout, match="GET_FEATURES"):
        front.negotiate()
    assert front.fileno() < 0


def test_wait_for_an_answer_is_watched_and_ended_by_who_watches(pair):
    front = pair({Request.GET_FEATURES: Answer(silent=True)})
    awaited = []

    def watch(request):
        awaited.append(request)
        if len(awaited) == 3:
            raise WaitInterrupted("told to stop")

    with front.within(WAIT, watch), pytest.raises(WaitInterrupted, match="port 0: told to stop; phase: owner set"):
        front.negotiate()
    assert awaited[-3:] == ["GET_FEATURES"] * 3
    assert front.fileno() < 0


def test_limits_of_blocks_end_with_them(pair):
    front = pair()
    with front.within(WAIT):
        with front.within(0):
            pass
        assert front.negotiate() == HONEST_FEATURES
    with front.within(0):
        pass
    assert front.get_queue_num() == 1


def test_back_end_that_reads_nothing_is_watched_too():
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    front = Frontend(ours, name="port 0")

    def watch(request):
        raise WaitInterrupted(f"told to stop at {request}")

    def say_much():
        while True:
            front.set_owner()

    with theirs, front.within(WAIT, watch), pytest.raises(WaitInterrupted, match="told to stop at SET_OWNER"):
        say_much()
    assert front.fileno() < 0
