# SPDX-License-Identifier: BSD-3-Clause
"""The records of a queue of net_null."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

# What a received mbuf has between data_off and hash_rss: 32 bytes that are the same for every packet.
HEADER: Final[np.dtype[Any]] = le_struct(
    "header", 32, rearm="i8", ol_flags="i8", packet_type="u4", pkt_len="u4", data_len="u2", vlan_tci="u2", hash_rss="u4"
)

# The counters are written by the queue's lcore at every burst, so they have a cache line of their own.
RXQ: Final[np.dtype[Any]] = le_struct(
    "null_rxq",
    128,
    header=HEADER,
    pool="i8",
    packet_size="i8",  # bytes of each packet
    packet="i8",  # address of the bytes that a copying queue puts into each packet
    reserved="i8",
    packets="i8",
    bytes="i8",
    nombuf="i8",
    reserved2=("i8", 5),
)
RXQ_HEADER: Final = offset_of(RXQ, "header")
RXQ_POOL: Final = offset_of(RXQ, "pool")
RXQ_PACKET_SIZE: Final = offset_of(RXQ, "packet_size")
RXQ_PACKET: Final = offset_of(RXQ, "packet")
RXQ_PACKETS: Final = offset_of(RXQ, "packets")
RXQ_BYTES: Final = offset_of(RXQ, "bytes")
RXQ_NOMBUF: Final = offset_of(RXQ, "nombuf")

TXQ: Final[np.dtype[Any]] = le_struct(
    "null_txq",
    128,
    packet_size="i8",  # most bytes that a copying queue copies of each packet
    packet="i8",  # address of where it copies them to
    reserved=("i8", 6),
    packets="i8",
    bytes="i8",
    reserved2=("i8", 6),
)
TXQ_PACKET_SIZE: Final = offset_of(TXQ, "packet_size")
TXQ_PACKET: Final = offset_of(TXQ, "packet")
TXQ_PACKETS: Final = offset_of(TXQ, "packets")
TXQ_BYTES: Final = offset_of(TXQ, "bytes")

DEFAULT_SIZE: Final = 64
MAX_SIZE: Final = 0xFFFF  # a packet is one mbuf
