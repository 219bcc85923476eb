# SPDX-License-Identifier: BSD-3-Clause
"""Header structures and accessors, with scapy as the other side: its bytes are read, and ours are what it writes."""

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pollmode.net import arp, ethernet, icmp, ipv4, ipv6, mac, tcp, udp, vlan

ONE, TWO = "02:00:00:00:00:01", "06:11:22:33:44:55"
ONE_WORD, TWO_WORD = mac.word(mac.parse(ONE)), mac.word(mac.parse(TWO))


def test_ethernet_is_read(wire):
    frame = wire(bytes(Ether(dst=ONE, src=TWO, type=0x88B5))).address
    assert ethernet.ethernet_destination(frame) == ONE_WORD
    assert ethernet.ethernet_source(frame) == TWO_WORD
    assert ethernet.ethernet_type(frame) == 0x88B5


def test_ethernet_is_written_and_nothing_else(blank):
    memory = blank(ethernet.ETHERNET_SIZE)
    ethernet.write_ethernet(memory.address, ONE_WORD, TWO_WORD, ethernet.TYPE_IPV6)
    assert memory.bytes() == bytes(Ether(dst=ONE, src=TWO, type=0x86DD))


def test_ethernet_addresses_are_set_together(wire):
    memory = wire(bytes(Ether(dst="00:00:00:00:00:00", src="00:00:00:00:00:00", type=0x800)))
    last = mac.word(mac.BROADCAST)
    ethernet.set_ethernet_addresses(memory.address, TWO_WORD, last)
    assert memory.bytes() == bytes(Ether(dst=TWO, src="ff:ff:ff:ff:ff:ff", type=0x800))
    ethernet.set_ethernet_addresses(memory.address, last, ONE_WORD)
    assert memory.bytes() == bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=ONE, type=0x800))


def test_ethernet_addresses_change_places(wire):
    memory = wire(bytes(Ether(dst=ONE, src=TWO, type=0x800)))
    ethernet.swap_ethernet(memory.address)
    assert memory.bytes() == bytes(Ether(dst=TWO, src=ONE, type=0x800))


@pytest.mark.parametrize(
    ("text", "group", "broadcast"),
    [("ff:ff:ff:ff:ff:ff", 1, 1), ("01:00:5e:00:00:fb", 1, 0), (ONE, 0, 0), ("fe:ff:ff:ff:ff:ff", 0, 0)],
)
def test_ethernet_groups(text, group, broadcast):
    word = mac.word(mac.parse(text))
    assert (ethernet.is_multicast(word), ethernet.is_broadcast(word)) == (group, broadcast)


def test_vlan_is_read_and_written(wire):
    memory = wire(bytes(Ether(dst=ONE, src=TWO) / Dot1Q(prio=5, dei=1, vlan=0xABC, type=0x88B5)))
    tag = memory.address + ethernet.ETHERNET_SIZE
    tci = vlan.vlan_tci(tag)
    assert (vlan.VLAN_PRIORITY.get(tci), vlan.VLAN_DROP_ELIGIBLE.get(tci), vlan.VLAN_ID.get(tci)) == (5, 1, 0xABC)
    assert vlan.vlan_type(tag) == 0x88B5
    vlan.set_vlan_tci(tag, vlan.VLAN_ID.put(0, 7))
    vlan.set_vlan_type(tag, ethernet.TYPE_ARP)
    assert memory.bytes() == bytes(Ether(dst=ONE, src=TWO) / Dot1Q(vlan=7, type=0x806))


def test_vlan_is_stripped_and_inserted_again(wire):
    tagged = bytes(Ether(dst=ONE, src=TWO) / Dot1Q(prio=3, vlan=42) / IP(src="1.1.1.1", dst="2.2.2.2"))
    plain = bytes(Ether(dst=ONE, src=TWO) / IP(src="1.1.1.1", dst="2.2.2.2"))
    memory = wire(tagged)
    tci = vlan.strip_vlan(memory.address)
    assert tci == 3 << 13 | 42
    assert memory.bytes()[vlan.VLAN_SIZE :] == plain
    vlan.insert_vlan(memory.address + vlan.VLAN_SIZE, tci)
    assert memory.bytes() == tagged


