# SPDX-License-Identifier: BSD-3-Clause
"""On real interfaces: two joined ones in a namespace of the test's own, the kernel at the other end or another port."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.namespace import ip, veth_pair
from support.ours import Ours
from support.program import Program

from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.jit import INTERPRETED
from pollmode.ethdev import Event, Port, PortConfig, RxOffload
from pollmode.mbuf import RX_VLAN, RX_VLAN_STRIPPED, TX_VLAN, Burst, Packet

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

PATIENCE = 30.0
COUNT = 500 if INTERPRETED else 4_000
BROADCAST = b"\xff" * 6
CRC = 4  # what sizes of frames have beside the bytes there are
EXPERIMENTAL = b"\x88\xb5"  # IEEE 802, local experimental EtherType 1: no stack answers


@pytest.fixture
def ours() -> Iterator[Ours]:
    """Ports in a namespace with the interfaces va and vb."""
    with veth_pair():
        made = Ours()
        yield made
        made.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def send(ours: Ours, port: Port, *packets: bytes, queue: int = 0) -> int:
    burst = Burst.of([Packet.alloc(ours.pool, packet) for packet in packets])
    taken = port.tx(queue, burst)
    burst.free()
    return taken


def receive(port: Port, count: int, queue: int = 0) -> list[bytes]:
    """Return `count` packets, waiting for them."""
    packets: list[bytes] = []
    burst = Burst(32)
    end = time.monotonic() + PATIENCE
    while len(packets) < count and time.monotonic() < end:
        port.rx(queue, burst)
        packets += [bytes(packet) for packet in burst]
        burst.free()
    return packets


def frame(number: int, size: int = 64, kind: bytes = EXPERIMENTAL) -> bytes:
    return BROADCAST + b"\x02\0\0\0\0\x01" + kind + number.to_bytes(4, "big") + bytes(size - 16 - len(kind))


@pytest.mark.parametrize(
    ("size", "devargs"),
    [
        (64, ""),
        (1514, ""),
        (64, ",qdisc_bypass=0"),
        (60, ",blocksz=8192,framesz=1600,framecnt=50"),
        (8000, ",blocksz=16384,framesz=16384,framecnt=256"),
    ],
)
def test_numbered_packets_cross_both_ways_whole_and_in_order(size: int, devargs: str, ours: Ours) -> None:
    a, b = (ours.add_port(f"net_af_packet{n},iface=v{'ab'[n]}{devargs}", frame=size + CRC) for n in (0, 1))
    count = COUNT if size < 1000 else COUNT // 10
    for out, back in ((a, b), (b, a)):
        # A window far below the ring: the kernel lends a frame's bytes to who receives them for a moment longer.
        tally = ours.play(out, back, count=count, size=size, window=24)
        assert (tally.sent, tally.received, tally.lost, tally.changed) == (count, count, 0, 0)
    stats = a.stats()
    assert (stats.ipackets, stats.opackets, stats.ibytes, stats.obytes) == (count, count, count * size, count * size)
    assert (stats.imissed, stats.ierrors, stats.oerrors) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["hash", "lb", "cpu", "rollover", "rnd", "qm"])
def test_each_packet_reaches_one_queue_of_many(mode: str, ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va,qpairs=2", queues=2)
    b = ours.add_port(f"net_af_packet1,iface=vb,qpairs=4,fanout_mode={mode}", queues=4)
    for start in range(0, 400, 20):
        assert send(ours, a, *map(frame, range(start, start + 20)), queue=start // 20 % 2) == 20
    arrived: dict[int, list[bytes]] = {queue: [] for queue in range(4)}

    def all_there() -> bool:
        for queue, packets in arrived.items():
            packets += receive(b, 0, queue) or _receive_now(b, queue)
        return sum(map(len, arrived.values())) >= 400

    wait_until(all_there)
    assert sorted(packet for packets in arrived.values() for packet in packets) == [frame(n) for n in range(400)]
    if mode == "lb":
        assert [len(packets) for packets in arrived.values()] == [100] * 4
    assert b.stats().q_ipackets == tuple(len(packets) for packets in arrived.values())


def _receive_now(port: Port, queue: int) -> list[bytes]:
    burst = Burst(64)
    port.rx(queue, burst)
    packets = [bytes(packet) for packet in burst]
    burst.free()
    return packets


def test_two_ports_on_one_interface_share_nothing(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    twins = [ours.add_port(f"net_af_packet{n},iface=vb,qpairs=2", queues=2) for n in (1, 2)]
    send(ours, a, *map(frame, range(20)))
    for twin in twins:
        found: list[bytes] = []

        def complete(twin: Port = twin, found: list[bytes] = found) -> bool:
            found.extend(_receive_now(twin, 0) + _receive_now(twin, 1))
            return len(found) >= 20

        wait_until(complete)
        assert sorted(found) == [frame(n) for n in range(20)]


def test_what_was_sent_is_received_or_missed(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.add_port("net_af_packet1,iface=vb,framecnt=64")
    sent = 0
    for start in range(0, 1000, 20):
        sent += send(ours, a, *map(frame, range(start, start + 20)))
    assert sent == 1000
    wait_until(lambda: b.stats().imissed >= 1000 - 64)
    assert len(receive(b, 64)) == 64
    stats = b.stats()
    assert (a.stats().opackets, stats.ipackets, stats.imissed) == (1000, 64, 936)
    assert b.xstats()["rx_q0_ring_full_packets"] == 936


def test_what_a_stopped_port_is_sent_is_not_kept_for_it(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.add_port("net_af_packet1,iface=vb")
    b.stop()
    send(ours, a, frame(1))
    b.start()
    send(ours, a, frame(2))
    assert receive(b, 1) == [frame(2)]
    assert b.stats().imissed == 0


def test_the_longest_frames_pass_and_longer_ones_are_named(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.add_port("net_af_packet1,iface=vb")
    tagged = b"\x81\x00\x00\x05" + EXPERIMENTAL
    packets = [frame(1, 1514), frame(2, 1518, tagged), frame(3, 1515), frame(4, 1519, tagged), frame(5, 14 + 4)]
    assert send(ours, a, *packets) == 5
    assert receive(b, 3) == [frame(1, 1514), frame(2, 1518, tagged), frame(5, 18)]
    stats = a.stats()
    assert (stats.opackets, stats.oerrors, b.stats().ipackets) == (3, 2, 3)


def test_tags_cross_in_the_frame_and_in_the_mbuf(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.bus.attach("net_af_packet1,iface=vb")
    b.configure(1, 1, PortConfig(rx_offloads=RxOffload.VLAN_STRIP))
    b.setup_rx_queue(0, 0, ours.pool)
    b.setup_tx_queue(0, 0)
    b.start()
    in_band = b"\x81\x00\x20\x05" + EXPERIMENTAL
    asked_for = Packet.alloc(ours.pool, frame(2))
    asked_for.ol_flags, asked_for.vlan_tci = TX_VLAN, 0x2006
    service = b"\x88\xa8\x00\x07" + EXPERIMENTAL
    plain = [
        Packet.alloc(ours.pool, frame(n, kind=kind)) for n, kind in ((1, in_band), (3, service), (4, EXPERIMENTAL))
    ]
    assert a.tx(0, Burst.of([plain[0], asked_for, plain[1], plain[2]])) == 4
    burst = Burst(8)
    found: list[tuple[bytes, int, int]] = []

    def all_there() -> bool:
        b.rx(0, burst)
        found.extend((bytes(each)[12:18], each.vlan_tci, each.ol_flags) for each in burst)
        burst.free()
        return len(found) >= 4

    wait_until(all_there)
    stripped = RX_VLAN | RX_VLAN_STRIPPED
    numbers = [n.to_bytes(4, "big") for n in (1, 2, 3, 4)]
    assert found == [
        (EXPERIMENTAL + numbers[0], 0x2005, stripped),
        (EXPERIMENTAL + numbers[1], 0x2006, stripped),
        (EXPERIMENTAL + numbers[2], 0x0007, stripped),
        (EXPERIMENTAL + numbers[3], 0, 0),
    ]
    send(ours, b, frame(5, kind=in_band), frame(6, kind=service))
    assert receive(a, 2) == [frame(5, kind=in_band), frame(6, kind=service)]


def test_what_the_host_itself_sends_is_not_received(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.add_port("net_af_packet1,iface=vb")
    ip("address add 10.99.0.1/24 dev va")
    ip("neighbour add 10.99.0.2 lladdr 02:00:00:00:00:02 dev va")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.sendto(b"from the host", ("10.99.0.2", 9))
    (arrived,) = receive(b, 1)
    assert b"from the host" in arrived
    send(ours, b, frame(1))
    assert receive(a, 1) == [frame(1)]
    assert a.stats().ipackets == 1


def test_settings_are_the_interfaces(ours: Ours) -> None:
    port = ours.add_port("net_af_packet0,iface=va")

    def state() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(ip("-j -d link show va"))[0]
        return found

    before = state()
    assert port.mac.hex(":") == before["address"]
    port.set_promiscuous(True)
    assert state()["promiscuity"] == before["promiscuity"] + 1
    port.set_promiscuous(False)
    assert state()["promiscuity"] == before["promiscuity"]
    port.set_allmulticast(True)
    assert state()["allmulti"] == before["allmulti"] + 1
    port.add_mac(bytes.fromhex("0200000000aa"))
    port.remove_mac(bytes.fromhex("0200000000aa"))
    port.set_mtu(1400)
    assert state()["mtu"] == 1400
    port.set_mac(bytes.fromhex("020000000055"))
    assert state()["address"] == "02:00:00:00:00:55"
    port.set_link(False)
    assert "UP" not in state()["flags"]
    assert not port.link().up
    port.set_link(True)
    wait_until(lambda: port.link().up)
    with pytest.raises(ConfigError, match="MTU 1965 is not within 46 to 1964"):
        port.set_mtu(1965)
    port.set_promiscuous(True)
    port.stop()
    ours.bus.detach(port)
    assert (state()["promiscuity"], state()["allmulti"]) == (before["promiscuity"], before["allmulti"])


def test_a_link_that_goes_and_comes_is_told_and_traffic_goes_on(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    b = ours.add_port("net_af_packet1,iface=vb")
    told: list[bool] = []
    a.on(Event.INTR_LSC, lambda _port, _event, link: told.append(link.up))
    ip("link set vb down")
    wait_until(lambda: told == [False])
    assert not a.link().up
    ip("link set va down")
    assert send(ours, a, frame(1)) == 1
    assert a.xstats()["tx_q0_refused_sends"] == 1
    ip("link set va up")
    ip("link set vb up")
    wait_until(lambda: told == [False, True])
    assert receive(b, 1) == [frame(1)], "what was refused is sent once the link is back"
    send(ours, b, frame(2))
    assert receive(a, 1) == [frame(2)]


def test_an_interface_that_is_removed_under_load_is_an_event(ours: Ours) -> None:
    a = ours.add_port("net_af_packet0,iface=va")
    ours.add_port("net_af_packet1,iface=vb")
    told: list[Event] = []
    ours.ports.on(None, lambda port, event, _detail: told.append(event) if port is a else None)
    counts = ours.start_churn(a)
    wait_until(lambda: counts[0] > 100)
    ip("link delete va")
    wait_until(lambda: Event.INTR_RMV in told)
    assert not a.link().up
    gone = counts.copy()
    ours.stop_churn()
    assert a.stats().opackets >= gone[0]
    assert send(ours, a, frame(1)) == 0
    a.stop()
    with pytest.raises(HostError, match="interface va is gone; close the port"):
        a.start()
    ours.bus.detach(a)


def test_an_interface_that_goes_before_the_start_is_told_and_nothing_stays(ours: Ours) -> None:
    before = len(os.listdir("/proc/self/fd"))
    port = ours.bus.attach("net_af_packet0,iface=va,blocksz=4096,framesz=4096")
    port.configure(1, 1, PortConfig(rx_offloads=RxOffload.SCATTER))
    port.setup_rx_queue(0, 0, ours.pool)
    port.setup_tx_queue(0, 0)
    ip("link delete va")
    with pytest.raises(HostError, match="net_af_packet0: "):
        port.start()
    ours.bus.detach(port)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_interface_that_is_not_there_or_is_no_ethernet_is_named(ours: Ours) -> None:
    with pytest.raises(ConfigError, match=r"there is no interface 'vaa' \(did you mean 'va'\?\); there are lo, "):
        ours.bus.attach("net_af_packet0,iface=vaa")
    if not os.path.exists("/dev/net/tun"):
        return
    ip("tuntap add dev tn mode tun")
    with pytest.raises(ConfigError, match=r"interface tn \(hardware type 65534\) does not carry Ethernet"):
        ours.bus.attach("net_af_packet0,iface=tn")


def test_the_kernel_pings_testpmd() -> None:
    pinger = Path(__file__).parent / "kernel_ping.py"
    with veth_pair():
        ip("address add 10.99.0.1/24 dev vb")
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        words = ["--no-huge", "--in-memory", "--no-pci", "-m", "64", "--lcores", f"(0-1)@({cpus})"]
        words += ["--vdev", "net_af_packet0,iface=va", "--", "--forward-mode=icmpecho", "--total-num-mbufs=2048"]
        testpmd = Program([str(Path(sys.executable).parent / "testpmd"), *words, "--stats-period=1"])
        try:
            testpmd.wait_for("icmpecho packet forwarding", seconds=180)
            ping = Program([sys.executable, str(pinger), "10.99.0.2", "20"])
            try:
                assert ping.wait() == 0, ping.output() + ping.log()
            finally:
                ping.close()
            assert testpmd.interrupt() == 0
            forwarded = testpmd.output()[testpmd.output().index("Forward statistics") :]
            counted = re.search(r"TX-packets: (\d+)", forwarded)
            assert counted is not None
            assert int(counted[1]) >= 21, "twenty echoes and the question for the address"
        finally:
            testpmd.close()


def test_scapy_at_the_other_end_both_ways(ours: Ours) -> None:
    scapy = pytest.importorskip("scapy.all")
    port = ours.add_port("net_af_packet0,iface=va")
    with scapy.conf.L2socket(iface="vb") as wire:
        layers = scapy.Ether(dst=BROADCAST, src="02:00:00:00:00:09") / scapy.Dot1Q(vlan=5, prio=2)
        packets = [layers / scapy.IP(dst="10.1.1.1") / scapy.UDP(dport=n) / bytes(200) for n in (1, 2)]
        for packet in packets:
            wire.send(packet)
        assert receive(port, 2) == [bytes(packet) for packet in packets]
        send(ours, port, *map(bytes, packets))
        answers: list[bytes] = []

        def all_there() -> bool:
            if select.select([wire.ins], [], [], 0.1)[0]:
                found = wire.recv()
                if found is not None and found.src == "02:00:00:00:00:09":
                    answers.append(bytes(found))
            return len(answers) >= 2

        wait_until(all_there)
        assert answers == [bytes(packet) for packet in packets]
