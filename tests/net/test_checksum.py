# SPDX-License-Identifier: BSD-3-Clause
"""Checksums against a plain reference (RFC 1071, word by word) and against scapy."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from pollmode.eal.jit import INTERPRETED
from pollmode.net import checksum, ipv4

EXAMPLES = settings(
    max_examples=25 if INTERPRETED else 200, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
WORDS = st.integers(0, 0xFFFF)


def reference(data: bytes) -> int:
    """Return the sum with end-around carry, as `load16` sees it, word after word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2], "little")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def in_memory(number: int) -> int:
    """Return a checksum field's number as it lies in memory."""
    return int.from_bytes(number.to_bytes(2, "big"), "little")


@EXAMPLES
@given(data=st.binary(max_size=300), shift=st.integers(0, 7))
def test_sum_of_any_bytes_at_any_alignment(wire, data, shift):
    memory = wire(bytes(shift) + data)
    assert checksum.raw_checksum(memory.address + shift, len(data)) == reference(data)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 20, 63, 64, 65, 66, 67, 127, 128, 1500, 1518, 9000, 65535])
@pytest.mark.parametrize("byte", [0x00, 0x01, 0x80, 0xFF])
def test_sum_of_every_size_class(wire, length, byte):
    data = bytes([byte]) * length
    assert checksum.raw_checksum(wire(data).address, length) == reference(data)


def test_sum_of_nothing_but_zero_is_zero(wire):
    assert checksum.raw_checksum(wire(bytes(100)).address, 100) == 0
    assert checksum.finish(0) == 0xFFFF


@pytest.mark.parametrize(
    ("total", "folded"),
    [
        (0, 0),
        (1, 1),
        (0xFFFF, 0xFFFF),
        (0x10000, 1),
        (0x1FFFE, 0xFFFF),
        (0xFFFFFFFF, 0xFFFF),
        (0xFFFF0001, 1),
        (1 << 62, 0x4000),
    ],
)
def test_fold_carries_around(total, folded):
    assert checksum.fold(total) == folded


@EXAMPLES
@given(data=st.binary(min_size=2, max_size=200), cut=st.integers(0, 200))
def test_sum_of_two_pieces_is_the_sum_of_the_whole(wire, data, cut):
    cut = min(cut, len(data))
    start = wire(data).address
    first = checksum.wide_sum(start, cut)
    second = checksum.wide_sum(start + cut, len(data) - cut)
    assert checksum.fold(first + checksum.sum_at(second, cut)) == reference(data)


@pytest.mark.parametrize("options", [[], [IPOption_RR(length=7, pointer=4, routers=["1.2.3.4"])]])
def test_ipv4_header(wire, options):
    raw = bytes(IP(src="198.18.0.1", dst="198.18.0.2", id=7, ttl=3, options=options) / UDP())
    memory = wire(raw)
    length = ipv4.ipv4_header_length(memory.address, len(raw))
    assert length == (28 if options else 20)
    assert checksum.ipv4_checksum_ok(memory.address, length) == 1
    assert checksum.ipv4_checksum(memory.address, length) == ipv4.ipv4_checksum_field(memory.address)
    ipv4.set_ipv4_checksum_field(memory.address, 0)
    assert checksum.ipv4_checksum(memory.address, length) == int.from_bytes(raw[10:12], "little")


