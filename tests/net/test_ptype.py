# SPDX-License-Identifier: BSD-3-Clause
"""Packet types: every layer, every cut of a frame, and no byte read beyond its length."""

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP

from pollmode.eal.jit import INTERPRETED
from pollmode.net import ptype

V4 = IP(src="1.2.3.4", dst="5.6.7.8")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
RECORD = IPOption_RR(length=7, pointer=4, routers=["1.2.3.4"])

# frame, names as DPDK prints them, lengths of layers 2, 3, 4
FRAMES = {
    "udp": (ETHER / V4 / UDP(), "L2_ETHER L3_IPV4 L4_UDP", (14, 20, 8)),
    "tcp": (ETHER / V4 / TCP(), "L2_ETHER L3_IPV4 L4_TCP", (14, 20, 20)),
    "tcp_options": (ETHER / V4 / TCP(options=[("MSS", 1460)]), "L2_ETHER L3_IPV4 L4_TCP", (14, 20, 24)),
    "sctp": (ETHER / V4 / SCTP(), "L2_ETHER L3_IPV4 L4_SCTP", (14, 20, 12)),
    "icmp": (ETHER / V4 / ICMP(), "L2_ETHER L3_IPV4 L4_ICMP", (14, 20, 8)),
    "igmp": (ETHER / IP(proto=2) / bytes(8), "L2_ETHER L3_IPV4 L4_IGMP", (14, 20, 8)),
    "other_protocol": (ETHER / IP(proto=89) / bytes(20), "L2_ETHER L3_IPV4", (14, 20, 0)),
    "options": (ETHER / IP(options=[RECORD]) / UDP(), "L2_ETHER L3_IPV4_EXT L4_UDP", (14, 28, 8)),
    "first_fragment": (ETHER / IP(flags="MF") / UDP(), "L2_ETHER L3_IPV4 L4_FRAG", (14, 20, 0)),
    "later_fragment": (ETHER / IP(frag=5) / UDP(), "L2_ETHER L3_IPV4 L4_FRAG", (14, 20, 0)),
    "vlan": (ETHER / Dot1Q(vlan=5) / V4 / UDP(), "L2_ETHER_VLAN L3_IPV4 L4_UDP", (18, 20, 8)),
    "qinq": (ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V4 / TCP(), "L2_ETHER_QINQ L3_IPV4 L4_TCP", (22, 20, 20)),
    "three_tags": (ETHER / Dot1AD() / Dot1Q() / Dot1Q() / V4 / UDP(), "L2_ETHER_QINQ", (22, 0, 0)),
    "arp": (ETHER / ARP(), "L2_ETHER_ARP", (14, 0, 0)),
    "lldp": (Ether(type=0x88CC) / bytes(40), "L2_ETHER_LLDP", (14, 0, 0)),
    "timesync": (Ether(type=0x88F7) / bytes(40), "L2_ETHER_TIMESYNC", (14, 0, 0)),
    "length_not_type": (Ether(type=46) / bytes(46), "L2_ETHER", (14, 0, 0)),
    "v6_udp": (ETHER / V6 / UDP(), "L2_ETHER L3_IPV6 L4_UDP", (14, 40, 8)),
    "v6_icmp": (ETHER / V6 / ICMPv6EchoRequest(), "L2_ETHER L3_IPV6 L4_ICMP", (14, 40, 8)),
    "v6_vlan": (ETHER / Dot1Q() / V6 / TCP(), "L2_ETHER_VLAN L3_IPV6 L4_TCP", (18, 40, 20)),
    "v6_none": (ETHER / IPv6(nh=59) / bytes(8), "L2_ETHER L3_IPV6", (14, 40, 0)),
    "v6_hop": (ETHER / V6 / IPv6ExtHdrHopByHop() / UDP(), "L2_ETHER L3_IPV6_EXT L4_UDP", (14, 48, 8)),
    "v6_many": (
        ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["::1"]) / IPv6ExtHdrDestOpt() / TCP(),
        "L2_ETHER L3_IPV6_EXT L4_TCP",
        (14, 40 + 8 + 24 + 8, 20),
    ),
    "v6_ah": (ETHER / V6 / AH(nh=17, payloadlen=4, icv=bytes(12)) / UDP(), "L2_ETHER L3_IPV6_EXT L4_UDP", (14, 64, 8)),
    "v6_fragment": (ETHER / V6 / IPv6ExtHdrFragment(m=1) / UDP(), "L2_ETHER L3_IPV6_EXT L4_FRAG", (14, 48, 0)),
}


def lengths(headers: int) -> tuple[int, int, int]:
    """Return the lengths of layers 2, 3 and 4 out of a headers word."""
    word = ptype.header_lengths(headers)
    return (
        word & ptype.L2_LENGTH_MASK,
        (word >> ptype.L3_LENGTH_SHIFT) & ptype.L3_LENGTH_MASK,
        (word >> ptype.L4_LENGTH_SHIFT) & ptype.L4_LENGTH_MASK,
    )


