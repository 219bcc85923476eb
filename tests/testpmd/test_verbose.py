# SPDX-License-Identifier: BSD-3-Clause
"""Packets printed as they pass: the text, which bursts are noted, and that the lcore never waits for the reader."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from support.testpmd_loop import Loop

from pollmode.mbuf import RX_IP_CKSUM_GOOD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN, Burst, Packet
from pollmode.testpmd.options import Options
from pollmode.testpmd.packet_text import SeenPacket, burst_head, packet_lines
from pollmode.testpmd.seen import SLOTS
from pollmode.testpmd.tell import ARROW
from pollmode.testpmd.verbose import Verbose

# A first run compiles, which a busy machine takes minutes for.
pytestmark = pytest.mark.timeout(600)

FRAME = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP() / UDP() / (b"x" * 200))
ZEROS = SeenPacket(bytes(64), "mb_pool_0", 64, 1, 0, 0, 1 | 14 << 32)

# What dpdk-testpmd 22.11 prints for a packet of its net_null, and for one that its txonly sends.
RECEIVED = """\
  src=00:00:00:00:00:00 - dst=00:00:00:00:00:00 - pool=mb_pool_0 - type=0x0000 - length=64 - nb_segs=1 \
- sw ptype: L2_ETHER  - l2_len=14 - Receive queue=0x0
  ol_flags: RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN RTE_MBUF_F_RX_OUTER_L4_CKSUM_UNKNOWN """
SENT = """\
  src=02:00:00:00:00:01 - dst=02:00:00:00:00:02 - pool=mb_pool_0 - type=0x0800 - length=242 - nb_segs=1 \
- sw ptype: L2_ETHER L3_IPV4 L4_UDP  - l2_len=14 - l3_len=20 - l4_len=8 - Send queue=0x0
  ol_flags: RTE_MBUF_F_TX_L4_NO_CKSUM """


def test_a_packet_is_printed_as_dpdk_does() -> None:
    assert packet_lines(ZEROS, "rx", 0) == RECEIVED
    assert burst_head(0, 0, "rx", 2) == "port 0/queue 0: received 2 packets"
    assert burst_head(1, 3, "tx", 1) == "port 1/queue 3: sent 1 packets"


def test_what_the_receiver_found_is_printed() -> None:
    flags = RX_RSS_HASH | RX_VLAN | RX_L4_CKSUM_GOOD | RX_IP_CKSUM_GOOD
    text = packet_lines(replace(ZEROS, flags=flags, rss=0xABC, vlan=5), "rx", 1)
    assert " - RSS hash=0xabc - RSS queue=0x1 - VLAN tci=0x5 - sw ptype" in text
    assert "RTE_MBUF_F_RX_L4_CKSUM_GOOD" in text
    assert "RX_IP_CKSUM_UNKNOWN" not in text


def test_a_frame_of_a_few_bytes_is_no_trouble() -> None:
    assert "src=00:00:00:00:00:00 - dst=01:02:03:00:00:00" in packet_lines(replace(ZEROS, frame=b"\1\2\3"), "rx", 0)


def send(loop: Loop, count: int) -> None:
    for _ in range(count):
        assert loop.port.tx(0, Burst.of([Packet.alloc(loop.pool, FRAME)])) == 1


def test_sent_and_received_packets_are_printed(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    loop.forward(Options())
    verbose = Verbose(loop.environment.memory)
    verbose.set(3, [loop.port])
    capsys.readouterr()
    send(loop, 2)
    assert len(loop.take()) == 2
    verbose.set(0, [loop.port])
    printed = capsys.readouterr().out
    assert printed.count("port 0/queue 0: sent 1 packets\n" + SENT) == 2
    assert printed.count("port 0/queue 0: received 2 packets\n") == 1
    assert printed.count("Receive queue=0x0") == 2
    send(loop, 1)
    assert loop.take() == [FRAME]
    assert capsys.readouterr().out == ""
    verbose.close()
    verbose.close()


def test_what_finds_no_room_is_counted(
    loop: Loop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollmode.testpmd.verbose.PERIOD", 3600.0)  # only the end prints
    loop.forward(Options())
    verbose = Verbose(loop.environment.memory)
    verbose.set(2, [loop.port])
    capsys.readouterr()
    for _ in range(3):
        send(loop, 100)
        loop.take()
    verbose.set(0, [loop.port])
    printed, told = capsys.readouterr()
    assert printed.count("Send queue=0x0") == SLOTS
    assert f"{ARROW}port 0/queue 0: {300 - SLOTS} more packets, too many to show" in told
    verbose.close()


def test_a_port_that_is_set_up_again_is_noted_once(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    loop.forward(Options())
    verbose = Verbose(loop.environment.memory)
    verbose.set(1, [loop.port])
    verbose.follow(loop.port)
    send(loop, 1)
    loop.take()
    verbose.leave(loop.port)
    assert capsys.readouterr().out.count("received 1 packets") == 1
    verbose.close()
    zones = [zone.name for zone in loop.environment.memory.zones()]
    assert not [name for name in zones if name.startswith("testpmd_seen")]
