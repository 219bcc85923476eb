# SPDX-License-Identifier: BSD-3-Clause
"""The front end's half: what goes over the wire for each call, and every answer that is not the expected one."""

import os
import socket

import pytest
from support.vhost import OFFER, until

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.vhost.backend_requests import BackendRequests
from pollmode.vhost.faults import MalformedMessage, PeerGone, PeerTimeout, RefusedMessage
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES, Frontend, MemoryRegion
from pollmode.vhost.messages import HEADER, U64, VRING_STATE, BackendRequest, Protocol, Request
from pollmode.vhost.session import Session
from pollmode.vhost.testing import (
    EVERY_PROTOCOL_FEATURE,
    HONEST_FEATURES,
    WAIT,
    Answer,
    GuestMemory,
    ScriptedBackend,
)
from pollmode.vhost.virtqueue import VIRTIO_NET_F_RSS, features


@pytest.fixture
def pair():
    made = []

    def make(answers=None, *, timeout=20.0, **options):
        ours, theirs = socket.socketpair()
        made.append((Frontend(ours, name="port 0", timeout=timeout), ScriptedBackend(theirs, answers or {}, **options)))
        return made[-1]

    yield make
    for front, back in made:
        front.close()
        back.join()


@pytest.fixture
def eventfd():
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    yield fd
    os.close(fd)


def said(back, front):
    """Return (request, payload, descriptors) of all that was said; the connection is closed first."""
    front.close()
    back.join()
    return [(heard.request, heard.payload.hex(), heard.fds) for heard in back.heard]


def test_negotiation_is_owner_features_protocol_features_in_dpdks_order(pair):
    front, back = pair()
    assert front.negotiate() == HONEST_FEATURES
    assert front.protocol_features == DRIVER_PROTOCOL_FEATURES
    assert [request for request, _, _ in said(back, front)] == [
        Request.SET_OWNER,
        Request.GET_FEATURES,
        Request.GET_PROTOCOL_FEATURES,
        Request.SET_PROTOCOL_FEATURES,
    ]


def test_back_end_without_protocol_features_is_not_asked_for_them(pair):
    front, back = pair(features=1)
    assert front.negotiate() == 1
    assert front.get_queue_num() == 1
    front.set_vring_enable(0, True)
    assert front.set_status(1) is False
    assert [request for request, _, _ in said(back, front)] == [Request.SET_OWNER, Request.GET_FEATURES]


def test_ring_messages_have_the_bytes_of_the_protocol(pair, eventfd):
    front, back = pair()
    front.set_vring_num(1, 256)
    front.set_vring_base(1, 0x1234)
    front.set_vring_addr(1, desc=0x11, avail=0x22, used=0x33)
    front.set_vring_kick(1, eventfd)
    front.set_vring_call(1, -1)
    front.set_vring_err(1, eventfd)
    assert front.get_vring_base(1) == 0
    zero = "0000000000000000"
    assert said(back, front) == [
        (8, "0100000000010000", 0),
        (10, "0100000034120000", 0),
        (9, "0100000000000000" + "1100000000000000" + "3300000000000000" + "2200000000000000" + zero, 0),
        (12, "0100000000000000", 1),
        (13, "0101000000000000", 0),
        (14, "0100000000000000", 1),
        (11, "0100000000000000", 0),
    ]


def test_device_messages_have_the_bytes_of_the_protocol(pair):
    front, back = pair(queue_pairs=4)
    front.negotiate(EVERY_PROTOCOL_FEATURE)
    front.set_features(HONEST_FEATURES)
    front.set_vring_enable(0, True)
    front.set_vring_enable(0, False)
    assert front.get_queue_num() == 4
    assert front.set_status(11) is True
    assert front.get_status() == 11
    front.set_mtu(9000)
    front.send_rarp(bytes.fromhex("525400aabbcc"))
    front.reset_device()
    front.reset_owner()
    assert front.get_max_mem_slots() == 8
    assert said(back, front)[4:] == [
        (2, "0000004001000000", 0),
        (18, "0000000001000000", 0),
        (18, "0000000000000000", 0),
        (17, "", 0),
        (39, "0b00000000000000", 0),
        (40, "", 0),
        (20, "2823000000000000", 0),
        (19, "525400aabbcc0000", 0),
        (34, "", 0),
        (4, "", 0),
        (36, "", 0),
    ]