@pytest.mark.parametrize("name", FRAMES)
def test_every_layer_is_named_and_measured(wire, name):
    frame, names, expected = FRAMES[name]
    raw = bytes(frame)
    headers = ptype.parse_headers(wire(raw).address, len(raw))
    assert ptype.names(ptype.packet_type(headers)) == names
    assert lengths(headers) == expected
    assert ptype.parse(wire(raw).address, len(raw)) == ptype.packet_type(headers)


@pytest.mark.parametrize("name", FRAMES)
def test_a_cut_frame_names_the_layers_that_are_whole(wire, name):
    frame, _, whole = FRAMES[name]
    raw = bytes(frame)
    memory = wire(raw)
    for length in range(len(raw)):
        headers = ptype.parse_headers(memory.address, length)
        measured = lengths(headers)
        assert sum(measured) <= length
        assert all(part in (0, full) or part < full for part, full in zip(measured, whole, strict=True))
        kind = ptype.packet_type(headers)
        assert (kind == 0) == (length < 14)
        assert not kind & ptype.L4_MASK or kind & ptype.L3_MASK


@settings(max_examples=30 if INTERPRETED else 300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(FRAMES)),
    changes=st.dictionaries(st.integers(12, 80), st.integers(0, 255), max_size=6),
    length=st.integers(0, 120),
    after=st.tuples(st.binary(min_size=80, max_size=80), st.binary(min_size=80, max_size=80)),
)
def test_bytes_behind_the_length_change_nothing(wire, name, changes, length, after):
    raw = bytearray(bytes(FRAMES[name][0]))
    for at, value in changes.items():
        if at < len(raw):
            raw[at] = value
    kept = bytes(raw[:length])
    found = {ptype.parse_headers(wire(kept + tail).address, len(kept)) for tail in after}
    assert len(found) == 1
    assert sum(lengths(found.pop())) <= len(kept)


AT_THE_EDGE = """
import ctypes, mmap, sys
from pollmode.net import ptype
pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
for text in sys.argv[1:]:
    frame = bytes.fromhex(text)
    for length in range(len(frame) + 1):
        at = start + mmap.PAGESIZE - length
        ctypes.memmove(at, frame, length)
        ptype.parse_headers(at, length)
print("unharmed")
import os
sys.stdout.flush()
os._exit(0)
"""


def test_no_read_beyond_a_frame_that_ends_at_forbidden_memory():
    frames = [bytes(frame).hex() for frame, _, _ in FRAMES.values()]
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_EDGE, *frames], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout) == (0, "unharmed\n"), done.stderr


@pytest.mark.parametrize("ihl", range(5))
def test_impossible_ipv4_header_length(wire, ihl):
    raw = bytearray(bytes(ETHER / V4 / UDP()))
    raw[14] = 0x40 | ihl
    assert ptype.parse(wire(bytes(raw)).address, len(raw)) == ptype.L2_ETHER


def test_impossible_tcp_header_length(wire):
    raw = bytearray(bytes(ETHER / V4 / TCP()))
    raw[14 + 20 + 12] = 0x40
    assert ptype.parse(wire(bytes(raw)).address, len(raw)) == ptype.L2_ETHER | ptype.L3_IPV4


def test_ip_version_that_does_not_fit_the_ethernet_type(wire):
    raw = bytearray(bytes(ETHER / V4 / UDP()))
    raw[14] = 0x65
    assert ptype.parse(wire(bytes(raw)).address, len(raw)) == ptype.L2_ETHER


def test_extension_headers_without_end(wire):
    raw = bytes(ETHER / IPv6(nh=0)) + bytes([0, 0, 1, 4, 0, 0, 0, 0]) * 20
    headers = ptype.parse_headers(wire(raw).address, len(raw))
    assert ptype.packet_type(headers) == ptype.L2_ETHER | ptype.L3_IPV6_EXT
    assert lengths(headers) == (14, 0, 0)


def test_extension_header_longer_than_tx_offload_can_say(wire):
    raw = bytes(ETHER / IPv6(nh=0)) + bytes([17, 63]) + bytes(64 * 8 - 2) + bytes(UDP())
    headers = ptype.parse_headers(wire(raw).address, len(raw))
    assert ptype.packet_type(headers) == ptype.L2_ETHER | ptype.L3_IPV6_EXT
    assert lengths(headers) == (14, 0, 0)


def test_names_of_nothing_and_of_unknown_layers():
    assert ptype.names(0) == "UNKNOWN"
    assert ptype.names(0xF) == "UNKNOWN"
    assert ptype.names(ptype.L2_ETHER | ptype.L3_IPV4) == "L2_ETHER L3_IPV4"


def test_both_ip_versions_are_told_with_and_without_extras():
    kinds = [ptype.L3_IPV4, ptype.L3_IPV4_EXT, ptype.L3_IPV6, ptype.L3_IPV6_EXT, ptype.L2_ETHER_ARP]
    assert [ptype.is_ipv4(kind) for kind in kinds] == [1, 1, 0, 0, 0]
    assert [ptype.is_ipv6(kind) for kind in kinds] == [0, 0, 1, 1, 0]