def test_vlan_strip_leaves_a_frame_without_a_tag(wire):
    plain = bytes(Ether(dst=ONE, src=TWO) / IP(src="1.1.1.1", dst="2.2.2.2"))
    memory = wire(plain)
    assert vlan.strip_vlan(memory.address) == -1
    assert memory.bytes() == plain


def test_arp_is_read(wire):
    memory = wire(bytes(ARP(op=2, hwsrc=ONE, psrc="198.18.0.1", hwdst=TWO, pdst="198.18.0.2")))
    header = memory.address
    assert arp.arp_is_ipv4(header) == 1
    assert arp.arp_operation(header) == arp.OPERATION_REPLY
    assert (arp.arp_sender_mac(header), arp.arp_sender_ip(header)) == (ONE_WORD, 0xC6120001)
    assert (arp.arp_target_mac(header), arp.arp_target_ip(header)) == (TWO_WORD, 0xC6120002)


@pytest.mark.parametrize("field", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}])
def test_arp_of_another_kind_is_told(wire, field):
    kind = {"hwtype": 1, "ptype": 0x800, "hwlen": 6, "plen": 4} | field
    raw = np.zeros(1, arp.ARP)
    raw["hardware_type"], raw["protocol_type"] = kind["hwtype"], kind["ptype"]
    raw["hardware_length"], raw["protocol_length"] = kind["hwlen"], kind["plen"]
    assert arp.arp_is_ipv4(wire(raw.tobytes()).address) == 0


def test_arp_request_is_written_and_answered(blank):
    memory = blank(arp.ARP_SIZE)
    arp.write_arp(memory.address, arp.OPERATION_REQUEST, ONE_WORD, 0x01020304, 0, 0x05060708)
    assert memory.bytes() == bytes(ARP(op=1, hwsrc=ONE, psrc="1.2.3.4", hwdst="00:00:00:00:00:00", pdst="5.6.7.8"))
    arp.arp_reply(memory.address, TWO_WORD)
    assert memory.bytes() == bytes(ARP(op=2, hwsrc=TWO, psrc="5.6.7.8", hwdst=ONE, pdst="1.2.3.4"))


def test_ipv4_is_read(wire):
    raw = bytes(IP(src="1.2.3.4", dst="200.6.7.8", id=0xBEEF, ttl=61, proto=17, flags="DF", len=300, chksum=0x1234))
    header = wire(raw).address
    assert ipv4.ipv4_header_length(header, len(raw)) == 20
    assert ipv4.ipv4_total_length(header) == 300
    assert ipv4.ipv4_identification(header) == 0xBEEF
    assert ipv4.ipv4_fragment_word(header) == ipv4.DONT_FRAGMENT
    assert ipv4.ipv4_is_fragment(header) == 0
    assert (ipv4.ipv4_ttl(header), ipv4.ipv4_protocol(header)) == (61, ipv4.PROTOCOL_UDP)
    assert ipv4.ipv4_checksum_field(header) == 0x3412
    assert (ipv4.ipv4_source(header), ipv4.ipv4_destination(header)) == (0x01020304, 0xC8060708)


def test_ipv4_is_written_and_nothing_else(blank):
    memory = blank(ipv4.IPV4_SIZE)
    ipv4.write_ipv4(memory.address, 46, ipv4.PROTOCOL_UDP, 64, 0xC6120001, 0xC6120002)
    assert memory.bytes() == bytes(IP(id=0, len=46, proto=17, ttl=64, src="198.18.0.1", dst="198.18.0.2", chksum=0))


def test_ipv4_fields_are_set_one_by_one(wire):
    memory = wire(bytes(IP(id=0, len=20, ttl=1, src="0.0.0.0", dst="0.0.0.0", chksum=0)))
    header = memory.address
    ipv4.set_ipv4_total_length(header, 1500)
    ipv4.set_ipv4_identification(header, 0x0102)
    ipv4.set_ipv4_ttl(header, 200)
    ipv4.set_ipv4_source(header, 0x01020304)
    ipv4.set_ipv4_destination(header, 0xFFFEFDFC)
    ipv4.swap_ipv4(header)
    ipv4.set_ipv4_checksum_field(header, 0xCDAB)
    expected = IP(id=0x0102, len=1500, ttl=200, src="255.254.253.252", dst="1.2.3.4", chksum=0xABCD)
    assert memory.bytes() == bytes(expected)


