# SPDX-License-Identifier: BSD-3-Clause
"""The port over a real vhost-user socket, with net_vhost as the back end in the same process: life, link, reconnect,
several queues, faults, statistics.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from net_virtio.rigs import FRAME
from support.numbered import BURST, churn

from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, HostError, PollmodeError
from pollmode.ethdev import Event, Link, Port, PortConfig, Ports, QueueConfig, RxOffload
from pollmode.mbuf import Burst, Mempool, create_pool

PATIENCE = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.005)


class Pair:
    """A virtio-user port and a net_vhost port in one process, connected by a socket."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self.ports = Ports(environment)
        self.bus = VdevBus(environment, self.ports)
        self.path = folder / "socket"
        self.pool: Mempool = create_pool(environment.memory, "pair", 2048, cache_size=0)
        self._number = 0

    def attach(self, text: str, queues: int = 1, descriptors: int = 64, config: PortConfig | None = None) -> Port:
        """Attach, configure and start a port."""
        port: Port = self.bus.attach(text)
        self.set_up(port, queues, descriptors, config)
        port.start()
        return port

    def set_up(self, port: Port, queues: int = 1, descriptors: int = 64, config: PortConfig | None = None) -> None:
        port.configure(queues, queues, config)
        for queue in range(queues):
            port.setup_rx_queue(queue, descriptors, self.pool)
            port.setup_tx_queue(queue, descriptors)

    def vhost(self, arguments: str = "", queues: int = 1) -> Port:
        self._number += 1
        return self.attach(f"net_vhost{self._number},iface={self.path},queues={queues}{arguments}", queues, 0)

    def virtio(self, arguments: str = "", queues: int = 1, config: PortConfig | None = None) -> Port:
        return self.attach(f"net_virtio_user0,path={self.path},queues={queues}{arguments}", queues, 64, config)

    def up(self, *ports: Port) -> None:
        for port in ports:
            until(partial(self._is_up, port), f"the link of {port.name}")

    @staticmethod
    def _is_up(port: Port) -> bool:
        return port.link().up

    def drop(self, port: Port) -> None:
        if port.state.value == "started":
            port.stop()
        self.bus.detach(port)

    def pass_on(self, out: Port, back: Port, frame: bytes = FRAME, queue: int = 0) -> None:
        """Send a frame and wait for it at the other end."""
        sending, receiving = Burst(), Burst()
        sending.alloc(self.pool, 1)
        sending[0].append(frame)
        until(lambda: out.tx(queue, sending) == 1, "the frame to be taken")
        until(lambda: back.rx(queue, receiving), "the frame to arrive")
        assert [bytes(packet) for packet in receiving] == [frame]
        receiving.free()

    def close(self) -> None:
        for port in list(self.ports):
            self.drop(port)
        assert self.pool.audit().out == 0
        self.ports.close()
        assert not self.path.exists()


