# SPDX-License-Identifier: BSD-3-Clause
"""net_vmxnet3 against QEMU's model of the device, which is not ours: content both ways, filters, tags, link.

`POLLMODE_PEER_PACKETS` sets how many go through in the long run.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from net_vmxnet3.rigs import BROADCAST, GROUP, MAC, OTHER, UDP, frame, ip_frame
from support.numbered import BURST, new_tally, play
from support.qemu import require_qemu

from pollmode.bus_pci import PciBus
from pollmode.eal.environment import Environment
from pollmode.ethdev import Event, Link, Port, PortConfig, Ports, RxOffload, State, TxOffload
from pollmode.mbuf import Burst, Packet, create_pool
from pollmode.mbuf import layout as mbuf

pytestmark = pytest.mark.peer
PACKETS = int(os.environ.get("POLLMODE_PEER_PACKETS", "20000"))
PATIENCE = 60.0
CYCLES = 100_000_000_000
NIC = "--pci-host=qemu:device=vmxnet3,mac=00:50:56:00:00:01,netdev="


class Lab:
    """An environment whose PCI devices are those of a QEMU."""

    def __init__(self, *netdevs: str) -> None:
        words = ["--no-huge", "--in-memory", "-m", "128", "-l", "0", "--file-prefix", f"vmx{os.getpid()}"]
        self.environment = Environment.start([*words, *(NIC + netdev for netdev in netdevs)])
        self.ports = Ports(self.environment)
        self.bus = PciBus(self.environment, self.ports)
        self.found: list[Port] = self.bus.probe_all()
        self.pool = create_pool(self.environment.memory, "qemu", 8192, cache_size=64)

    def start(self, port: Port, queues: int = 1, **config: Any) -> Port:
        """Configure and start a port."""
        port.configure(queues, queues, PortConfig(**config))
        for queue in range(queues):
            port.setup_rx_queue(queue, 512, self.pool)
            port.setup_tx_queue(queue, 512)
        port.start()
        return port

    def play(self, out: Port, back: Port, count: int, size: int, window: int) -> dict[str, int]:
        """Send numbered frames on `out` and take them from `back`."""
        tally, burst = new_tally(), np.zeros(2 * BURST, np.int64)
        lcore = self.environment.lcores.control.address
        words: list[Any] = [lcore, self.ports.dispatch, out.id, back.id, 0, self.pool.address]
        play(*words, count, size, window, burst.ctypes.data, tally.ctypes.data, CYCLES)
        return {name: int(tally[0][name]) for name in ("received", "lost", "changed")}

    def send(self, port: Port, *frames: bytes, queue: int = 0, flags: int = 0, tag: int = 0, offload: int = 0) -> None:
        """Send frames of a segment each."""
        burst = Burst(len(frames))
        for data in frames:
            packet = Packet.alloc(self.pool, data)
            packet.ol_flags, packet.vlan_tci, packet.tx_offload = flags, tag, offload
            burst.append(packet)
        end = time.monotonic() + PATIENCE
        while len(burst) and time.monotonic() < end:
            port.tx(queue, burst)
        assert not len(burst)

    def receive(self, port: Port, count: int) -> list[tuple[bytes, int, int]]:
        """Receive so many packets: bytes, flags, tag."""
        got: list[tuple[bytes, int, int]] = []
        end = time.monotonic() + PATIENCE
        burst = Burst(32)
        while len(got) < count and time.monotonic() < end:
            port.rx(0, burst)
            got += [(bytes(packet), packet.ol_flags, packet.vlan_tci) for packet in burst]
            burst.free()
        return got

    def close(self) -> None:
        """Stop everything; no mbuf may be missing."""
        for port in self.found:
            if port.state is State.STARTED:
                port.stop()
        available, count = self.pool.audit().available, self.pool.count
        self.ports.close()
        self.environment.close()
        assert available == count


Labs = Callable[..., Lab]


@pytest.fixture
def lab() -> Iterator[Labs]:
    require_qemu()
    made: list[Lab] = []

    def start(*netdevs: str) -> Lab:
        made.append(Lab(*netdevs))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def wire() -> Iterator[tuple[socket.socket, str]]:
    """Our end of a wire, and the netdev that is the other one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(PATIENCE)
    with ours, theirs:
        yield ours, f"fd:{theirs.fileno()}"


@pytest.mark.parametrize(("size", "window"), [(64, 128), (1518, 128), (9000, 16)])
def test_numbered_packets_pass_both_ways_unchanged(lab: Labs, size: int, window: int) -> None:
    setup = lab("hub:0", "hub:0")
    jumbo = size > 1518
    config = {"mtu": 9000, "rx_offloads": RxOffload.SCATTER, "tx_offloads": TxOffload.MULTI_SEGS} if jumbo else {}
    one, two = (setup.start(port, **config) for port in setup.found)
    for port in (one, two):
        port.set_promiscuous(True)
    count = 1000 if jumbo else 4000
    for out, back in ((one, two), (two, one)):
        assert setup.play(out, back, count, size, window) == {"received": count, "lost": 0, "changed": 0}
    assert one.stats().opackets == two.stats().ipackets == count


def test_a_long_run_is_complete(lab: Labs) -> None:
    setup = lab("hub:0", "hub:0")
    one, two = map(setup.start, setup.found)
    two.set_promiscuous(True)
    assert setup.play(one, two, PACKETS, 64, 256) == {"received": PACKETS, "lost": 0, "changed": 0}


