# SPDX-License-Identifier: BSD-3-Clause
"""Every forward mode on a port that gives back what it sends; scapy says what is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from support.testpmd_loop import Loop

from pollmode.ethdev import TxOffload
from pollmode.testpmd.options import Options

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
PEER = "02:00:00:00:00:00"  # testpmd's for port 0
V4 = IP(src="192.0.2.1", dst="192.0.2.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")


def frame(*layers: Any, payload: bytes = b"pollmode!") -> bytes:
    packet = Ether(src=A, dst=B)
    for layer in layers:
        packet /= layer
    return bytes(packet / Raw(payload))


UDP4 = frame(V4, UDP(sport=1, dport=2))
TCP6 = frame(V6, TCP(sport=3, dport=4))
RUNT = b"\x01\x02\x03"


def own(loop: Loop) -> str:
    return loop.port.mac.hex(":")


def test_io_changes_nothing(loop: Loop) -> None:
    outcome = loop.forward(Options(), [UDP4, TCP6, RUNT])
    assert outcome.frames == [UDP4, TCP6, RUNT]
    assert (outcome.counted.rx_packets, outcome.counted.tx_packets, outcome.counted.dropped) == (3, 3, 0)


def test_rxonly_counts_and_drops(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="rxonly"), [UDP4, TCP6, (UDP4, b"chained")])
    assert outcome.frames == []
    assert (outcome.counted.rx_packets, outcome.counted.tx_packets) == (3, 0)


def test_mac_sends_to_the_peer_from_the_port(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="mac"), [UDP4, RUNT])
    assert outcome.frames == [bytes.fromhex((PEER + own(loop)).replace(":", "")) + UDP4[12:], RUNT]


def test_macswap_exchanges_addresses(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="macswap"), [UDP4, RUNT])
    assert outcome.frames == [UDP4[6:12] + UDP4[:6] + UDP4[12:], RUNT]


def swapped(packet: bytes) -> bytes:
    """What 5tswap should make of a packet whose checksums are right."""
    turned = Ether(packet)
    for layer, fields in ((Ether, ("src", "dst")), (IP, ("src", "dst")), (IPv6, ("src", "dst"))):
        if layer in turned:
            one, other = fields
            first, second = getattr(turned[layer], one), getattr(turned[layer], other)
            setattr(turned[layer], one, second)
            setattr(turned[layer], other, first)
    for layer in (UDP, TCP):
        if layer in turned:
            turned[layer].sport, turned[layer].dport = turned[layer].dport, turned[layer].sport
    return bytes(turned)


def test_5tswap_turns_all_three_layers(loop: Loop) -> None:
    tagged = frame(Dot1Q(vlan=7), V4, TCP(sport=5, dport=6))
    icmp = frame(V4, ICMP())
    cut = UDP4[:30]  # ends within the IPv4 header: only the addresses of layer 2 are there
    outcome = loop.forward(Options(forward_mode="5tswap"), [UDP4, TCP6, tagged, icmp, cut])
    assert outcome.frames[:4] == [swapped(UDP4), swapped(TCP6), swapped(tagged), swapped(icmp)]
    assert outcome.frames[4] == cut[6:12] + cut[:6] + cut[12:]


def test_txonly_makes_udp_packets(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="txonly", burst=4))
    assert len(outcome.frames) == 4
    assert all(len(made) == 64 for made in outcome.frames)
    packet = Ether(outcome.frames[0])
    assert (packet.dst, packet.src) == (PEER, own(loop))
    assert (packet[IP].src, packet[IP].dst, packet[IP].len, packet[IP].ttl) == ("198.18.0.1", "198.18.0.2", 50, 64)
    assert (packet[UDP].sport, packet[UDP].dport, packet[UDP].len, packet[UDP].chksum) == (9, 9, 30, 0)
    assert packet[IP].chksum == _right_checksum(packet)


def _right_checksum(packet: Any) -> int:
    again = packet[IP].copy()
    del again.chksum
    return int(IP(bytes(again)).chksum)


def test_txonly_varies_its_source_and_keeps_the_checksum_right(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="txonly", burst=4, txonly_flows=3))
    packets = [Ether(made) for made in outcome.frames]
    assert [packet[IP].src for packet in packets] == ["198.18.0.1", "198.18.1.1", "198.18.2.1", "198.18.0.1"]
    assert [packet[IP].chksum for packet in packets] == [_right_checksum(packet) for packet in packets]


def test_txonly_makes_packets_of_several_segments(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="txonly", burst=2, txpkts=(64, 1000, 300)))
    assert [len(made) for made in outcome.frames] == [1364, 1364]
    assert Ether(outcome.frames[0])[IP].len == 1350


def test_txonly_sends_what_the_pool_still_has(loop: Loop) -> None:
    loop.forward(Options())
    held = loop.pool.get(loop.pool.available() - 5)
    outcome = loop.forward(Options(forward_mode="txonly", burst=32))
    loop.pool.put(held)
    assert len(outcome.frames) == 5


def test_a_full_queue_drops_the_rest(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="txonly", burst=32), passes=40)
    assert 0 < len(outcome.frames) < 40 * 32
    assert outcome.counted.tx_packets == len(outcome.frames)
    assert outcome.counted.dropped == 40 * 32 - len(outcome.frames)


def test_retry_gives_up_at_last(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="txonly", burst=32, retry=True), passes=40)
    assert outcome.counted.tx_packets == len(outcome.frames)
    assert outcome.counted.dropped == 40 * 32 - len(outcome.frames)


def test_flowgen_goes_round_its_flows_and_drops_what_arrives(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="flowgen", burst=4, flowgen_flows=3), [UDP4, TCP6])
    packets = [Ether(made) for made in outcome.frames]
    assert [packet[IP].dst for packet in packets] == ["10.253.0.0", "10.253.0.1", "10.253.0.2", "10.253.0.0"]
    assert [packet[IP].chksum for packet in packets] == [_right_checksum(packet) for packet in packets]
    assert {(packet[UDP].sport, packet[UDP].dport) for packet in packets} == {(1000, 1001)}
    assert (outcome.counted.rx_packets, outcome.counted.tx_packets) == (2, 4)


def test_icmpecho_answers_arp(loop: Loop) -> None:
    asked = Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=A, psrc="192.0.2.1", pdst="192.0.2.9")
    gratuitous = Ether(src=A, dst=B) / ARP(op=2, hwsrc=A, psrc="192.0.2.1", pdst="192.0.2.9")
    outcome = loop.forward(Options(forward_mode="icmpecho"), [bytes(asked), bytes(gratuitous), UDP4, RUNT])
    assert len(outcome.frames) == 1
    answer = Ether(outcome.frames[0])
    assert (answer.dst, answer.src, answer[ARP].op) == (A, own(loop), 2)
    assert (answer[ARP].psrc, answer[ARP].pdst, answer[ARP].hwsrc) == ("192.0.2.9", "192.0.2.1", own(loop))


@pytest.mark.parametrize("tag", [(), (Dot1Q(vlan=3),)], ids=["untagged", "tagged"])
def test_icmpecho_answers_echo_requests(loop: Loop, tag: tuple[Any, ...]) -> None:
    outcome = loop.forward(Options(forward_mode="icmpecho"), [frame(*tag, V4, ICMP(id=7, seq=8))])
    answer = Ether(outcome.frames[0])
    assert (answer.src, answer.dst, answer[IP].src, answer[IP].dst) == (B, A, V4.dst, V4.src)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 8)
    wanted = frame(*tag, IP(src=V4.dst, dst=V4.src), ICMP(type=0, id=7, seq=8))
    assert outcome.frames[0][12:] == wanted[12:]


def test_icmpecho_answers_a_group_from_a_neighbour(loop: Loop) -> None:
    outcome = loop.forward(Options(forward_mode="icmpecho"), [frame(IP(src="192.0.2.1", dst="224.0.0.1"), ICMP())])
    answer = Ether(outcome.frames[0])
    assert (answer[IP].src, answer[IP].dst) == ("192.0.2.2", "192.0.2.1")
    assert answer[IP].chksum == _right_checksum(answer)


def test_icmpecho_drops_what_asks_nothing(loop: Loop) -> None:
    fragment = frame(IP(src=V4.src, dst=V4.dst, flags="MF"), ICMP())
    outcome = loop.forward(Options(forward_mode="icmpecho"), [frame(V4, ICMP(type=0)), fragment, TCP6])
    assert outcome.frames == []


def broken(packet: bytes) -> bytes:
    """The packet with all its checksums wrong, and none of them 0."""
    wrong = Ether(packet)
    for layer in (IP, UDP, TCP):
        if layer in wrong:
            wrong[layer].chksum = 0x1234
    return bytes(wrong)


@pytest.mark.parametrize(
    "right",
    [UDP4, TCP6, frame(Dot1Q(vlan=7), V4, TCP(), payload=b"odd"), frame(V6, UDP(), payload=bytes(1001))],
    ids=["udp4", "tcp6", "tagged tcp4", "long udp6"],
)
def test_csum_makes_checksums_right(loop: Loop, right: bytes) -> None:
    outcome = loop.forward(Options(forward_mode="csum"), [broken(right)])
    assert outcome.frames[0][12:] == right[12:]
    assert outcome.frames[0][:6].hex(":") == PEER


@pytest.mark.parametrize("cut", [len(UDP4) - 1, len(UDP4) - 4, 43])
def test_csum_sums_across_segments(loop: Loop, cut: int) -> None:
    outcome = loop.forward(Options(forward_mode="csum"), [(broken(UDP4)[:cut], broken(UDP4)[cut:])])
    assert outcome.frames[0][12:] == UDP4[12:]


def test_csum_leaves_a_missing_checksum_missing(loop: Loop) -> None:
    without = Ether(UDP4)
    without[UDP].chksum = 0
    assert loop.forward(Options(forward_mode="csum"), [bytes(without)]).frames[0][12:] == bytes(without)[12:]


def test_csum_does_not_believe_lengths_beyond_the_packet(loop: Loop) -> None:
    lying = Ether(broken(UDP4))
    lying[IP].len = 2000
    outcome = loop.forward(Options(forward_mode="csum"), [bytes(lying)])
    assert outcome.frames[0][34:] == bytes(lying)[34:]  # layer 4 is as it was


def test_csum_can_leave_checksums_to_the_port(loop: Loop) -> None:
    loop.forward(Options())
    offloads = TxOffload.IPV4_CKSUM | TxOffload.UDP_CKSUM | TxOffload.TCP_CKSUM
    options = replace(Options(forward_mode="csum"), tx_offloads=int(offloads))
    left = Ether(loop.forward(options, [UDP4]).frames[0])
    assert left[IP].chksum == 0
    # 192.0.2.1, 192.0.2.2, UDP and its 17 bytes: the sum of the pseudo header, for the port to go on with
    assert left[UDP].chksum == 0xC000 + 0x0201 + 0xC000 + 0x0202 + 17 + 17 - 0xFFFF


def test_bursts_and_cycles_are_recorded_when_asked_for(loop: Loop) -> None:
    outcome = loop.forward(Options(record_burst_stats=True, record_core_cycles=True), [UDP4] * 3, passes=2)
    counted = outcome.counted
    assert (counted.rx_bursts[3], counted.tx_bursts[3]) == (2, 2)
    assert sum(counted.rx_bursts) == 2
    assert counted.busy_cycles > 0
    assert loop.forward(Options(), [UDP4]).counted.busy_cycles == 0
