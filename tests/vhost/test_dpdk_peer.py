# SPDX-License-Identifier: BSD-3-Clause
"""The protocol, without packets, against DPDK's own two halves."""

import os
import select
import threading

import pytest
from support.dpdk import DpdkTestpmd, require_testpmd
from support.vhost import until

from pollmode.eal.errors import HostError
from pollmode.eal.userfault import Userfault
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES, Frontend
from pollmode.vhost.messages import Protocol
from pollmode.vhost.server import Connector, Listener, connect
from pollmode.vhost.session import Session
from pollmode.vhost.testing import GuestMemory
from pollmode.vhost.virtqueue import (
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MRG_RXBUF,
    features,
    has,
)

pytestmark = pytest.mark.peer

PAGE = 4096
WANTED = features(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MQ)


@pytest.fixture
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("v") / "s")


@pytest.fixture
def dpdk():
    require_testpmd()
    started = []

    def start(*vdevs, **settings):
        started.append(DpdkTestpmd(*vdevs, **settings))
        return started[-1]

    yield start
    for program in started:
        program.close()


@pytest.fixture
def meeting(loop, owner):
    """What makes a session of a connection, as often as one comes."""
    sessions = []

    def connected(sock):
        sessions.append(Session(sock, owner))
        sessions[-1].attach(loop)
        return sessions[-1]

    yield connected
    for session in sessions:
        session.close()


def serve_dpdk(owner):
    until(lambda: sorted(owner.running) == [0, 1, 2, 3], lambda: f"{owner.events}, closed: {owner.closed}")
    for vring in owner.running.values():
        assert vring.num == 256
        assert vring.call_fd >= 0


def test_dpdks_virtio_user_gets_two_pairs_of_rings_from_our_session(path, loop, owner, meeting, dpdk):
    owner.features |= features(VIRTIO_NET_F_MRG_RXBUF, 17, 18, 23)
    listener = Listener(path)
    listener.serve(loop, meeting)
    peer = dpdk(f"net_virtio_user0,path={path},queues=2,queue_size=256", app=["--rxq=2", "--txq=2"])
    serve_dpdk(owner)
    peer.close()
    until(lambda: owner.closed == ["the peer closed its end"])
    assert owner.running == {}
    listener.close()


def test_our_connector_reaches_dpdks_virtio_user_in_server_mode(path, loop, owner, meeting, dpdk):
    owner.features |= features(VIRTIO_NET_F_MRG_RXBUF, 17, 18, 23)
    connector = Connector(path, loop, meeting)
    connector.start()
    dpdk(f"net_virtio_user0,path={path},server=1,queues=2,queue_size=256", app=["--rxq=2", "--txq=2"])
    serve_dpdk(owner)
    connector.close()


def test_dpdks_net_vhost_takes_our_front_end_and_every_message(path, dpdk):
    dpdk(f"net_vhost0,iface={path},queues=2", app=["--rxq=2", "--txq=2"])
    front = Frontend(connect(path), name="front end under test")
    offered = front.negotiate()
    assert has(front.protocol_features, Protocol.REPLY_ACK)
    front.set_features(offered & WANTED)
    assert front.get_queue_num() >= 2
    assert front.set_status(11)
    assert front.get_status() == 11
    kick, call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    with GuestMemory() as memory:
        for _ in range(2):  # twice: what was stopped starts again
            front.set_mem_table([memory.region])
            for index in range(4):
                ring = memory.ring(64)
                front.set_vring_call(index, call)
                front.set_vring_num(index, ring.num)
                front.set_vring_base(index, 0)
                front.set_vring_addr(index, desc=ring.desc, avail=ring.avail, used=ring.used)
                front.set_vring_kick(index, kick)
                front.set_vring_enable(index, True)
            for index in range(4):
                front.set_vring_enable(index, False)
                assert front.get_vring_base(index) == 0
        front.set_mtu(1500)
        assert front.alive()
        front.close()
    os.close(kick)
    os.close(call)


class PageServer(threading.Thread):
    """What a front end does in post-copy: fill the page that somebody waits for, and wake him."""

    def __init__(self, faults, memory, base):
        super().__init__(daemon=True)
        self.faults, self.memory, self.base = faults, memory, base
        self.served = set()
        self.over = False
        self.start()

    def run(self):
        poll = select.poll()
        poll.register(self.faults.fileno(), select.POLLIN)
        while not self.over:
            address = self.faults.read() if poll.poll(100) else None
            if address is not None:
                page = address // PAGE * PAGE - self.base
                self.memory.bytes[page] = 0  # there from now on
                self.faults.wake(self.base + page, PAGE)
                self.served.add(page)

    def close(self):
        self.over = True
        self.join()
        self.faults.close()


@pytest.mark.root  # DPDK asks for a userfaultfd of the whole kernel, ours for one of user mode alone
def test_dpdks_net_vhost_waits_for_the_pages_that_our_front_end_fills(path, dpdk):
    try:
        Userfault().close()
    except HostError as error:
        pytest.skip(str(error))
    dpdk(f"net_vhost0,iface={path},postcopy-support=1")
    front = Frontend(connect(path), name="front end under test")
    offered = front.negotiate(DRIVER_PROTOCOL_FEATURES | features(Protocol.PAGEFAULT))
    assert has(front.protocol_features, Protocol.PAGEFAULT)
    front.set_features(offered & WANTED)
    kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    with GuestMemory() as memory:
        faults = Userfault(front.postcopy_advise())
        front.postcopy_listen()
        [base] = front.postcopy_share([memory.region])
        server = PageServer(faults, memory, base)
        rings = [memory.ring(64) for _ in range(2)]
        for index, ring in enumerate(rings):
            front.set_vring_call(index, kick)
            front.set_vring_num(index, ring.num)
            front.set_vring_base(index, 0)
            front.set_vring_addr(index, desc=ring.desc, avail=ring.avail, used=ring.used)
            front.set_vring_kick(index, kick)
            front.set_vring_enable(index, True)
        wanted = {ring.used - memory.address for ring in rings}
        until(lambda: wanted <= server.served, lambda: f"served {server.served}, not all of {wanted}")
        front.postcopy_end()
        for index in range(2):
            assert front.get_vring_base(index) == 0
        assert front.alive()
        front.close()
        server.close()
    os.close(kick)
