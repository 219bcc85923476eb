# SPDX-License-Identifier: BSD-3-Clause
"""Facts: the kernel's packet sockets with mapped rings (linux/if_packet.h), and the records of a queue.

The mapped rings are described in the kernel's Documentation/networking/packet_mmap.rst, cited here as "packet_mmap".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

# linux/if_packet.h: what stands at the start of every frame of a TPACKET_V2 ring.
TPACKET2_HDR: Final[np.dtype[Any]] = le_struct(
    "tpacket2_hdr",
    32,
    status="u4",
    len="u4",  # the packet's length on the wire
    snaplen="u4",  # bytes of it in the frame
    mac="u2",  # offset of the packet in the frame
    net="u2",  # offset of its network header
    sec="u4",
    nsec="u4",
    vlan_tci="u2",
    vlan_tpid="u2",
    padding=("u1", 4),
)
TP_STATUS: Final = offset_of(TPACKET2_HDR, "status")
TP_LEN: Final = offset_of(TPACKET2_HDR, "len")
TP_SNAPLEN: Final = offset_of(TPACKET2_HDR, "snaplen")
TP_MAC: Final = offset_of(TPACKET2_HDR, "mac")
TP_VLAN_TCI: Final = offset_of(TPACKET2_HDR, "vlan_tci")
TP_VLAN_TPID: Final = offset_of(TPACKET2_HDR, "vlan_tpid")
SOCKADDR_LL_SIZE: Final = 20  # behind the header, in a received frame
TPACKET_ALIGNMENT: Final = 16
TX_DATA: Final = TPACKET2_HDR.itemsize
"""Where the packet starts in a frame to send: TPACKET2_HDRLEN - sizeof(struct sockaddr_ll)."""
RX_DATA: Final = 66
"""Where the kernel puts an Ethernet frame: its network header is aligned to 16 behind header, address and 16 bytes
(net/packet/af_packet.c, tpacket_rcv), and the packet starts 14 bytes before that."""

# Status of a received frame.
TP_STATUS_KERNEL: Final = 0
TP_STATUS_USER: Final = 1 << 0
TP_STATUS_CSUMNOTREADY: Final = 1 << 3  # the sender left the checksum to hardware that is not there
TP_STATUS_VLAN_VALID: Final = 1 << 4
TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6
TP_STATUS_CSUM_VALID: Final = 1 << 7
# Status of a frame to send; the kernel may add the kind of a timestamp.
TP_STATUS_AVAILABLE: Final = 0
TP_STATUS_SEND_REQUEST: Final = 1 << 0
TP_STATUS_SENDING: Final = 1 << 1
TX_STATUS_MASK: Final = 0x1FFFFFFF  # without TP_STATUS_TS_*

# Socket options, level SOL_PACKET.
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_DROP_MEMBERSHIP: Final = 2
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
PACKET_TX_RING: Final = 13
PACKET_LOSS: Final = 14
PACKET_FANOUT: Final = 18
PACKET_QDISC_BYPASS: Final = 20
PACKET_IGNORE_OUTGOING: Final = 23
TPACKET_V2: Final = 1
PACKET_MR_PROMISC: Final = 1
PACKET_MR_ALLMULTI: Final = 2
PACKET_MR_UNICAST: Final = 3
ETH_P_ALL: Final = 3

# The fanout modes by their devarg, and the flags (packet(7)).
FANOUT_MODES: Final = {"hash": 0, "lb": 1, "cpu": 2, "rollover": 3, "rnd": 4, "qm": 5}
FANOUT_FLAG_ROLLOVER: Final = 0x1000
FANOUT_FLAG_UNIQUEID: Final = 0x2000  # the kernel chooses the group's number
FANOUT_MODE_SHIFT: Final = 16
FANOUT_ID_MASK: Final = 0xFFFF

TPACKET_REQ: Final[np.dtype[Any]] = le_struct(
    "tpacket_req", 16, block_size="u4", block_nr="u4", frame_size="u4", frame_nr="u4"
)
TPACKET_STATS: Final[np.dtype[Any]] = le_struct("tpacket_stats", 8, packets="u4", drops="u4")

# What the driver offers, as DPDK's does.
DEFAULT_FRAME_SIZE: Final = 2048
DEFAULT_FRAME_COUNT: Final = 512
MIN_FRAME_SIZE: Final = 256  # holds a packet of the smallest MTU, 68
MAX_FRAME_SIZE: Final = 1 << 17  # more than any frame of Ethernet: 65535 bytes, and the headers
MAX_RING_SIZE: Final = 1 << 30  # bytes of one ring
MAX_QUEUE_PAIRS: Final = 1024  # RTE_MAX_QUEUES_PER_PORT

ETHERNET_HEADER: Final = 14
VLAN_TAG: Final = 4
ADDRESSES: Final = 12  # bytes before the tag
MAX_BURST: Final = 512  # frames one call moves at most

# One receive queue, in private memory: the kernel sees none of it. Counters have lines of their own.
RXQ: Final[np.dtype[Any]] = le_struct(
    "af_packet_rxq",
    192,
    broken="i8",  # FAULT_*, 0 when sound
    frames="i8",  # addresses of the ring's frames, i8 each
    count="i8",  # frames in the ring
    next="i8",  # the frame to look at next
    frame_size="i8",
    pool="i8",
    rearm="i8",  # the rearm word of a received mbuf
    room="i8",  # bytes a received mbuf holds behind its headroom
    broken_index="i8",
    broken_word="i8",
    reserved=("i8", 6),
    packets="i8",
    bytes="i8",
    nombuf="i8",  # times a frame had to wait for an mbuf
    too_long="i8",  # dropped: cut short by the kernel, or longer than an mbuf without SCATTER
    faults="i8",
    reserved2=("i8", 3),
)
RX_COUNTERS: Final = ("packets", "bytes", "nombuf", "too_long", "faults")

TXQ: Final[np.dtype[Any]] = le_struct(
    "af_packet_txq",
    192,
    broken="i8",
    frames="i8",
    count="i8",
    next="i8",
    fd="i8",  # the socket
    room="i8",  # bytes of packet a frame holds
    longest="i8",  # bytes of the longest untagged frame that the interface sends
    reserved="i8",
    broken_index="i8",
    broken_word="i8",
    reserved2=("i8", 6),
    packets="i8",  # handed to the kernel
    bytes="i8",
    too_long="i8",  # dropped: longer than the interface sends, or than a frame holds
    too_short="i8",  # dropped: shorter than an Ethernet header
    full="i8",  # times a burst was not taken whole, the ring being full
    refused="i8",  # times the kernel refused to send at once: the interface is down or gone
    unsent="i8",  # dropped: still in the ring when the port stopped
    faults="i8",
)
TX_COUNTERS: Final = ("packets", "bytes", "too_long", "too_short", "full", "refused", "unsent", "faults")

FAULT_PLACE: Final = 1
FAULT_LENGTH: Final = 2
FAULT_STATUS: Final = 3
FAULT_TEXTS: Final = {
    FAULT_PLACE: "a packet starts outside its frame",
    FAULT_LENGTH: "a packet ends outside its frame, or before its Ethernet header does",
    FAULT_STATUS: "a frame to send has a status that the kernel may not give it",
}
