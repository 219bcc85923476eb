# SPDX-License-Identifier: BSD-3-Clause
"""The virtio-net header as mbuf flags and back; every field of a received header is hostile until checked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from net_virtio.rigs import RxRig, TxRig

from pollmode.eal.jit import INTERPRETED
from pollmode.mbuf import Mempool, Packet
from pollmode.mbuf.layout import (
    RX_L4_CKSUM_GOOD,
    RX_L4_CKSUM_NONE,
    RX_LRO,
    TX_IPV4,
    TX_IPV6,
    TX_L2_LEN,
    TX_L3_LEN,
    TX_L4_LEN,
    TX_TCP_CKSUM,
    TX_TCP_SEG,
    TX_TSO_SEGSZ,
    TX_UDP_CKSUM,
)
from pollmode.net_virtio.testing import net_header
from pollmode.vhost.virtqueue import (
    VIRTIO_NET_HDR_F_DATA_VALID,
    VIRTIO_NET_HDR_F_NEEDS_CSUM,
    VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6,
    VIRTIO_NET_HDR_GSO_UDP,
)

RxRigs = Callable[..., RxRig]
TxRigs = Callable[..., TxRig]

NEEDS, VALID = VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_DATA_VALID
ETHERNET = bytes.fromhex("020000000001 020000000002 0800")
IP = bytes.fromhex("45000030 00000000 4011b6ba 0a000001 0a000002")
UDP = bytes.fromhex("03e807d0 001c0000") + bytes(range(20))
TCP = bytes.fromhex("03e807d0 00000001 00000002 5010ffff 00000000") + bytes(range(8))
UDP_FRAME = ETHERNET + IP + UDP
TCP_FRAME = ETHERNET + IP[:9] + b"\x06" + IP[10:] + TCP

EXAMPLES = settings(
    max_examples=40 if INTERPRETED else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def ones_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def receive(rig: RxRig, header: bytes, frame: bytes = UDP_FRAME) -> Packet | None:
    rig.host.deliver(frame, header)
    packets = rig.packets()
    assert rig.broken == 0
    return packets[0] if packets else None


def test_a_header_of_zeros_says_nothing(rx_rig: RxRigs) -> None:
    packet = receive(rx_rig(offload=True), net_header())
    assert packet is not None
    assert packet.ol_flags == 0
    packet.free()


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"flags": VALID}, RX_L4_CKSUM_GOOD),
        ({"flags": NEEDS, "csum_start": 34, "csum_offset": 6}, RX_L4_CKSUM_NONE),
        ({"gso_type": VIRTIO_NET_HDR_GSO_TCPV4, "gso_size": 1400}, RX_LRO | RX_L4_CKSUM_NONE),
        ({"gso_type": VIRTIO_NET_HDR_GSO_TCPV6, "gso_size": 1400}, RX_LRO | RX_L4_CKSUM_NONE),
    ],
    ids=["checked by the host", "checksum to be completed", "coalesced, IPv4", "coalesced, IPv6"],
)
def test_what_the_header_says_stands_in_the_flags(rx_rig: RxRigs, fields: dict[str, int], flags: int) -> None:
    packet = receive(rx_rig(offload=True), net_header(**fields))
    assert packet is not None
    assert packet.ol_flags == flags
    assert bytes(packet) == UDP_FRAME
    if "gso_size" in fields:
        assert TX_TSO_SEGSZ.get(int(packet.record["tx_offload"])) == 1400
    packet.free()


def test_a_checksum_the_flags_cannot_express_is_completed(rx_rig: RxRigs) -> None:
    frame = ETHERNET[:12] + b"\x88\xb5" + bytes(range(40))  # no IP in it
    packet = receive(rx_rig(offload=True), net_header(flags=NEEDS, csum_start=20, csum_offset=4), frame)
    assert packet is not None
    assert packet.ol_flags == 0
    done = bytes(packet)
    assert done[:24] + done[26:] == frame[:24] + frame[26:]
    assert int.from_bytes(done[24:26], "big") == ones_sum(frame[20:]) ^ 0xFFFF
    packet.free()


LENGTH = len(UDP_FRAME)


@pytest.mark.parametrize("start", [LENGTH - 1, LENGTH, LENGTH + 1, 0x7FFF, 0xFFFF])
@pytest.mark.parametrize("offset", [0, 6, 0xFFFF])
def test_a_checksum_start_past_the_packet(rx_rig: RxRigs, start: int, offset: int) -> None:
    rig = rx_rig(offload=True)
    assert receive(rig, net_header(flags=NEEDS, csum_start=start, csum_offset=offset)) is None
    assert rig.queue.counters().errors == 1


@pytest.mark.parametrize(
    ("start", "offset", "good"),
    [
        (LENGTH - 2, 0, True),
        (LENGTH - 3, 1, True),
        (34, LENGTH - 36, True),
        (34, LENGTH - 35, False),
        (LENGTH - 1, 0, False),
    ],
)
def test_a_checksum_at_the_very_end_of_the_packet(rx_rig: RxRigs, start: int, offset: int, good: bool) -> None:
    packet = receive(rx_rig(offload=True), net_header(flags=NEEDS, csum_start=start, csum_offset=offset))
    assert (packet is not None) == good
    if packet is not None:
        packet.free()


@pytest.mark.parametrize(
    "fields",
    [
        {"gso_type": VIRTIO_NET_HDR_GSO_TCPV4, "gso_size": 0},
        {"gso_type": VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, "gso_size": 1400},
        {"gso_type": VIRTIO_NET_HDR_GSO_UDP, "gso_size": 1400},
        {"gso_type": 0x7F, "gso_size": 1400},
        {"gso_type": VIRTIO_NET_HDR_GSO_ECN, "gso_size": 1},
    ],
)
def test_a_segmentation_that_cannot_be_is_an_error(rx_rig: RxRigs, fields: dict[str, int]) -> None:
    rig = rx_rig(offload=True)
    assert receive(rig, net_header(**fields)) is None
    assert rig.queue.counters().errors == 1
    packet = receive(rig, net_header())
    assert packet is not None
    packet.free()


def test_without_the_offload_the_header_is_not_looked_at(rx_rig: RxRigs) -> None:
    for mergeable in (True, False):
        rig = rx_rig(mergeable=mergeable)
        rig.host.deliver(UDP_FRAME, b"\xff" * 10 + b"\x01\x00")
        assert rig.receive() == [UDP_FRAME]


@EXAMPLES
@given(header=st.binary(min_size=12, max_size=12), frame=st.binary(min_size=14, max_size=100))
@example(header=net_header(flags=NEEDS, csum_start=0xFFFF, csum_offset=0xFFFF), frame=UDP_FRAME)
def test_any_header_before_any_frame_touches_nothing_beyond_it(rx_rig: RxRigs, header: bytes, frame: bytes) -> None:
    rig = rx_rig(offload=True)
    identity = rig.host.take()
    place = rig.host.chain(identity)[0]
    canary = b"\xa5" * 64
    rig.host.write(identity, header[:10] + b"\x01\x00" + frame + canary)
    rig.host.use([(identity, 12 + len(frame))])
    for packet in rig.packets():
        assert packet.pkt_len == len(frame)
        packet.free()
    assert ctypes.string_at(place.address + 12 + len(frame), 64) == canary
    assert rig.broken == 0
    rig.queue.end(rig.lcore)
    assert rig.pool.in_use() == 0


def sent_header(rig: TxRig, pool: Mempool, flags: int, offload: int, frame: bytes) -> bytes:
    packet = Packet.alloc(pool, frame)
    packet.ol_flags = flags
    packet.record["tx_offload"] = offload
    assert rig.send(packet) == 1
    (sent,) = rig.host.collect()
    assert sent.frame == frame
    return sent.header


L2_L3 = TX_L2_LEN.put(0, 14) | TX_L3_LEN.put(0, 20)


def test_a_udp_checksum_is_asked_of_the_host(tx_rig: TxRigs, pool: Mempool) -> None:
    header = sent_header(tx_rig(offload=True), pool, TX_UDP_CKSUM | TX_IPV4, L2_L3, UDP_FRAME)
    assert header == net_header(flags=NEEDS, csum_start=34, csum_offset=6, num_buffers=0)


def test_a_tcp_checksum_is_asked_of_the_host(tx_rig: TxRigs, pool: Mempool) -> None:
    header = sent_header(tx_rig(offload=True), pool, TX_TCP_CKSUM | TX_IPV4, L2_L3, TCP_FRAME)
    assert header == net_header(flags=NEEDS, csum_start=34, csum_offset=16, num_buffers=0)


@pytest.mark.parametrize(("ip", "kind"), [(TX_IPV4, VIRTIO_NET_HDR_GSO_TCPV4), (TX_IPV6, VIRTIO_NET_HDR_GSO_TCPV6)])
def test_a_segmentation_is_asked_of_the_host(tx_rig: TxRigs, pool: Mempool, ip: int, kind: int) -> None:
    lengths = L2_L3 | TX_L4_LEN.put(0, 20) | TX_TSO_SEGSZ.put(0, 1400)
    header = sent_header(tx_rig(offload=True), pool, TX_TCP_SEG | ip, lengths, TCP_FRAME)
    wanted = {"flags": NEEDS, "gso_type": kind, "hdr_len": 54, "gso_size": 1400, "csum_start": 34, "csum_offset": 16}
    assert header == net_header(**wanted, num_buffers=0)


def test_a_packet_that_asks_for_nothing_has_a_header_of_zeros(tx_rig: TxRigs, pool: Mempool) -> None:
    assert sent_header(tx_rig(offload=True), pool, TX_IPV4, L2_L3, UDP_FRAME) == bytes(12)


def test_without_the_offload_nothing_is_asked(tx_rig: TxRigs, pool: Mempool) -> None:
    assert sent_header(tx_rig(), pool, TX_UDP_CKSUM | TX_IPV4, L2_L3, UDP_FRAME) == bytes(12)
