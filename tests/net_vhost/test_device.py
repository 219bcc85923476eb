# SPDX-License-Identifier: BSD-3-Clause
"""The port over a real socket: front ends come, move packets, lie, go and come back."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.net_vhost_rig import frame, pages
from support.vhost import kept, until

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, DeviceFault
from pollmode.eal.jit import INTERPRETED, compiled, load_relaxed64, store_relaxed64
from pollmode.eal.lcore_layout import LCORE_STOP
from pollmode.ethdev import Event, Port, Ports, dispatch, rx_burst, tx_burst
from pollmode.mbuf import Burst, Mempool, Packet, create_pool, mbuf_free_bulk
from pollmode.net_vhost import queue as queue_module
from pollmode.net_vhost.queue import callback_for
from pollmode.net_vhost.testing import FrontEnd
from pollmode.vhost.faults import PeerGone
from pollmode.vhost.frontend import DRIVER_PROTOCOL_FEATURES
from pollmode.vhost.messages import Protocol
from pollmode.vhost.server import Listener
from pollmode.vhost.testing import WAIT
from pollmode.vhost.virtqueue import (
    VHOST_F_LOG_ALL,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_VERSION_1,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_RING_F_INDIRECT_DESC,
    features,
)

PROTOCOL = features(VHOST_USER_F_PROTOCOL_FEATURES)
MODERN = PROTOCOL | features(VIRTIO_F_VERSION_1)
MERGEABLE = MODERN | features(VIRTIO_NET_F_MRG_RXBUF, VIRTIO_RING_F_INDIRECT_DESC)


class Host:
    """A table of ports with net_vhost devices, and a pool."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self.environment = environment
        self.ports = Ports(environment)
        self.bus = VdevBus(environment, self.ports)
        self.pool: Mempool = create_pool(environment.memory, "mbufs", 2048, cache_size=32)
        self.path = str(folder / "vhost.sock")

    def port(self, extra: str = "", *, pairs: int = 1, start: bool = True) -> Port:
        queues = f",queues={pairs}" if pairs > 1 else ""
        port: Port = self.bus.attach(f"net_vhost{len(self.ports)},iface={self.path}{queues}{extra}")
        port.configure(pairs, pairs)
        for queue in range(pairs):
            port.setup_rx_queue(queue, 256, self.pool)
            port.setup_tx_queue(queue, 256)
        if start:
            port.start()
        return port

    def frames(self, *data: bytes) -> Burst:
        return Burst.of([Packet.alloc(self.pool, content) for content in data])

    def receive(self, port: Port, count: int, queue: int = 0) -> list[bytes]:
        """Poll until `count` frames arrived."""
        frames: list[bytes] = []
        burst = Burst(32)

        def poll() -> bool:
            port.rx(queue, burst)
            frames.extend(bytes(packet) for packet in burst)
            burst.free()
            return len(frames) >= count

        until(poll)
        return frames

    def close(self) -> None:
        self.ports.close()
        assert self.pool.available() == self.pool.count, "mbufs were lost"


@pytest.fixture
def host(environment: Environment, tmp_path: Path) -> Iterator[Host]:
    made = Host(environment, tmp_path)
    yield made
    made.close()


def both_ways(host: Host, port: Port, peer: FrontEnd, *, pair: int = 0, size: int = 300) -> None:
    """Three frames in, three frames out."""
    for seed in range(3):
        peer.send(frame(size, seed), pair)
    assert host.receive(port, 3, pair) == [frame(size, seed) for seed in range(3)]
    burst = host.frames(*[frame(size, seed) for seed in range(10, 13)])
    assert port.tx(pair, burst) == 3
    assert peer.receive(pair) == [frame(size, seed) for seed in range(10, 13)]


def link_up(port: Port) -> Callable[[], bool]:
    return lambda: port.link().up


def link_down(port: Port) -> Callable[[], bool]:
    return lambda: not port.link().up