def test_memory_messages_bring_one_descriptor_a_region(pair):
    front, back = pair()
    front.negotiate(EVERY_PROTOCOL_FEATURE)
    with GuestMemory(1 << 16) as one, GuestMemory(1 << 16, guest_address=0x2000_0000) as two:
        front.set_mem_table([one.region, two.region])
        front.add_mem_region(two.region)
        front.remove_mem_region(two.region)
        front.set_log_base(one.fd, 4096, 8192)
    told = said(back, front)[4:]
    assert [(request, len(payload) // 2, fds) for request, payload, fds in told] == [
        (5, 8 + 64, 2),
        (37, 40, 1),
        (38, 40, 0),
        (6, 16, 1),
    ]


def test_more_than_eight_regions_are_our_mistake_and_say_what_to_do(pair):
    front, back = pair()
    region = MemoryRegion(0, 4096, 0, 0, 0)
    with pytest.raises(ConfigError, match="--single-file-segments"):
        front.set_mem_table([region] * 9)
    with pytest.raises(ConfigError, match="0 memory regions"):
        front.set_mem_table([])
    assert said(back, front) == []


def test_features_that_are_not_on_offer_are_named(pair):
    front, _ = pair()
    front.negotiate()
    with pytest.raises(UnsupportedError, match="does not offer VIRTIO_NET_F_RSS"):
        front.set_features(HONEST_FEATURES | features(VIRTIO_NET_F_RSS))


def test_request_whose_protocol_feature_is_missing_is_not_sent(pair):
    front, back = pair(protocol_features=features(Protocol.REPLY_ACK))
    front.negotiate()
    for call in (lambda: front.set_mtu(1500), front.reset_device, front.get_status, lambda: front.send_rarp(bytes(6))):
        with pytest.raises(UnsupportedError, match="which the back end did not offer"):
            call()
    assert len(said(back, front)) == 4, "nothing after the negotiation"


def test_answer_no_is_an_error_and_the_connection_stays(pair):
    front, _ = pair({Request.NET_SET_MTU: Answer(payload=U64.pack(1))})
    front.negotiate()
    with pytest.raises(
        RefusedMessage, match=r"answered no; phase: protocol features set; message NET_SET_MTU\(0x2328\)"
    ):
        front.set_mtu(9000)
    assert front.alive()
    assert front.get_queue_num() == 1


def test_silent_back_end_is_given_up_after_the_time_limit(pair):
    front, _ = pair({Request.GET_FEATURES: Answer(silent=True)}, timeout=0.05)
    with pytest.raises(PeerTimeout, match=r"no answer within 0.05 s; phase: owner set; message GET_FEATURES\(\)"):
        front.negotiate()
    with pytest.raises(PeerGone, match="the connection is closed; phase reached: owner set"):
        front.set_owner()


def test_lost_back_end_is_noticed_without_asking_it(pair):
    front, back = pair({Request.SET_OWNER: Answer(close=True)})
    assert front.alive()
    front.set_owner()
    until(lambda: not front.alive())
    back.join()
    with pytest.raises(PeerGone):
        front.get_features()


def test_base_of_another_ring_is_malformed(pair):
    front, _ = pair({Request.GET_VRING_BASE: Answer(payload=VRING_STATE.pack(1, 0))})
    with pytest.raises(MalformedMessage, match="the answer is ring 1"):
        front.get_vring_base(0)
    assert not front.alive()


def test_wrong_mac_length_is_our_mistake(pair):
    front, _ = pair()
    with pytest.raises(ConfigError, match="6 bytes"):
        front.send_rarp(b"12345")


def test_closing_twice_is_harmless(pair):
    front, _ = pair()
    front.close()
    front.close()
    assert not front.alive()
    assert front.fileno() == -1


def test_both_halves_together_start_traffic_rings_and_stop_them(loop, owner):
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(loop)
    front = Frontend(theirs)
    kick, call = os.eventfd(0, os.EFD_CLOEXEC), os.eventfd(0, os.EFD_CLOEXEC)
    with GuestMemory() as memory:
        assert front.negotiate() == OFFER
        front.set_features(HONEST_FEATURES)
        front.set_status(11)
        front.set_mem_table([memory.region])
        for index in range(2):
            ring = memory.ring(256)
            front.set_vring_call(index, call)
            front.set_vring_num(index, ring.num)
            front.set_vring_base(index, 0)
            front.set_vring_addr(index, desc=ring.desc, avail=ring.avail, used=ring.used)
            front.set_vring_kick(index, kick)
            front.set_vring_enable(index, True)
        assert sorted(owner.running) == [0, 1]
        assert front.get_status() == 11
        assert [front.get_vring_base(index) for index in range(2)] == [7, 7]
        assert owner.running == {}
        front.close()
        until(lambda: owner.closed != [])
    os.close(kick)
    os.close(call)


def test_back_end_tells_of_a_changed_configuration(loop, owner):
    ours, theirs = socket.socketpair()
    session = Session(ours, owner)
    session.attach(loop)
    front = Frontend(theirs)
    front.negotiate(DRIVER_PROTOCOL_FEATURES | features(Protocol.BACKEND_REQ))
    channel = front.open_backend_requests()
    assert channel.receive() is False
    assert session.notify_config_change()
    until(channel.receive)
    session.close()
    with pytest.raises(PeerGone):
        channel.receive()
    assert channel.fileno() == -1
    front.close()


@pytest.mark.parametrize("data", ["4d0000000100000000000000", "020000000200000000000000", "020000000500000000000000"])
def test_unknown_request_of_the_back_end_closes_its_channel(data):
    ours, theirs = socket.socketpair()
    channel = BackendRequests(ours, "port 0")
    with theirs:
        theirs.send(bytes.fromhex(data))
        with pytest.raises(MalformedMessage):
            channel.receive()
    assert channel.fileno() == -1


def test_request_of_the_back_end_that_is_not_supported_is_answered_no():
    ours, theirs = socket.socketpair()
    channel = BackendRequests(ours, "port 0")
    with theirs:
        theirs.settimeout(WAIT)
        theirs.send(HEADER.pack(BackendRequest.VRING_HOST_NOTIFIER_MSG, 9, 8) + bytes(8))
        assert channel.receive() is False
        assert theirs.recv(64) == HEADER.pack(BackendRequest.VRING_HOST_NOTIFIER_MSG, 5, 8) + U64.pack(1)
    channel.close()
