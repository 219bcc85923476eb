# SPDX-License-Identifier: BSD-3-Clause
"""The records of a queue of net_pcap; the file formats are `pollmode.net.pcap`'s."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of

RXQ: Final[np.dtype[Any]] = le_struct(
    "pcap_rxq",
    128,
    data="i8",  # address of the capture file's bytes
    packets="i8",  # address of its PACKET records
    count="i8",
    next="i8",  # the packet to give next
    pool="i8",
    rearm="i8",  # the rearm word of a received mbuf
    room="i8",  # bytes it holds behind its headroom
    received="i8",
    bytes="i8",
    nombuf="i8",  # times a packet had to wait for an mbuf
    rounds="i8",  # times the file was begun again
    reserved=("i8", 5),
)
RX_COUNTERS: Final = ("received", "bytes", "nombuf", "rounds")

# A transmit queue and the memory between lcore and file: records lie whole between two offsets, and where the next one
# does not fit before the end, `wrap` says where the last one ended and the next is at 0 (a "bip buffer").
TXQ: Final[np.dtype[Any]] = le_struct(
    "pcap_txq",
    320,
    buffer="i8",  # address of the memory
    size="i8",
    failed="i8",  # 1: the file takes no more; written by the thread that writes it
    reserved=("i8", 5),
    head="i8",  # where the next record goes; written by the lcore
    wrap="i8",
    reserved2=("i8", 14),
    tail="i8",  # where the thread goes on; written by it
    reserved3=("i8", 7),
    sent="i8",
    bytes="i8",
    cut="i8",  # packets of which only the first MAX_PACKET bytes were kept
    full="i8",  # times a burst was not taken whole: the file is slower
    dropped="i8",  # taken while the file takes no more
    reserved4=("i8", 3),
)
HEAD: Final = offset_of(TXQ, "head")
WRAP: Final = offset_of(TXQ, "wrap")
TAIL: Final = offset_of(TXQ, "tail")
TX_COUNTERS: Final = ("sent", "bytes", "cut", "full", "dropped")

BUFFER_SIZE: Final = 8 << 20
MAX_QUEUES: Final = 16  # RTE_PMD_PCAP_MAX_QUEUES
MAX_BURST: Final = 512
SHORTEST: Final = 14  # bytes: what has no Ethernet header is no packet