@pytest.fixture
def pair(environment: Environment, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(environment, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("mergeable", [0, 1])
@pytest.mark.parametrize("size", [60, 1514])
def test_frames_pass_both_ways(pair: Pair, mergeable: int, size: int) -> None:
    vhost, virtio = pair.vhost(), pair.virtio(f",mrg_rxbuf={mergeable}")
    pair.up(vhost, virtio)
    frame = FRAME[:14] + bytes(number & 0xFF for number in range(size - 14))
    for _ in range(3):
        pair.pass_on(virtio, vhost, frame)
        pair.pass_on(vhost, virtio, frame)
    assert virtio.stats().ipackets == virtio.stats().opackets == 3
    assert virtio.stats().ibytes == 3 * size
    assert virtio.xstats()["rx_q0_good_packets"] == 3


def test_jumbo_frames_are_chained_both_ways(pair: Pair) -> None:
    config = PortConfig(mtu=9000, rx_offloads=RxOffload.SCATTER)
    vhost, virtio = pair.vhost(), pair.virtio(config=config)
    pair.up(vhost, virtio)
    long = bytes(number % 251 for number in range(9000))
    sending, receiving = Burst(), Burst()
    sending.alloc(pair.pool, 5)
    first, *rest = list(sending)
    first.append(FRAME[:14] + long[:1786])
    for number, part in enumerate(rest):
        part.append(long[1786 + 1800 * number : 1786 + 1800 * (number + 1)])
    sending = Burst()
    for part in rest:
        first.chain(part)
    whole = bytes(first)
    sending.append(first)
    until(lambda: virtio.tx(0, sending) == 1, "the chain to be taken")
    until(lambda: vhost.rx(0, receiving), "the chain to arrive")
    assert bytes(receiving[0]) == whole
    until(lambda: vhost.tx(0, receiving) == 1, "the chain to go back")
    until(lambda: virtio.rx(0, receiving), "the chain to come back")
    assert bytes(receiving[0]) == whole
    assert receiving[0].nb_segs == 5
    receiving.free()


def test_every_queue_pair_has_its_own_ring(pair: Pair) -> None:
    vhost, virtio = pair.vhost(queues=4), pair.virtio(queues=4)
    pair.up(vhost, virtio)
    for queue in range(4):
        pair.pass_on(virtio, vhost, FRAME + bytes([queue]), queue)
        pair.pass_on(vhost, virtio, FRAME + bytes([queue]), queue)
    assert virtio.stats().q_ipackets == (1, 1, 1, 1)


def test_more_queue_pairs_than_the_back_end_has(pair: Pair) -> None:
    pair.vhost(queues=2)
    with pytest.raises(PollmodeError, match="queues=4"):
        pair.virtio(queues=4)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Leave to open what both ends of 256 rings need, 4 eventfds each: logins often begin with 1024 in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 2048:
        pytest.skip(f"needs 2048 descriptors and may open {hard}: raise ulimit -Hn")
    if 0 <= soft < 2048:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_128_queue_pairs(pair: Pair) -> None:
    vhost, virtio = (
        pair.vhost(queues=128),
        pair.bus.attach(f"net_virtio_user0,path={pair.path},queues=128,queue_size=32"),
    )
    virtio.configure(128, 128)
    tiny = create_pool(pair.bus._context.environment.memory, "tiny", 128 * 40, data_room=384, cache_size=0)
    for queue in range(128):
        virtio.setup_rx_queue(queue, 32, tiny)
        virtio.setup_tx_queue(queue, 32)
    virtio.start()
    pair.up(vhost, virtio)
    for queue in (0, 127):
        pair.pass_on(virtio, vhost, FRAME, queue)
        pair.pass_on(vhost, virtio, FRAME, queue)
    pair.drop(virtio)
    assert tiny.audit().out == 0


def test_link_speed_is_the_one_claimed(pair: Pair) -> None:
    vhost, virtio = pair.vhost(), pair.virtio(",speed=25000")
    pair.up(vhost, virtio)
    assert virtio.link() == Link(True, 25000)
    virtio.stop()
    assert not virtio.link().up


def test_stopped_and_started_again_it_works_and_loses_nothing(pair: Pair) -> None:
    vhost, virtio = pair.vhost(), pair.virtio()
    for _ in range(3):
        pair.up(vhost, virtio)
        pair.pass_on(virtio, vhost)
        pair.pass_on(vhost, virtio)
        virtio.stop()
        virtio.start()
    virtio.stop()
    vhost.stop()
    assert pair.pool.audit().out == 0


def test_configured_again_with_other_queues(pair: Pair) -> None:
    vhost, virtio = pair.vhost(queues=2), pair.virtio(queues=2)
    pair.up(virtio)
    virtio.stop()
    pair.set_up(virtio, queues=1, descriptors=32)
    virtio.start()
    pair.up(vhost, virtio)
    pair.pass_on(virtio, vhost)
    pair.pass_on(vhost, virtio)


def test_server_mode_waits_for_its_back_end_and_tells_of_the_link(pair: Pair) -> None:
    virtio = pair.virtio(",server=1")
    told: list[bool] = []
    virtio.on(Event.INTR_LSC, lambda port, event, detail: told.append(detail.up))
    assert not virtio.link().up
    burst = Burst()
    assert virtio.rx(0, burst) == 0
    vhost = pair.vhost(",client=1")
    pair.up(virtio, vhost)
    pair.pass_on(vhost, virtio)
    until(lambda: told == [True], "the event")


def test_server_mode_resumes_with_every_back_end_that_comes(pair: Pair) -> None:
    virtio = pair.virtio(",server=1")
    told: list[bool] = []
    virtio.on(Event.INTR_LSC, lambda port, event, detail: told.append(detail.up))
    for _ in range(4):
        vhost = pair.vhost(",client=1")
        pair.up(virtio, vhost)
        pair.pass_on(vhost, virtio)
        pair.pass_on(virtio, vhost)
        pair.drop(vhost)
        until(lambda: not virtio.link().up, "the link to go down")
        until(lambda: pair.pool.in_use() == 0, "every mbuf to come back")
    until(lambda: told == [True, False] * 4, "all events")
    assert virtio.stats().ipackets == 4


def test_client_mode_says_what_to_do_and_starting_again_connects(pair: Pair) -> None:
    vhost, virtio = pair.vhost(), pair.virtio()
    pair.up(vhost, virtio)
    pair.drop(vhost)
    until(lambda: not virtio.link().up, "the link to go down")
    virtio.stop()
    with pytest.raises(HostError, match="start the peer first, or use server=1"):
        virtio.start()
    vhost = pair.vhost()
    virtio.start()
    pair.up(vhost, virtio)
    pair.pass_on(virtio, vhost)


def test_a_broken_queue_is_reported_once_and_reset_heals(pair: Pair) -> None:
    vhost, virtio = pair.vhost(), pair.virtio()
    pair.up(vhost, virtio)
    pair.pass_on(vhost, virtio)
    ring = virtio.device._rx[0]  # type: ignore[attr-defined]  # the host writes where it should not
    index = ring._zone.array("<u2", 1, ring.used - ring._zone.address + 2)
    index[0] += 1000
    burst = Burst()
    assert virtio.rx(0, burst) == 0
    (fault,) = virtio.poll()
    assert fault.queue == 0
    assert "Rx queue 0 is broken" in str(fault)
    assert virtio.poll() == []
    vhost.stop()
    virtio.reset()
    vhost.start()
    pair.up(vhost, virtio)
    assert virtio.device.faults() == []
    pair.pass_on(vhost, virtio)
    pair.pass_on(virtio, vhost)


def test_statistics_by_dpdks_names(pair: Pair) -> None:
    vhost, virtio = pair.vhost(), pair.virtio()
    pair.up(vhost, virtio)
    pair.pass_on(vhost, virtio, b"\xff" * 6 + FRAME[6:] + bytes(4))
    found = virtio.device.xstats()
    names = "good_packets good_bytes errors multicast_packets broadcast_packets undersize_packets size_64_packets "
    names += "size_65_127_packets size_128_255_packets size_256_511_packets size_512_1023_packets "
    names += "size_1024_1518_packets size_1519_max_packets short_errors header_errors broken_errors"
    assert [name for name in found if name.startswith("rx_q0_")] == [f"rx_q0_{name}" for name in names.split()]
    assert len([name for name in found if name.startswith("tx_q0_")]) == 12 + 3
    assert found["rx_q0_broadcast_packets"] == found["rx_q0_size_64_packets"] == 1
    virtio.reset_stats()
    assert not any(virtio.xstats().values())


def test_free_thresholds_have_dpdks_limits(pair: Pair) -> None:
    pair.vhost()
    virtio = pair.bus.attach(f"net_virtio_user0,path={pair.path}")
    virtio.configure(1, 1)
    for threshold in (6, 64):
        with pytest.raises(ConfigError, match="multiple of 4"):
            virtio.setup_rx_queue(0, 64, pair.pool, QueueConfig(free_threshold=threshold))
    with pytest.raises(ConfigError, match="less than the 64 descriptors less 3"):
        virtio.setup_tx_queue(0, 64, QueueConfig(free_threshold=61))


def test_free_thresholds_are_judged_by_the_ring_there_is(pair: Pair) -> None:
    pair.vhost()
    virtio = pair.bus.attach(f"net_virtio_user0,path={pair.path},queue_size=64")
    virtio.configure(1, 1)
    with pytest.raises(ConfigError, match="less than the 64 descriptors"):
        virtio.setup_rx_queue(0, 512, pair.pool, QueueConfig(free_threshold=128))


def test_back_ends_come_and_go_while_an_lcore_polls(pair: Pair, environment: Environment) -> None:
    virtio = pair.virtio(",server=1")
    counts, burst = np.zeros(2, np.int64), np.zeros(BURST, np.int64)
    words = [pair.ports.dispatch, virtio.id, pair.pool.address, 64, burst.ctypes.data, counts.ctypes.data]
    environment.lcores.launch(0, churn, *words)
    try:
        for _ in range(4):
            vhost = pair.vhost(",client=1")
            pair.up(virtio, vhost)
            received = Burst()
            before = int(counts[1])

            def echoed(vhost: Port = vhost, received: Burst = received, before: int = before) -> bool:
                if vhost.rx(0, received):
                    vhost.tx(0, received)
                received.free()
                return int(counts[1]) > before

            until(echoed, "frames to come back")
            pair.drop(vhost)
    finally:
        environment.lcores.stop()
        environment.lcores.wait(0)
    assert virtio.device.faults() == []


def test_a_ring_is_no_larger_than_queue_size(pair: Pair) -> None:
    pair.vhost()
    virtio = pair.bus.attach(f"net_virtio_user0,path={pair.path},queue_size=64")
    virtio.configure(1, 1)
    virtio.setup_rx_queue(0, 512, pair.pool)
    assert virtio.device._rx[0].entries == 64
    with pytest.raises(ConfigError, match="power of two"):
        virtio.setup_tx_queue(0, 48)


def test_jumbo_frames_without_mergeable_buffers_are_refused(pair: Pair) -> None:
    pair.vhost()
    virtio = pair.bus.attach(f"net_virtio_user0,path={pair.path},mrg_rxbuf=0")
    virtio.configure(1, 1, PortConfig(mtu=9000))
    with pytest.raises(ConfigError, match="use mrg_rxbuf=1, larger mbufs or a smaller MTU"):
        virtio.setup_rx_queue(0, 64, pair.pool)


def test_an_offload_the_back_end_lacks_is_refused(pair: Pair) -> None:
    pair.vhost()
    virtio = pair.bus.attach(f"net_virtio_user0,path={pair.path}")
    with pytest.raises(PollmodeError, match="CKSUM"):
        virtio.configure(1, 1, PortConfig(rx_offloads=RxOffload.UDP_CKSUM))


def test_promiscuous_mode_and_addresses_are_accepted(pair: Pair) -> None:
    _, virtio = pair.vhost(), pair.virtio(",mac=02:00:00:00:00:09")
    assert virtio.device.mac == bytes.fromhex("020000000009")
    virtio.set_promiscuous(True)
    virtio.set_allmulticast(True)
    virtio.set_mac(bytes.fromhex("02000000000a"))
    assert virtio.device.mac == bytes.fromhex("02000000000a")
    virtio.set_mtu(1400)