@pytest.mark.parametrize(
    ("first", "available", "length"),
    [
        (0x45, 19, 0),
        (0x45, 20, 20),
        (0x44, 60, 0),
        (0x40, 60, 0),
        (0x55, 60, 0),
        (0x65, 60, 0),
        (0x4F, 59, 0),
        (0x4F, 60, 60),
    ],
)
def test_ipv4_malformed_headers_have_no_length(wire, first, available, length):
    assert ipv4.ipv4_header_length(wire(bytes([first]) + bytes(59)).address, available) == length


@pytest.mark.parametrize(
    ("total", "available", "payload"),
    [(46, 46, 26), (46, 60, 26), (46, 45, -1), (20, 46, 0), (19, 46, -1), (0, 46, -1), (0xFFFF, 60, -1)],
)
def test_ipv4_payload_is_what_both_lengths_allow(wire, total, available, payload):
    header = wire(b"\x45\x00" + total.to_bytes(2, "big") + bytes(56)).address
    assert ipv4.ipv4_payload_length(header, available) == payload


@pytest.mark.parametrize(("word", "fragment"), [(0, 0), (0x4000, 0), (0x8000, 0), (0x2000, 1), (1, 1), (0x1FFF, 1)])
def test_ipv4_fragments_are_told(wire, word, fragment):
    assert ipv4.ipv4_is_fragment(wire(bytes(6) + word.to_bytes(2, "big") + bytes(12)).address) == fragment


def test_ipv6_is_read_and_written(wire, blank):
    addresses = wire(bytes(range(32)))
    memory = blank(ipv6.IPV6_SIZE)
    header = memory.address
    ipv6.write_ipv6(header, 1000, ipv4.PROTOCOL_TCP, 63, addresses.address, addresses.address + 16)
    packet = IPv6(memory.bytes())
    assert (packet.version, packet.tc, packet.fl, packet.plen, packet.nh, packet.hlim) == (6, 0, 0, 1000, 6, 63)
    assert memory.bytes()[8:] == bytes(range(32))
    assert (ipv6.ipv6_payload_length(header), ipv6.ipv6_next_header(header), ipv6.ipv6_hop_limit(header)) == (
        1000,
        6,
        63,
    )
    ipv6.swap_ipv6(header)
    assert memory.bytes()[ipv6.ipv6_source(header) - header :][:32] == bytes(range(16, 32)) + bytes(range(16))
    assert ipv6.ipv6_destination(header) - ipv6.ipv6_source(header) == 16
    ipv6.set_ipv6_hop_limit(header, 1)
    ipv6.set_ipv6_payload_length(header, 0xFFFE)
    assert (ipv6.ipv6_payload_length(header), ipv6.ipv6_hop_limit(header)) == (0xFFFE, 1)


@pytest.mark.parametrize(("first", "available", "fine"), [(0x60, 40, 1), (0x6F, 41, 1), (0x60, 39, 0), (0x45, 40, 0)])
def test_ipv6_malformed_headers_are_told(wire, first, available, fine):
    assert ipv6.ipv6_header_ok(wire(bytes([first]) + bytes(40)).address, available) == fine


def test_udp_is_read_written_and_swapped(blank):
    memory = blank(udp.UDP_SIZE)
    header = memory.address
    udp.write_udp(header, 0x1234, 0xFEDC, 26)
    assert memory.bytes() == bytes(UDP(sport=0x1234, dport=0xFEDC, len=26, chksum=0))
    udp.swap_udp_ports(header)
    udp.set_udp_checksum(header, 0xCDAB)
    assert memory.bytes() == bytes(UDP(sport=0xFEDC, dport=0x1234, len=26, chksum=0xABCD))
    assert (udp.udp_source(header), udp.udp_destination(header)) == (0xFEDC, 0x1234)
    assert (udp.udp_length(header), udp.udp_checksum(header)) == (26, 0xCDAB)


