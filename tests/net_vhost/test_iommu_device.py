# SPDX-License-Identifier: BSD-3-Clause
"""The port behind an IOMMU, over a socket: misses are told once and answered under traffic, pages are taken back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.net_vhost_rig import frame
from support.vhost import until

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.jit import INTERPRETED, compiled, load_relaxed64, store_relaxed64
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import Port, Ports, rx_burst, tx_burst
from pollmode.mbuf import create_pool, mbuf_free_bulk
from pollmode.net_vhost.testing import FrontEnd, GuestRing
from pollmode.vhost.connection import Connection
from pollmode.vhost.faults import PeerGone, PeerTimeout
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES
from pollmode.vhost.iotlb import IotlbType
from pollmode.vhost.memory import ACCESS_BOTH, ACCESS_READ
from pollmode.vhost.messages import IOTLB, Protocol, Request
from pollmode.vhost.virtqueue import (
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_IOMMU_PLATFORM,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MRG_RXBUF,
    features,
)

PAGE = 4096
BEHIND = features(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_IOMMU_PLATFORM, VHOST_USER_F_PROTOCOL_FEATURES)
WANTED = DRIVER_PROTOCOL_FEATURES | features(Protocol.BACKEND_REQ)


class Translated(FrontEnd):
    """A front end whose guest sits behind an IOMMU that maps every page to itself.

    A thread answers misses page by page, `answering` or once it is again; `asked` are the misses, `failed` the access
    failures. `access` says what a page allows, if not everything.
    """

    def __init__(self, path: str, *, access: dict[int, int] | None = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self.failed: list[tuple[int, int]] = []
        self.access = access or {}
        self.answering = threading.Event()
        self.answering.set()
        self._ended = False
        self._channel: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="iommu")
        super().__init__(path, BEHIND, protocol_features=WANTED)

    def start_ring(self, index: int, ring: GuestRing, *, logged: bool = False) -> None:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            self._channel = Connection(ours, lambda request, flags, size: None)
            self.frontend._request(Request.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
            theirs.close()
            self._thread.start()
        super().start_ring(index, ring, logged=logged)
        self.frontend.set_vring_addr(index, desc=ring.desc, avail=ring.avail, used=ring.used)

    def _work(self) -> None:
        assert self._channel is not None
        while not self._ended:
            try:
                message = self._channel.receive_within(0.05)
            except PeerTimeout:
                continue
            except PeerGone:
                return
            with message:
                address, _, _, access, kind = IOTLB.unpack(message.payload)
            if kind == IotlbType.ACCESS_FAIL:
                self.failed.append((address, access))
                continue
            self.asked.append((address, access))
            while not self.answering.wait(0.05):
                if self._ended:
                    return
            self.tell(address & -PAGE)

    def tell(self, page: int) -> None:
        access = self.access.get(page, ACCESS_BOTH)
        self._message(IOTLB.pack(page, PAGE, self.memory.host(page), access, IotlbType.UPDATE))

    def take_back(self, page: int) -> None:
        self._message(IOTLB.pack(page, PAGE, 0, 0, IotlbType.INVALIDATE))

    def _message(self, payload: bytes) -> None:
        try:
            self.frontend._request(Request.IOTLB_MSG, payload)
        except PeerGone:
            assert self._ended

    def buffers(self) -> list[int]:
        """Where the buffers that receive begin, in the order in which they are used."""
        return [chain[0][0] for chain in self.rx[0]._buffers.values()]

    def close(self) -> None:
        self._ended = True
        if self._thread.is_alive():
            self._thread.join()
        if self._channel is not None:
            self._channel.close()
        super().close()


@compiled
def echo(lcore: int, dispatch: int, port: int, burst: int, counts: int) -> int:
    """Send every packet back until stopped."""
    held = done = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        if held == 0:
            held = rx_burst(lcore, dispatch, port, 0, burst, 32)
            done = 0
        if held > 0:
            sent = tx_burst(lcore, dispatch, port, 0, burst + 8 * done, held)
            done += sent
            held -= sent
            store_relaxed64(counts, load_relaxed64(counts) + sent)
    if held > 0:
        mbuf_free_bulk(lcore, burst + 8 * done, held)
    return 0


@pytest.fixture
def port(environment: Environment, tmp_path: Path) -> Iterator[Port]:
    """A port with iommu-support whose packets an lcore sends back."""
    ports = Ports(environment)
    pool = create_pool(environment.memory, "mbufs", 1024, cache_size=0)
    made: Port = VdevBus(environment, ports).attach(f"net_vhost0,iface={tmp_path}/s,iommu-support=1")
    made.configure(1, 1)
    made.setup_rx_queue(0, 0, pool)
    made.setup_tx_queue(0, 0)
    made.start()
    burst, counts = np.zeros(64, np.int64), np.zeros(1, np.int64)
    environment.lcores.launch(1, echo, ports.dispatch, made.id, burst.ctypes.data, counts.ctypes.data)
    yield made
    environment.lcores.stop()
    environment.lcores.wait(1)
    ports.close()
    assert pool.available() == pool.count, "mbufs were lost"


def echoed(peer: Translated, count: int) -> None:
    for seed in range(count):
        peer.send(frame(200, seed))
    frames: list[bytes] = []
    until(lambda: bool(frames.extend(peer.receive()) or len(frames) == count))
    assert frames == [frame(200, seed) for seed in range(count)]


def test_packets_pass_and_every_page_is_asked_for_once(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 40)
        echoed(peer, 40)
        asked = [(address & -PAGE, access) for address, access in peer.asked]
        assert len(peer.asked) == len(set(peer.asked))
        assert len(asked) == len(set(asked)), "a page that was told is not asked for again"
        counts = port.xstats()
        assert counts["rx_q0_iotlb_misses"] > 0
        assert counts["tx_q0_iotlb_misses"] > 0
        assert port.device.faults() == []
    until(lambda: not port.link().up)
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 10)


def test_page_that_was_taken_back_is_not_written_until_it_is_told_again(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 10)
        page = peer.buffers()[0] & -PAGE
        peer.answering.clear()
        peer.take_back(page)
        before = peer.memory.read(page, PAGE)
        peer.send(frame(200, 7))
        until(lambda: any(address & -PAGE == page for address, _ in peer.asked[-4:]))
        assert peer.memory.read(page, PAGE) == before
        assert port.device.faults() == []
        peer.answering.set()
        until(lambda: peer.receive() == [frame(200, 7)])


def test_pages_are_taken_back_under_traffic(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        rings = {part & -PAGE for ring in peer.rings() for part in (ring.desc, ring.avail, ring.used)}
        for round_ in range(4 if INTERPRETED else 8):
            for seed in range(10):
                peer.send(frame(200, seed))
            for place in peer.buffers()[:6]:
                peer.take_back(place & -PAGE)
            if round_ % 4 == 3:  # a ring's own page: it stops, asks, and goes on where it was
                peer.take_back(min(rings))
            frames: list[bytes] = []
            until(lambda frames=frames: bool(frames.extend(peer.receive()) or len(frames) == 10))  # type: ignore[misc]  # a loop's own
            assert frames == [frame(200, seed) for seed in range(10)]
        assert port.device.faults() == []


def test_page_that_may_not_be_written_breaks_the_queue_and_is_told(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 8)  # the buffers behind lie in pages that hold no ring
        place = peer.buffers()[0]
        peer.access[place & -PAGE] = ACCESS_READ
        peer.tell(place & -PAGE)
        peer.send(frame(200))
        until(lambda: bool(peer.failed))
        assert [address & -PAGE for address, _ in peer.failed] == [place & -PAGE]
        assert [fault.queue for fault in port.poll()] == [0]
        del peer.access[place & -PAGE]
        peer.tell(place & -PAGE)
        assert peer.rx[0].used_index == 8
        port.reset()
        until(lambda: peer.rx[0].used_index == 10)
        assert peer.rx[0].used_entry(8)[1] == 0, "the buffer that could not be written came back empty"
        assert peer.rx[0].used_entry(9)[1] == 212


def test_miss_that_is_answered_with_too_little_breaks_the_queue_and_is_told(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 8)
        page = peer.buffers()[0] & -PAGE
        peer.access[page] = ACCESS_READ
        peer.take_back(page)
        peer.send(frame(200))
        until(lambda: bool(peer.failed))
        assert [address & -PAGE for address, _ in peer.failed] == [page]
        assert [fault.queue for fault in port.poll()] == [0]


def test_ring_whose_translation_allows_too_little_is_told_and_not_asked_for_again(port: Port, tmp_path: Path) -> None:
    with Translated(f"{tmp_path}/s") as peer:
        until(lambda: port.link().up)
        echoed(peer, 8)
        ring = peer.rx[0].used & -PAGE
        peer.access[ring] = ACCESS_READ
        asked = len(peer.asked)
        peer.take_back(ring)
        until(lambda: bool(peer.failed))
        assert not port.link().up
        assert [address & -PAGE for address, _ in peer.asked[asked:]] == [ring]
        del peer.access[ring]
        peer.tell(ring)
        until(lambda: port.link().up)
        echoed(peer, 8)
