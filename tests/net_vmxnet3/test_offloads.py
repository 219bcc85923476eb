# SPDX-License-Identifier: BSD-3-Clause
"""Checksums, segmentation, coalescing, VLAN tags, hashes: what is asked of the device and what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_vmxnet3.rigs import TCP, UDP, Rig, frame, ip_frame

from pollmode.ethdev import PortConfig, RxOffload, TxOffload
from pollmode.mbuf import layout as mbuf
from pollmode.net import ptype
from pollmode.net_vmxnet3.layout import MAX_TSO_SEGMENTS

Rigs = Callable[..., Rig]
CHECKSUM = PortConfig(rx_offloads=RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM)
STRIP = PortConfig(rx_offloads=RxOffload.VLAN_STRIP)
LRO = PortConfig(rx_offloads=RxOffload.TCP_LRO | RxOffload.UDP_CKSUM | RxOffload.TCP_CKSUM)
SENDING = PortConfig(tx_offloads=TxOffload.VLAN_INSERT | TxOffload.TCP_CKSUM | TxOffload.UDP_CKSUM | TxOffload.TCP_TSO)
L2, L4, SEGSZ = 14, 20, mbuf.TX_TSO_SEGSZ.shift


def lengths(version: int = 4, size: int = 0) -> int:
    layer3 = 20 if version == 4 else 40
    return L2 | layer3 << mbuf.TX_L3_LEN.shift | L4 << mbuf.TX_L4_LEN.shift | size << SEGSZ


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("revision", [1, 3])
def test_checksums_and_types_of_received_packets(make_rig: Rigs, revision: int, version: int, protocol: int) -> None:
    rig = make_rig(revision=revision, config=CHECKSUM)
    layer3 = ptype.L3_IPV4_EXT_UNKNOWN if version == 4 else ptype.L3_IPV6_EXT_UNKNOWN
    layer4 = ptype.L4_TCP if protocol == TCP else ptype.L4_UDP
    ip_good = mbuf.RX_IP_CKSUM_GOOD if version == 4 else 0
    for good, flag in ((True, mbuf.RX_L4_CKSUM_GOOD), (False, mbuf.RX_L4_CKSUM_BAD)):
        rig.model.deliver(ip_frame(protocol, version=version, good=good))
        (packet,) = rig.packets()
        assert packet.ol_flags == flag | ip_good
        assert packet.packet_type == ptype.L2_ETHER | layer3 | layer4
        packet.free()


def test_a_bad_ip_checksum_is_told(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, config=CHECKSUM)
    data = bytearray(ip_frame(UDP))
    data[24] ^= 1
    rig.model.deliver(bytes(data))
    (packet,) = rig.packets()
    assert packet.ol_flags & mbuf.RX_IP_CKSUM_MASK == mbuf.RX_IP_CKSUM_BAD
    packet.free()


def test_nothing_is_said_of_checksums_nobody_asked_for(rig: Rig) -> None:
    rig.model.deliver(ip_frame(UDP, good=False))
    (packet,) = rig.packets()
    assert packet.ol_flags == 0
    packet.free()


@pytest.mark.parametrize("revision", [1, 3])
def test_a_tag_is_stripped_when_asked_for(make_rig: Rigs, revision: int) -> None:
    rig = make_rig(revision=revision, config=STRIP)
    rig.model.deliver(ip_frame(vlan=0xE064))
    rig.model.deliver(ip_frame())
    tagged, plain = rig.packets()
    assert (bytes(tagged), tagged.vlan_tci) == (ip_frame(), 0xE064)
    assert tagged.ol_flags == mbuf.RX_VLAN | mbuf.RX_VLAN_STRIPPED
    assert (bytes(plain), plain.vlan_tci, plain.ol_flags) == (ip_frame(), 0, 0)
    for packet in (tagged, plain):
        packet.free()


def test_a_tag_of_a_chain_is_stripped(make_rig: Rigs) -> None:
    config = PortConfig(rx_offloads=RxOffload.VLAN_STRIP | RxOffload.SCATTER)
    rig = make_rig(revision=1, config=config, data_room=128 + 128)
    rig.model.deliver(ip_frame(vlan=5, payload=bytes(500)))
    (packet,) = rig.packets()
    assert (bytes(packet), packet.vlan_tci) == (ip_frame(payload=bytes(500)), 5)
    assert packet.nb_segs > 1
    packet.free()


def test_a_tag_stays_when_nobody_asked(rig: Rig) -> None:
    rig.model.deliver(ip_frame(vlan=100))
    assert rig.receive() == [ip_frame(vlan=100)]


def test_stripping_is_switched_while_the_port_runs(rig: Rig) -> None:
    rig.port.set_vlan_offload(RxOffload.VLAN_STRIP, True)
    rig.model.deliver(ip_frame(vlan=7))
    assert rig.receive() == [ip_frame()]
    rig.port.set_vlan_offload(RxOffload.VLAN_STRIP, False)
    rig.model.deliver(ip_frame(vlan=7))
    assert rig.receive() == [ip_frame(vlan=7)]
    rig.port.stop()
    rig.port.start()
    rig.model.deliver(ip_frame(vlan=7))
    assert rig.receive() == [ip_frame(vlan=7)]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_tag_is_inserted(make_rig: Rigs, parts: int) -> None:
    rig = make_rig(revision=1, config=SENDING)
    data = ip_frame(payload=bytes(300))
    pieces = [data[:100], data[100:200], data[200:]] if parts == 3 else [data]
    for tag in (0x2064, 0xFFFF):
        rig.send(rig.packet(*pieces, flags=mbuf.TX_VLAN, tag=tag))
        assert rig.model.collect()[0].frame == ip_frame(payload=bytes(300), vlan=tag)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_checksum_is_made(make_rig: Rigs, version: int, protocol: int) -> None:
    rig = make_rig(revision=1, config=SENDING)
    flag = mbuf.TX_TCP_CKSUM if protocol == TCP else mbuf.TX_UDP_CKSUM
    asking = ip_frame(protocol, version=version, partial=True, payload=b"payload" * 30)
    rig.send(rig.packet(asking, flags=flag, offload=lengths(version)))
    rig.send(rig.packet(asking[:90], asking[90:], flags=flag, offload=lengths(version)))
    whole = ip_frame(protocol, version=version, payload=b"payload" * 30)
    assert [sent.frame for sent in rig.model.collect()] == [whole, whole]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("segments", [1, MAX_TSO_SEGMENTS])
def test_a_large_packet_is_segmented(make_rig: Rigs, version: int, segments: int) -> None:
    rig = make_rig(revision=1, config=SENDING, data_room=128 + 9000, mbufs=300)
    payload = bytes(range(256)) * 20
    data = ip_frame(TCP, version=version, payload=payload, partial=True)
    step = -(-len(data) // segments)
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    rig.send(rig.packet(*pieces, flags=mbuf.TX_TCP_SEG, offload=lengths(version, 1400)))
    (sent,) = rig.model.collect()
    headers = 54 if version == 4 else 74
    assert b"".join(out[headers:] for out in sent.frames) == payload
    assert [len(out) - headers for out in sent.frames] == [1400, 1400, 1400, 920]
    receiver = make_rig(revision=1, config=CHECKSUM)
    for out in sent.frames:  # every segment's checksums are right
        receiver.model.deliver(out)
    for packet in receiver.packets():
        assert packet.ol_flags & mbuf.RX_L4_CKSUM_MASK == mbuf.RX_L4_CKSUM_GOOD
        packet.free()


@pytest.mark.parametrize(
    ("flags", "offload", "counter"),
    [
        (mbuf.TX_TCP_SEG, lengths(4, 0), "drop_tso"),
        (mbuf.TX_TCP_SEG, 0, "drop_tso"),
        (mbuf.TX_TCP_SEG, lengths(4, 0x7FFF), "drop_tso"),
        (mbuf.TX_SCTP_CKSUM, lengths(), "drop_offload"),
        (mbuf.TX_TCP_CKSUM, 127 | 511 << mbuf.TX_L3_LEN.shift, "drop_offload"),
        (mbuf.TX_UDP_CKSUM, 0, "drop_offload"),
    ],
)
def test_an_offload_that_cannot_be_drops_the_packet(make_rig: Rigs, flags: int, offload: int, counter: str) -> None:
    rig = make_rig(revision=1, config=SENDING)
    assert rig.send(rig.packet(ip_frame(TCP), flags=flags, offload=offload), rig.packet(frame())) == 2
    assert [sent.frame for sent in rig.model.collect()] == [frame()]
    assert rig.port.xstats()[f"tx_q0_{counter}"] == 1


@pytest.mark.parametrize("told", [1448, 0])
def test_coalesced_packets_have_their_segment_size(make_rig: Rigs, told: int) -> None:
    rig = make_rig(revision=2, config=LRO)
    data = ip_frame(TCP, payload=bytes(1448 * 4))
    assert rig.model.deliver_coalesced(data, 4, told) == 0
    (packet,) = rig.packets()
    assert bytes(packet) == data
    assert packet.ol_flags & mbuf.RX_LRO
    assert packet.tx_offload >> SEGSZ == 1448
    packet.free()


def test_revision_1_does_not_coalesce(make_rig: Rigs) -> None:
    rig = make_rig(revision=1, start=False)
    assert not rig.port.info().rx_offload_capa & RxOffload.TCP_LRO
    assert rig.port.info().max_lro_pkt_size == 0