def test_four_queues_send_and_the_port_stops_and_starts(lab: Labs) -> None:
    setup = lab("hub:0", "hub:0")
    one, two = (setup.start(port, queues=4) for port in setup.found)
    for _ in range(2):
        for queue in range(4):
            sent = [frame(100 + queue, to=BROADCAST, number=number) for number in range(40)]
            setup.send(one, *sent[:20], queue=queue)
            setup.send(one, *sent[20:], queue=queue)
            assert [data for data, _, _ in setup.receive(two, 40)] == sent
        for port in (one, two):
            port.stop()
            port.start()
    assert two.stats().ipackets == 2 * 4 * 40


def test_tags_are_inserted_and_stripped(lab: Labs) -> None:
    setup = lab("hub:0", "hub:0")
    sender = setup.start(setup.found[0], tx_offloads=TxOffload.VLAN_INSERT)
    stripper = setup.start(setup.found[1], rx_offloads=RxOffload.VLAN_STRIP)
    data = ip_frame(to=BROADCAST)
    setup.send(sender, data, flags=mbuf.TX_VLAN, tag=0x2064)
    assert setup.receive(stripper, 1) == [(data, mbuf.RX_VLAN | mbuf.RX_VLAN_STRIPPED, 0x2064)]
    stripper.set_vlan_offload(RxOffload.VLAN_STRIP, False)
    setup.send(sender, data, flags=mbuf.TX_VLAN, tag=0x2064)
    assert setup.receive(stripper, 1) == [(ip_frame(to=BROADCAST, vlan=0x2064), 0, 0)]


def test_checksums_are_made(lab: Labs, wire: tuple[socket.socket, str]) -> None:
    ours, netdev = wire
    setup = lab(netdev)
    port = setup.start(setup.found[0], tx_offloads=TxOffload.UDP_CKSUM)
    lengths = 14 | 20 << mbuf.TX_L3_LEN.shift
    setup.send(port, ip_frame(UDP, partial=True), flags=mbuf.TX_UDP_CKSUM, offload=lengths)
    assert ours.recv(2000) == ip_frame(UDP)


def passing(setup: Lab, port: Port, ours: socket.socket) -> set[bytes]:
    """Return the addresses whose frames the port receives; a frame to all comes last and ends the look."""
    for to in (MAC, OTHER, GROUP, b"\x01\x00\x5e\x00\x00\x02", BROADCAST):
        ours.send(frame(to=to))
    got: set[bytes] = set()
    while BROADCAST not in got:
        got.update(data[:6] for data, _, _ in setup.receive(port, 1))
    return got


def test_addresses_groups_and_modes_filter(lab: Labs, wire: tuple[socket.socket, str]) -> None:
    ours, netdev = wire
    setup = lab(netdev)
    port = setup.start(setup.found[0])
    assert passing(setup, port, ours) == {MAC, BROADCAST}
    port.set_multicast([GROUP])
    assert passing(setup, port, ours) == {MAC, GROUP, BROADCAST}
    port.set_multicast([])
    port.set_allmulticast(True)
    assert len(passing(setup, port, ours)) == 4
    port.set_allmulticast(False)
    port.set_promiscuous(True)
    assert len(passing(setup, port, ours)) == 5
    port.set_promiscuous(False)
    port.set_mac(OTHER)
    assert passing(setup, port, ours) == {OTHER, BROADCAST}


def test_vlan_ids_filter(lab: Labs, wire: tuple[socket.socket, str]) -> None:
    ours, netdev = wire
    setup = lab(netdev)
    port = setup.start(setup.found[0], rx_offloads=RxOffload.VLAN_FILTER)
    port.set_vlan_filter(100, True)
    for vlan in (5, 100, 101):
        ours.send(ip_frame(vlan=vlan, to=BROADCAST))
    ours.send(frame(to=BROADCAST))
    got = [data for data, _, _ in setup.receive(port, 2)]
    assert got == [ip_frame(vlan=100, to=BROADCAST), frame(to=BROADCAST)]


def test_frames_of_a_peer_arrive_and_leave_in_one_piece(lab: Labs, wire: tuple[socket.socket, str]) -> None:
    ours, netdev = wire
    setup = lab(netdev)
    port = setup.start(setup.found[0], mtu=9000, rx_offloads=RxOffload.SCATTER)
    for size in (60, 64, 128, 129, 1514, 2049, 5000, 9014):
        data = struct.pack(">6s6sH", MAC, OTHER, 0x88B5) + os.urandom(size - 14)
        ours.send(data)
        assert [got for got, _, _ in setup.receive(port, 1)] == [data]
        whole = Burst(1)
        packet = Packet.alloc(setup.pool, data[:20])
        for start in range(20, size, 1000):
            packet.chain(Packet.alloc(setup.pool, data[start : start + 1000]))
        whole.append(packet)
        assert port.tx(0, whole) == 1
        assert ours.recv(20000) == data


def test_the_link_goes_down_and_up(lab: Labs, wire: tuple[socket.socket, str]) -> None:
    setup = lab(wire[1])
    port = setup.start(setup.found[0])
    told: list[object] = []
    changed = threading.Semaphore(0)

    def listen(port: Port, event: Event, detail: object) -> None:
        told.append(detail)
        changed.release()

    port.on(Event.INTR_LSC, listen)
    assert port.link().up
    host: Any = setup.bus.host
    for up in (False, True):
        host.control("set_link", name="net0", up=up)
        assert changed.acquire(timeout=PATIENCE)
        assert port.link().up == up
    assert [isinstance(link, Link) and link.up for link in told] == [False, True]