@pytest.mark.parametrize("word", [PROTOCOL, MODERN, MERGEABLE], ids=["legacy", "modern", "mergeable"])
def test_frames_pass_both_ways(host: Host, word: int) -> None:
    port = host.port()
    assert not port.link().up
    with FrontEnd(host.path, word) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
    until(link_down(port))
    stats = port.stats()
    assert (stats.ipackets, stats.opackets, stats.ibytes, stats.obytes) == (3, 3, 900, 900)
    assert (stats.ierrors, stats.oerrors, stats.rx_nombuf) == (0, 0, 0)


def test_every_queue_pair_has_its_own_rings(host: Host) -> None:
    port = host.port(pairs=4)
    with FrontEnd(host.path, MERGEABLE, pairs=4) as peer:
        until(lambda: all(queue.bound for queue in port.device._configured()))  # type: ignore[attr-defined]  # ours
        for pair in (2, 0, 3, 1):
            both_ways(host, port, peer, pair=pair, size=100 + pair)
    assert port.stats().q_ipackets == (3, 3, 3, 3)


def test_front_end_in_several_regions(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE, regions=8) as peer:
        until(link_up(port))
        both_ways(host, port, peer)


def test_jumbo_frame_over_mbufs_and_buffers(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        peer.send(frame(9018))
        assert host.receive(port, 1) == [frame(9018)]
        burst = host.frames(frame(2000))
        burst[0].chain(Packet.alloc(host.pool, frame(2000, 1)))
        assert port.tx(0, burst) == 1
        assert peer.receive() == [frame(2000) + frame(2000, 1)]


def test_front_ends_come_and_go(host: Host) -> None:
    port = host.port()
    for round_ in range(4):
        with FrontEnd(host.path, MERGEABLE if round_ % 2 else MODERN) as peer:
            until(link_up(port))
            both_ways(host, port, peer)
        until(link_down(port))
        assert port.rx(0, Burst(4)) == 0
    assert port.stats().ipackets == 12


def test_client_connects_when_the_front_end_listens_and_again(host: Host) -> None:
    port = host.port(",client=1")
    for _ in range(2):
        listener = Listener(host.path)
        accepted: list[socket.socket] = []

        def accept(listener: Listener = listener, accepted: list[socket.socket] = accepted) -> bool:
            sock = listener.accept(0.2)
            accepted.extend([sock] if sock else [])
            return bool(accepted)

        until(accept)
        with FrontEnd(accepted[0], MERGEABLE) as peer:
            until(link_up(port))
            both_ways(host, port, peer)
            listener.close()
        until(link_down(port))


def test_events_tell_the_link_and_each_queue(host: Host) -> None:
    port = host.port()
    seen: list[tuple[Event, object]] = []
    port.on(None, lambda port, event, detail: seen.append((event, detail)))
    with FrontEnd(host.path, MERGEABLE):
        until(link_up(port))
        until(lambda: Event.INTR_LSC in [event for event, _ in seen])
    until(lambda: len(seen) == 6)
    states = [detail for event, detail in seen if event is Event.QUEUE_STATE]
    assert states == [("tx", 0, True), ("rx", 0, True), ("tx", 0, False), ("rx", 0, False)]
    assert [detail.up for event, detail in seen if event is Event.INTR_LSC] == [True, False]  # type: ignore[attr-defined]  # Link


def test_front_end_before_the_port_is_started(host: Host) -> None:
    port = host.port(start=False)
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        port.start()
        both_ways(host, port, peer)
        port.stop()
        peer.send(frame(64))
        port.start()
        assert host.receive(port, 1) == [frame(64)]


def test_ring_stopped_and_started_goes_on_where_it_was(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
        assert peer.frontend.get_vring_base(1) == 3
        until(link_down(port))
        peer.start_ring(1, peer.tx[0])
        peer.frontend.set_vring_enable(1, True)
        until(link_up(port))
        both_ways(host, port, peer)


def test_memory_changes_under_traffic(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        for _ in range(5):
            both_ways(host, port, peer)
            peer.frontend.set_mem_table(peer.memory.shared())
            peer.frontend.get_features()
        assert port.link().up


def test_broken_queue_is_told_and_healed_by_reset(host: Host) -> None:
    port = host.port()
    seen: list[object] = []
    port.on(Event.INTR_RESET, lambda port, event, detail: seen.append(detail))
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
        peer.tx[0].offer(9999)
        assert port.rx(0, Burst(4)) == 0
        faults = port.poll()
        assert [(fault.queue, fault.index, fault.word) for fault in faults] == [(1, 3, 9999)]
        assert isinstance(seen[0], DeviceFault)
        assert port.poll() == []
        peer.send(frame(64))
        assert port.rx(0, Burst(4)) == 0
        assert port.xstats()["rx_q0_faults"] == 1
        port.reset()
        assert port.poll() == []
        assert host.receive(port, 1) == [frame(64)]


def test_broken_queue_does_not_stop_the_others(host: Host) -> None:
    port = host.port(pairs=2)
    with FrontEnd(host.path, MERGEABLE, pairs=2) as peer:
        until(lambda: all(queue.bound for queue in port.device._configured()))  # type: ignore[attr-defined]  # ours
        peer.tx[0].set_avail_index(5000)
        assert port.rx(0, Burst(4)) == 0
        assert len(port.poll()) == 1
        both_ways(host, port, peer, pair=1)
        peer.frontend.get_features()


def test_next_front_end_finds_a_sound_queue(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        peer.tx[0].offer(9999)
        assert port.rx(0, Burst(4)) == 0
        assert len(port.poll()) == 1
    until(link_down(port))
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
        assert port.device.faults() == []


@compiled
def echo(lcore: int, dispatch: int, port: int, burst: int, counts: int) -> int:
    """Send every packet back until stopped; returns how many."""
    total = 0
    while load_relaxed64(lcore + LCORE_STOP) == 0:
        n = rx_burst(lcore, dispatch, port, 0, burst, 32)
        if n > 0:
            sent = tx_burst(lcore, dispatch, port, 0, burst, n)
            if sent < n:
                mbuf_free_bulk(lcore, burst + 8 * sent, n - sent)
            total += n
            store_relaxed64(counts, total)
    return total


def test_front_ends_vanish_while_an_lcore_polls(host: Host) -> None:
    """No lcore touches memory that is being unmapped; each next front end gets its packets back."""
    port = host.port()
    burst, counts = np.zeros(64, np.int64), np.zeros(1, np.int64)
    lcores = host.environment.lcores
    lcores.launch(1, echo, host.ports.dispatch, port.id, burst.ctypes.data, counts.ctypes.data)
    try:
        for round_ in range(3 if INTERPRETED else 15):
            with FrontEnd(host.path, MERGEABLE if round_ % 2 else MODERN, num=128) as peer:
                until(link_up(port))
                for seed in range(20):
                    peer.send(frame(64, seed))
                frames: list[bytes] = []
                until(lambda frames=frames, peer=peer: frames.extend(peer.receive()) or len(frames) == 20)  # type: ignore[misc]  # a loop's own
                assert frames == [frame(64, seed) for seed in range(20)]
                for seed in range(40):
                    peer.send(frame(64, seed))
            until(link_down(port))
    finally:
        lcores.stop()
        lcores.wait(1)
    port.stop()


def test_migration_begins_and_ends_under_traffic(host: Host) -> None:
    """VHOST_F_LOG_ALL comes and goes while an lcore polls; what is written in between is marked, nothing else is."""
    port = host.port()
    burst, counts = np.zeros(64, np.int64), np.zeros(1, np.int64)
    lcores = host.environment.lcores
    wanted = DRIVER_PROTOCOL_FEATURES | features(Protocol.LOG_SHMFD)
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    os.ftruncate(fd, 4096)
    lcores.launch(1, echo, host.ports.dispatch, port.id, burst.ctypes.data, counts.ctypes.data)
    try:
        with mmap.mmap(fd, 4096) as log, FrontEnd(host.path, MERGEABLE, protocol_features=wanted) as peer:
            for _ in range(3):
                echoed(peer)
                assert not any(log[:])
                peer.frontend.set_log_base(fd, 4096)
                peer.frontend.set_features(MERGEABLE | features(VHOST_F_LOG_ALL))
                written = echoed(peer)
                assert written <= marked_in(log)
                assert not pages(peer.rx[0].used, 4) & marked_in(log)
                for index, ring in enumerate(peer.rings()):
                    peer.start_ring(index, ring, logged=True)
                written = echoed(peer) | pages(peer.rx[0].used, 4) | pages(peer.tx[0].used, 4)
                assert written <= marked_in(log)
                peer.frontend.set_features(MERGEABLE)
                for index, ring in enumerate(peer.rings()):
                    peer.start_ring(index, ring)
                log[:] = bytes(4096)
    finally:
        lcores.stop()
        lcores.wait(1)
        os.close(fd)
    port.stop()


def echoed(peer: FrontEnd) -> set[int]:
    """Have frames go there and back; return the pages of the buffers they came back in."""
    buffers = [buffer for chain in peer.rx[0]._buffers.values() for buffer in chain][:10]
    for seed in range(10):
        peer.send(frame(64, seed))
    frames: list[bytes] = []
    until(lambda: bool(frames.extend(peer.receive()) or len(frames) == 10))
    assert frames == [frame(64, seed) for seed in range(10)]
    return {page for place, _ in buffers for page in pages(place, 76)}


def marked_in(log: mmap.mmap) -> set[int]:
    return {int(page) for page in np.flatnonzero(np.unpackbits(np.frombuffer(log[:], np.uint8), bitorder="little"))}


def inside(host: Host, lcore: int) -> None:
    """Have the dispatch table believe that an lcore is inside a callback; once more, and it came out."""
    host.ports._dispatch._marks[lcore] += 1


def test_front_end_that_stops_a_ring_waits_until_the_lcore_left_it(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
        inside(host, 1)
        stopped = threading.Event()
        thread = threading.Thread(target=lambda: (peer.frontend.get_vring_base(1), stopped.set()))
        thread.start()
        until(lambda: not port.link().up)
        assert not stopped.wait(0.05)
        assert port.rx(0, Burst(4)) == 0
        inside(host, 1)
        assert stopped.wait(20)
        thread.join()


def test_lcore_that_never_polls_holds_up_nobody(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        lcores = host.environment.lcores
        burst, counts = np.zeros(64, np.int64), np.zeros(1, np.int64)
        lcores.launch(1, echo, host.ports.dispatch, port.id, burst.ctypes.data, counts.ctypes.data)
        peer.send(frame(64))
        until(lambda: counts[0] == 1)
        lcores.stop()
        lcores.wait(1)
        assert peer.frontend.get_vring_base(1) == 1
        assert not port.link().up


def test_lcore_that_stays_in_a_ring_ends_the_session_and_leaks_no_memory(
    host: Host, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dispatch, "_PATIENCE", 0.05)
    port = host.port()
    before = kept()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)
        inside(host, 1)
        with pytest.raises(PeerGone):
            peer.frontend.get_vring_base(1)
    until(lambda: port.info().private_info["peer"] == "none")
    assert "lcore 1 has been inside a burst callback" in capfd.readouterr().err
    until(lambda: not kept() - before, lambda: f"{kept()} after, {before} before")
    inside(host, 1)
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer)


def test_port_stops_and_starts_while_a_callback_for_its_ring_is_compiled(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = host.port()
    compiling, go_on = threading.Event(), threading.Event()

    def slow(*which: Any) -> Any:
        compiling.set()
        assert go_on.wait(WAIT)
        return callback_for(*which)

    monkeypatch.setattr(queue_module, "callback_for", slow)
    peers: list[FrontEnd] = []
    coming = threading.Thread(target=lambda: peers.append(FrontEnd(host.path, MERGEABLE)))
    coming.start()
    assert compiling.wait(WAIT)
    port.stop()
    port.start()
    go_on.set()
    coming.join()
    with peers[0] as peer:
        until(link_up(port))
        both_ways(host, port, peer)


def test_migration_compiles_while_packets_pass(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    port = host.port()
    compiling, finished, rang = threading.Event(), threading.Event(), threading.Event()

    def slow(*which: Any) -> Any:
        if which[2:] == (1,) and not finished.is_set():
            compiling.set()
            assert finished.wait(WAIT)
        return callback_for(*which)

    wanted = DRIVER_PROTOCOL_FEATURES | features(Protocol.LOG_SHMFD)
    with FrontEnd(host.path, MERGEABLE, protocol_features=wanted) as peer:
        until(link_up(port))
        fd = os.memfd_create("log", os.MFD_CLOEXEC)
        os.ftruncate(fd, 4096)
        peer.frontend.set_log_base(fd, 4096)
        os.close(fd)
        until(link_up(port))
        monkeypatch.setattr(queue_module, "callback_for", slow)
        asking = threading.Thread(target=peer.frontend.set_features, args=[MERGEABLE | features(VHOST_F_LOG_ALL)])
        asking.start()
        assert compiling.wait(WAIT)
        both_ways(host, port, peer)
        host.environment.interrupts.alarm(0, rang.set)
        assert rang.wait(WAIT)
        assert port.link().up
        finished.set()
        asking.join()
        until(link_up(port))
        both_ways(host, port, peer)


def test_new_descriptors_of_running_rings_are_no_news(host: Host) -> None:
    port = host.port()
    told: list[Event] = []
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        peer.frontend.get_features()
        listener = port.on(None, lambda port, event, detail: told.append(event))
        for index, ring in enumerate(peer.rings()):
            before, ring.call_fd = ring.call_fd, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            os.close(before)
            peer.frontend.set_vring_call(index, ring.call_fd)
            peer.frontend.set_vring_kick(index, ring.kick_fd)
        peer.frontend.get_features()
        both_ways(host, port, peer)
        assert all(ring.calls() for ring in peer.rings()), "who is called by the new descriptors"
        port.off(listener)
    assert told == []


def test_port_closed_under_a_connected_front_end(host: Host) -> None:
    port = host.port()
    peer = FrontEnd(host.path, MERGEABLE)
    until(link_up(port))
    port.stop()
    host.bus.detach(port)
    until(lambda: not peer.frontend.alive())
    peer.close()
    assert not os.path.exists(host.path)


def test_second_front_end_is_sent_away_and_the_first_goes_on(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        second = FrontEnd(host.path, MERGEABLE, handshake=False)
        until(lambda: not second.frontend.alive())
        second.close()
        both_ways(host, port, peer)


def test_repeated_messages_leak_no_descriptors(host: Host) -> None:
    """CVE-2019-14818."""
    port = host.port()

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        before = descriptors()
        for _ in range(20):
            for index, ring in enumerate(peer.rings()):
                peer.frontend.set_vring_call(index, ring.call_fd)
                peer.frontend.set_vring_kick(index, ring.kick_fd)
            peer.frontend.set_mem_table(peer.memory.shared())
        peer.frontend.get_features()
        assert descriptors() <= before
        until(link_up(port))
        both_ways(host, port, peer)


def test_socket_that_is_taken_is_an_error_that_leaves_nothing(host: Host) -> None:
    host.port()
    with pytest.raises(ConfigError, match="in use by"):
        host.bus.attach(f"net_vhost7,iface={host.path}")
    assert len(host.ports) == 1


def test_link_is_told_within_the_state_of_the_session(host: Host) -> None:
    port = host.port()
    assert port.info().private_info["peer"] == "none"
    with FrontEnd(host.path, MERGEABLE):
        until(link_up(port))
        told = port.info().private_info
        assert told["peer"] == "connected"
        assert "VIRTIO_NET_F_MRG_RXBUF" in told["features"]
    until(lambda: port.info().private_info["peer"] == "none")


def test_extended_statistics_have_dpdks_names(host: Host) -> None:
    port = host.port()
    with FrontEnd(host.path, MERGEABLE) as peer:
        until(link_up(port))
        both_ways(host, port, peer, size=64)
    named = port.xstats()
    assert named["rx_q0_good_packets"] == named["tx_q0_good_packets"] == 3
    assert named["rx_q0_size_64_packets"] == named["tx_q0_size_64_packets"] == 3
    assert {"rx_q0_undersize_packets", "tx_q0_guest_notifications", "rx_q0_broadcast_packets"} <= set(named)
    port.reset_stats()
    assert set(port.xstats().values()) == {0}