def test_tcp_is_read(wire):
    raw = bytes(
        TCP(sport=80, dport=65000, seq=0xDEADBEEF, ack=0x80000001, flags="SAFC", window=5000, chksum=0x1234, dataofs=7)
    )
    header = wire(raw).address
    assert (tcp.tcp_source(header), tcp.tcp_destination(header)) == (80, 65000)
    assert (tcp.tcp_sequence(header), tcp.tcp_acknowledgment(header)) == (0xDEADBEEF, 0x80000001)
    assert tcp.tcp_flags(header) == tcp.FLAG_SYN | tcp.FLAG_ACK | tcp.FLAG_FIN | tcp.FLAG_CWR
    assert (tcp.tcp_header_length(header), tcp.tcp_window(header), tcp.tcp_checksum(header)) == (28, 5000, 0x3412)


def test_tcp_is_written(wire):
    memory = wire(bytes(tcp.TCP_SIZE))
    header = memory.address
    tcp.set_tcp_source(header, 65000)
    tcp.set_tcp_destination(header, 80)
    tcp.swap_tcp_ports(header)
    tcp.set_tcp_sequence(header, 0xDEADBEEF)
    tcp.set_tcp_acknowledgment(header, 1)
    tcp.set_tcp_header_length(header, 60)
    tcp.set_tcp_flags(header, tcp.FLAG_RST | tcp.FLAG_PSH | tcp.FLAG_URG | tcp.FLAG_ECE)
    tcp.set_tcp_window(header, 0x0102)
    tcp.set_tcp_checksum(header, 0xCDAB)
    expected = TCP(sport=80, dport=65000, seq=0xDEADBEEF, ack=1, dataofs=15, flags="RPUE", window=0x0102, chksum=0xABCD)
    assert memory.bytes() == bytes(expected)


def test_icmp_echo_is_written_and_read(blank):
    memory = blank(icmp.ICMP_SIZE)
    header = memory.address
    icmp.write_icmp_echo(header, icmp.ECHO_REQUEST, 0x1234, 7)
    icmp.set_icmp_checksum(header, 0xCDAB)
    assert memory.bytes() == bytes(ICMP(type=8, id=0x1234, seq=7, chksum=0xABCD))
    assert (icmp.icmp_type(header), icmp.icmp_code(header), icmp.icmp_checksum(header)) == (8, 0, 0xCDAB)
    assert (icmp.icmp_identifier(header), icmp.icmp_sequence(header)) == (0x1234, 7)


@pytest.mark.parametrize("data", [b"", bytes(56), b"odd", bytes(range(56))])
@pytest.mark.parametrize("identity", [0, 0xF7FF, 0xFFFF])
def test_icmp_reply_has_a_checksum_that_receivers_accept(wire, data, identity):
    memory = wire(bytes(ICMP(type=8, id=identity, seq=0) / data))
    icmp.icmp_echo_reply(memory.address)
    reply = memory.bytes()
    total = sum(int.from_bytes(reply[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(reply), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert reply[:2] == b"\0\0"
    assert reply[4:] == bytes(ICMP(type=0, id=identity, seq=0) / data)[4:]


@pytest.mark.parametrize(
    ("structure", "packet"),
    [
        (ethernet.ETHERNET, Ether(dst=ONE, src=TWO, type=0x800)),
        (ipv4.IPV4, IP(src="1.2.3.4", dst="5.6.7.8", id=3, len=20, chksum=1)),
        (udp.UDP, UDP(sport=1, dport=2, len=8, chksum=3)),
        (icmp.ICMP, ICMP(id=1, seq=2, chksum=3)),
    ],
)
def test_structures_lead_back_to_the_bytes(structure, packet):
    raw = bytes(packet)
    assert structure.itemsize == len(raw)
    read = np.frombuffer(raw, structure)[0]
    written = np.zeros(1, structure)
    for field in structure.names:
        written[field] = read[field]
    assert written.tobytes() == raw


def test_structure_fields_are_what_scapy_put_there():
    read = np.frombuffer(bytes(UDP(sport=0x1234, dport=9, len=26, chksum=0xABCD)), udp.UDP)[0]
    assert (int(read["source"]), int(read["destination"])) == (0x1234, 9)
    assert (int(read["length"]), int(read["checksum"])) == (26, 0xABCD)
    fragment = np.frombuffer(bytes.fromhex("11000009deadbeef"), ipv6.IPV6_FRAGMENT)[0]
    assert (int(fragment["next_header"]), int(fragment["fragment"])) == (17, 9)
    assert int(fragment["identification"]) == 0xDEADBEEF