@pytest.mark.parametrize("bit", range(0, 160, 7))
def test_ipv4_header_with_one_wrong_bit(wire, bit):
    raw = bytearray(bytes(IP(src="198.18.0.1", dst="198.18.0.2")))
    raw[bit // 8] ^= 1 << bit % 8
    assert checksum.ipv4_checksum_ok(wire(bytes(raw)).address, 20) == 0


@EXAMPLES
@given(data=st.binary(max_size=120), ports=st.tuples(WORDS, WORDS), layer=st.sampled_from([UDP, TCP]))
def test_udp_and_tcp_over_ipv4(wire, data, ports, layer):
    raw = bytes(IP(src="10.1.2.3", dst="255.0.0.9") / layer(sport=ports[0], dport=ports[1]) / Raw(data))
    start, length = wire(raw).address, len(raw) - 20
    protocol = ipv4.ipv4_protocol(start)
    pseudo = checksum.ipv4_pseudo_sum(start, protocol, length)
    field = 6 if layer is UDP else 16
    expected = int.from_bytes(raw[20 + field : 22 + field], "little")
    assert checksum.udp_tcp_checksum(pseudo, protocol, start + 20, length) == expected
    assert checksum.udp_tcp_checksum_ok(pseudo, start + 20, length) == 1


@EXAMPLES
@given(data=st.binary(max_size=120), ports=st.tuples(WORDS, WORDS), layer=st.sampled_from([UDP, TCP]))
def test_udp_and_tcp_over_ipv6(wire, data, ports, layer):
    raw = bytes(IPv6(src="2001:db8::1", dst="ff02::fb") / layer(sport=ports[0], dport=ports[1]) / Raw(data))
    start, length = wire(raw).address, len(raw) - 40
    protocol = 17 if layer is UDP else 6
    pseudo = checksum.ipv6_pseudo_sum(start, protocol, length)
    field = 6 if layer is UDP else 16
    expected = int.from_bytes(raw[40 + field : 42 + field], "little")
    assert checksum.udp_tcp_checksum(pseudo, protocol, start + 40, length) == expected
    assert checksum.udp_tcp_checksum_ok(pseudo, start + 40, length) == 1


def test_wrong_payload_is_noticed(wire):
    raw = bytearray(bytes(IP(src="10.1.2.3", dst="10.1.2.4") / UDP() / b"payload"))
    raw[-1] ^= 1
    start, length = wire(bytes(raw)).address, len(raw) - 20
    pseudo = checksum.ipv4_pseudo_sum(start, 17, length)
    assert checksum.udp_tcp_checksum_ok(pseudo, start + 20, length) == 0


def test_udp_sends_ffff_for_zero_and_tcp_zero(wire):
    """The port is chosen so that the sum comes out as 0xffff and its complement as 0."""
    raw = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=0, dport=9, chksum=0)))
    start = wire(bytes(raw)).address
    pseudo = checksum.ipv4_pseudo_sum(start, 17, 8)
    rest = checksum.fold(checksum.wide_sum(start + 20, 8) + pseudo)
    raw[20:22] = (0xFFFF - rest).to_bytes(2, "little")
    header = wire(bytes(raw)).address + 20
    assert checksum.udp_tcp_checksum(pseudo, 17, header, 8) == 0xFFFF
    assert checksum.udp_zero(6, 0) == 0
    assert checksum.udp_zero(17, 0) == 0xFFFF
    assert checksum.udp_zero(17, 0x1234) == 0x1234


@EXAMPLES
@given(header=st.binary(min_size=19, max_size=19), word=st.integers(1, 9).filter(lambda at: at != 5), new=WORDS)
def test_change_of_one_word_of_a_header(wire, header, word, new):
    before = b"\x45" + header
    after = before[: 2 * word] + new.to_bytes(2, "little") + before[2 * word + 2 :]
    old = int.from_bytes(before[2 * word : 2 * word + 2], "little")
    start = checksum.ipv4_checksum(wire(before).address, 20)
    assert checksum.update16(start, old, new) == checksum.ipv4_checksum(wire(after).address, 20)


@EXAMPLES
@given(header=st.binary(min_size=19, max_size=19), at=st.sampled_from([12, 16]), new=st.integers(0, 0xFFFFFFFF))
def test_change_of_an_address_of_a_header(wire, header, at, new):
    before = b"\x45" + header
    after = before[:at] + new.to_bytes(4, "little") + before[at + 4 :]
    old = int.from_bytes(before[at : at + 4], "little")
    start = checksum.ipv4_checksum(wire(before).address, 20)
    assert checksum.update32(start, old, new) == checksum.ipv4_checksum(wire(after).address, 20)


def test_change_of_rfc_1624_section_4():
    """RFC 1624's own numbers: HC 0xdd2f, 0x5555 becomes 0x3285, the result is 0."""
    assert checksum.update16(in_memory(0xDD2F), in_memory(0x5555), in_memory(0x3285)) == 0
