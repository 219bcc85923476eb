# SPDX-License-Identifier: BSD-3-Clause
"""Messages in pieces, descriptors in every place, ends of streams: nothing blocks and nothing is kept."""

import array
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vhost import kept, until

from pollmode.eal.jit import INTERPRETED
from pollmode.vhost.connection import Connection
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout
from pollmode.vhost.messages import HEADER, MAX_PAYLOAD, VERSION


def nothing(request, flags, size):
    """Accept every header."""


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    connection = Connection(ours, nothing)
    yield connection, theirs
    connection.close()
    theirs.close()


def send(sock, data, count=0):
    """Send bytes with `count` fresh descriptors; the sender's copies are closed."""
    fds = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(count)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights)
    for fd in fds:
        os.close(fd)


def test_message_arrives_whole_with_its_descriptors(pair):
    connection, theirs = pair
    send(theirs, HEADER.pack(12, 1, 8) + b"\x01" + bytes(7), 2)
    message = connection.receive()
    assert (message.request, message.flags, message.payload, len(message.fds)) == (12, 1, b"\x01" + bytes(7), 2)
    assert str(message) == "SET_VRING_KICK(index=1) fds=2"
    fd = message.take_fd()
    assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventfd]"
    assert os.get_inheritable(fd) is False
    with message:
        os.close(fd)
    assert message.take_fd() == -1


def test_message_in_single_bytes_is_put_together(pair):
    connection, theirs = pair
    for byte in HEADER.pack(2, 1, 8) + bytes(range(8)):
        assert connection.receive() is None
        theirs.send(bytes([byte]))
    assert connection.receive().payload == bytes(range(8))
    assert not connection.partial


def test_descriptors_beside_later_bytes_belong_to_the_message(pair):
    connection, theirs = pair
    send(theirs, HEADER.pack(5, 1, 8), 1)
    send(theirs, bytes(4), 1)
    send(theirs, bytes(4), 1)
    with connection.receive() as message:
        assert len(message.fds) == 3


def test_two_messages_in_one_write_are_two(pair):
    connection, theirs = pair
    theirs.send(HEADER.pack(1, 1, 0) + HEADER.pack(2, 1, 8) + bytes(8))
    assert [connection.receive().request, connection.receive().request] == [1, 2]
    assert connection.receive() is None


def test_header_is_checked_before_its_payload_is_read():
    ours, theirs = socket.socketpair()
    seen = []

    def check(request, flags, size):
        seen.append((request, flags, size))
        raise MalformedMessage("no")

    connection = Connection(ours, check)
    theirs.send(HEADER.pack(7, 1, 100))
    with pytest.raises(MalformedMessage):
        connection.receive()
    assert seen == [(7, 1, 100)]
    connection.close()
    theirs.close()


@pytest.mark.parametrize("size", [MAX_PAYLOAD + 1, 1 << 31, (1 << 32) - 1])
def test_size_beyond_the_limit_is_malformed_at_once(pair, size):
    connection, theirs = pair
    theirs.send(HEADER.pack(1, VERSION, size))
    with pytest.raises(MalformedMessage, match=f"announces {size} bytes"):
        connection.receive()


@pytest.mark.parametrize("count", [9, 64, 253])
def test_too_many_descriptors_are_malformed_and_all_closed(pair, count):
    connection, theirs = pair
    before = kept()
    send(theirs, HEADER.pack(5, 1, 0), count)
    with pytest.raises(MalformedMessage, match="more descriptors"):
        connection.receive()
    connection.close()
    until(lambda: not kept() - before)


def test_descriptors_in_many_pieces_beyond_the_limit_are_malformed(pair):
    connection, theirs = pair
    send(theirs, HEADER.pack(5, 1, 8), 8)
    send(theirs, bytes(1), 1)
    with pytest.raises(MalformedMessage, match="more descriptors"):
        connection.receive()


def test_end_of_stream_says_whether_a_message_had_begun(pair):
    connection, theirs = pair
    theirs.send(HEADER.pack(1, 1, 0)[:5])
    assert connection.receive() is None
    assert connection.partial
    theirs.close()
    with pytest.raises(PeerGone, match="in the middle of a message"):
        connection.receive()
    assert not connection.alive()


def test_waiting_ends_at_the_time_limit(pair):
    connection, theirs = pair
    theirs.send(b"\x01")
    with pytest.raises(PeerTimeout, match=r"within 0.02 s"):
        connection.receive_within(0.02)


def test_peer_that_does_not_read_is_given_up_and_the_descriptor_stays_ours(pair):
    connection, _ = pair
    fd = os.eventfd(0, os.EFD_CLOEXEC)

    def fill():
        for _ in range(100000):
            connection.send(5, 1, bytes(1000), [fd])

    with pytest.raises(PeerTimeout, match="does not read"):
        fill()
    os.close(fd)


def test_sending_to_a_peer_that_is_gone_is_an_error_and_no_signal(pair):
    connection, theirs = pair
    theirs.close()
    with pytest.raises(PeerGone):
        connection.send(1, 1)


def test_everything_after_closing_says_the_peer_is_gone(pair):
    connection, _ = pair
    connection.close()
    connection.close()
    assert connection.fileno() == -1
    assert not connection.alive()
    with pytest.raises(PeerGone):
        connection.receive()
    with pytest.raises(PeerGone):
        connection.send(1, 1)


pieces = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 3)), max_size=12)


@settings(max_examples=30 if INTERPRETED else 150, deadline=None)
@given(pieces)
def test_any_bytes_with_any_descriptors_end_in_messages_or_an_error_and_leak_nothing(stream):
    before = kept()
    ours, theirs = socket.socketpair()
    connection = Connection(ours, nothing)
    for data, count in stream:
        send(theirs, data, count)
    theirs.close()
    try:
        while message := connection.receive():
            with message:
                assert len(message.fds) <= 8
    except (MalformedMessage, PeerGone):
        pass
    connection.close()
    assert not kept() - before
