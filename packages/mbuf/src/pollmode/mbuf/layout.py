# SPDX-License-Identifier: BSD-3-Clause
"""Facts of this package: the mbuf (DPDK 22.11's rte_mbuf), the ring, the memory pool, and the offload flags.

Offsets are named `<STRUCTURE>_<FIELD>`. Addresses and 64-bit words are i8.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import BitField, le_struct, offset_of

# The mbuf: DPDK 22.11, rte_mbuf_core.h, struct rte_mbuf. Two cache lines; the second one is for Tx and slow paths.
MBUF: Final[np.dtype[Any]] = le_struct(
    "rte_mbuf",
    128,
    buf_addr="i8",  # the buffer's first byte; for an indirect mbuf, the direct one's
    buf_iova="i8",
    data_off="u2",
    refcnt="u2",
    nb_segs="u2",  # of the chain, in its first mbuf only
    port="u2",
    ol_flags="i8",
    packet_type="u4",
    pkt_len="u4",  # of the chain, in its first mbuf only
    data_len="u2",  # of this segment
    vlan_tci="u2",
    hash_rss="u4",
    hash_fdir="u4",
    vlan_tci_outer="u2",
    buf_len="u2",
    pool="i8",
    next="i8",
    tx_offload="i8",
    shinfo="i8",
    priv_size="u2",
    timesync="u2",
    dynfield1=("u4", 9),
)
MBUF_SIZE: Final = 128
MBUF_BUF_ADDR: Final = offset_of(MBUF, "buf_addr")
MBUF_BUF_IOVA: Final = offset_of(MBUF, "buf_iova")
MBUF_DATA_OFF: Final = offset_of(MBUF, "data_off")
MBUF_REFCNT: Final = offset_of(MBUF, "refcnt")
MBUF_NB_SEGS: Final = offset_of(MBUF, "nb_segs")
MBUF_PORT: Final = offset_of(MBUF, "port")
MBUF_OL_FLAGS: Final = offset_of(MBUF, "ol_flags")
MBUF_PACKET_TYPE: Final = offset_of(MBUF, "packet_type")
MBUF_PKT_LEN: Final = offset_of(MBUF, "pkt_len")
MBUF_DATA_LEN: Final = offset_of(MBUF, "data_len")
MBUF_VLAN_TCI: Final = offset_of(MBUF, "vlan_tci")
MBUF_HASH_RSS: Final = offset_of(MBUF, "hash_rss")
MBUF_HASH_FDIR: Final = offset_of(MBUF, "hash_fdir")
MBUF_VLAN_TCI_OUTER: Final = offset_of(MBUF, "vlan_tci_outer")
MBUF_BUF_LEN: Final = offset_of(MBUF, "buf_len")
MBUF_POOL: Final = offset_of(MBUF, "pool")
MBUF_NEXT: Final = offset_of(MBUF, "next")
MBUF_TX_OFFLOAD: Final = offset_of(MBUF, "tx_offload")
MBUF_SHINFO: Final = offset_of(MBUF, "shinfo")
MBUF_PRIV_SIZE: Final = offset_of(MBUF, "priv_size")
MBUF_TIMESYNC: Final = offset_of(MBUF, "timesync")
MBUF_DYNFIELD1: Final = offset_of(MBUF, "dynfield1")

# The rearm word: the eight bytes at data_off, written whole when an mbuf is handed out.
MBUF_REARM: Final = MBUF_DATA_OFF
REARM_DATA_OFF: Final = BitField(0, 16)
REARM_REFCNT: Final = BitField(16, 16)
REARM_NB_SEGS: Final = BitField(32, 16)
REARM_PORT: Final = BitField(48, 16)
REARM_ONE_OWNER: Final = (1 << 16) | (1 << 32)  # refcnt = 1, nb_segs = 1: what every free mbuf holds
REARM_OWNERS_MASK: Final = REARM_REFCNT.mask | REARM_NB_SEGS.mask

HEADROOM: Final = 128  # RTE_PKTMBUF_HEADROOM
DEFAULT_DATAROOM: Final = 2048  # RTE_MBUF_DEFAULT_DATAROOM, beside the headroom
DEFAULT_BUF_SIZE: Final = HEADROOM + DEFAULT_DATAROOM
MAX_NB_SEGS: Final = 0xFFFF
PORT_INVALID: Final = 0xFFFF  # RTE_MBUF_PORT_INVALID

# tx_offload, rte_mbuf_core.h: lengths of the headers for checksum and segmentation offload.
TX_L2_LEN: Final = BitField(0, 7)
TX_L3_LEN: Final = BitField(7, 9)
TX_L4_LEN: Final = BitField(16, 8)
TX_TSO_SEGSZ: Final = BitField(24, 16)
TX_OUTER_L3_LEN: Final = BitField(40, 9)
TX_OUTER_L2_LEN: Final = BitField(49, 7)

# ol_flags, rte_mbuf_core.h, RTE_MBUF_F_*.
RX_VLAN: Final = 1 << 0
RX_RSS_HASH: Final = 1 << 1
RX_FDIR: Final = 1 << 2
RX_L4_CKSUM_UNKNOWN: Final = 0
RX_L4_CKSUM_BAD: Final = 1 << 3
RX_L4_CKSUM_GOOD: Final = 1 << 8
RX_L4_CKSUM_NONE: Final = (1 << 3) | (1 << 8)
RX_L4_CKSUM_MASK: Final = (1 << 3) | (1 << 8)
RX_IP_CKSUM_UNKNOWN: Final = 0
RX_IP_CKSUM_BAD: Final = 1 << 4
RX_IP_CKSUM_GOOD: Final = 1 << 7
RX_IP_CKSUM_NONE: Final = (1 << 4) | (1 << 7)
RX_IP_CKSUM_MASK: Final = (1 << 4) | (1 << 7)
RX_OUTER_IP_CKSUM_BAD: Final = 1 << 5
RX_VLAN_STRIPPED: Final = 1 << 6
RX_IEEE1588_PTP: Final = 1 << 9
RX_IEEE1588_TMST: Final = 1 << 10
RX_FDIR_ID: Final = 1 << 13
RX_FDIR_FLX: Final = 1 << 14
RX_QINQ_STRIPPED: Final = 1 << 15
RX_LRO: Final = 1 << 16
RX_SEC_OFFLOAD: Final = 1 << 18
RX_SEC_OFFLOAD_FAILED: Final = 1 << 19
RX_QINQ: Final = 1 << 20
RX_OUTER_L4_CKSUM_UNKNOWN: Final = 0
RX_OUTER_L4_CKSUM_BAD: Final = 1 << 21
RX_OUTER_L4_CKSUM_GOOD: Final = 1 << 22
RX_OUTER_L4_CKSUM_INVALID: Final = (1 << 21) | (1 << 22)
RX_OUTER_L4_CKSUM_MASK: Final = (1 << 21) | (1 << 22)
TX_OUTER_UDP_CKSUM: Final = 1 << 41
TX_UDP_SEG: Final = 1 << 42
TX_SEC_OFFLOAD: Final = 1 << 43
TX_MACSEC: Final = 1 << 44
TX_TUNNEL_VXLAN: Final = 0x1 << 45
TX_TUNNEL_GRE: Final = 0x2 << 45
TX_TUNNEL_IPIP: Final = 0x3 << 45
TX_TUNNEL_GENEVE: Final = 0x4 << 45
TX_TUNNEL_MPLSINUDP: Final = 0x5 << 45
TX_TUNNEL_VXLAN_GPE: Final = 0x6 << 45
TX_TUNNEL_GTP: Final = 0x7 << 45
TX_TUNNEL_ESP: Final = 0x8 << 45
TX_TUNNEL_IP: Final = 0xD << 45
TX_TUNNEL_UDP: Final = 0xE << 45
TX_TUNNEL_MASK: Final = 0xF << 45
TX_QINQ: Final = 1 << 49
TX_TCP_SEG: Final = 1 << 50
TX_IEEE1588_TMST: Final = 1 << 51
TX_L4_NO_CKSUM: Final = 0
TX_TCP_CKSUM: Final = 1 << 52
TX_SCTP_CKSUM: Final = 2 << 52
TX_UDP_CKSUM: Final = 3 << 52
TX_L4_MASK: Final = 3 << 52
TX_IP_CKSUM: Final = 1 << 54
TX_IPV4: Final = 1 << 55
TX_IPV6: Final = 1 << 56
TX_VLAN: Final = 1 << 57
TX_OUTER_IP_CKSUM: Final = 1 << 58
TX_OUTER_IPV4: Final = 1 << 59
TX_OUTER_IPV6: Final = 1 << 60
TX_OFFLOAD_MASK: Final = (  # every flag that asks the transmitter for work
    (TX_OUTER_IPV6 | TX_OUTER_IPV4 | TX_OUTER_IP_CKSUM | TX_OUTER_UDP_CKSUM | TX_TUNNEL_MASK)
    | (TX_VLAN | TX_QINQ | TX_IPV6 | TX_IPV4 | TX_IP_CKSUM | TX_L4_MASK | TX_TCP_SEG | TX_UDP_SEG)
    | (TX_IEEE1588_TMST | TX_MACSEC | TX_SEC_OFFLOAD)
)
EXTERNAL: Final = 1 << 61  # RTE_MBUF_F_EXTERNAL: the buffer is nobody's mbuf; not supported, and refused by the checks
INDIRECT: Final = 1 << 62  # RTE_MBUF_F_INDIRECT: the buffer belongs to another mbuf
ATTACHED: Final = EXTERNAL | INDIRECT

# The ring: a bounded queue of 64-bit words (rte_ring's algorithm). Head and tail count words ever passed; they are 64
# bits wide and never wrap. Producer and consumer ends are two cache lines apart, so that neither side's prefetcher
# pulls the other's line. The words follow the record.
RING: Final[np.dtype[Any]] = le_struct(
    "ring",
    384,
    slots="i8",  # a power of two
    mask="i8",  # slots - 1
    capacity="i8",  # words it can hold: slots - 1, or what was asked for when exact
    flags="i8",  # RING_SINGLE_PRODUCER, RING_SINGLE_CONSUMER
    unused0=("i8", 12),
    producer_head="i8",
    producer_tail="i8",
    unused1=("i8", 14),
    consumer_head="i8",
    consumer_tail="i8",
    unused2=("i8", 14),
)
RING_SLOTS: Final = offset_of(RING, "slots")
RING_MASK: Final = offset_of(RING, "mask")
RING_CAPACITY: Final = offset_of(RING, "capacity")
RING_FLAGS: Final = offset_of(RING, "flags")
RING_PRODUCER_HEAD: Final = offset_of(RING, "producer_head")
RING_PRODUCER_TAIL: Final = offset_of(RING, "producer_tail")
RING_CONSUMER_HEAD: Final = offset_of(RING, "consumer_head")
RING_CONSUMER_TAIL: Final = offset_of(RING, "consumer_tail")
RING_WORDS: Final = RING.itemsize
RING_SINGLE_PRODUCER: Final = 1  # RING_F_SP_ENQ
RING_SINGLE_CONSUMER: Final = 2  # RING_F_SC_DEQ
RING_ALIGN: Final = 128  # two cache lines, which the record's spacing presumes
RING_MAX_SLOTS: Final = 1 << 31

# The memory pool: fixed-size elements, each behind a header, a ring of the free ones, and one cache a lcore.
MEMPOOL: Final[np.dtype[Any]] = le_struct(
    "mempool",
    128,
    caches="i8",  # address of lcore 0's cache record
    cache_stride="i8",  # bytes between two lcores' cache records; 0 when the pool has no caches
    cache_size="i8",
    ring="i8",  # address of the ring of free elements
    count="i8",
    objects="i8",  # address of the first element's header
    stride="i8",  # bytes between two elements' headers
    element_size="i8",
    data_room="i8",  # of an mbuf pool: bytes of buffer in each mbuf, headroom included
    private_size="i8",  # of an mbuf pool: bytes of application data behind each mbuf's header
    rearm="i8",  # of an mbuf pool: the rearm word of an mbuf that was just allocated
    lost="i8",  # elements put into a full ring: something was put twice or is not of this pool
    depot="i8",  # address of the depot that other processes take from and put into; 0 when there are none
    unused=("i8", 3),
)
MEMPOOL_CACHES: Final = offset_of(MEMPOOL, "caches")
MEMPOOL_CACHE_STRIDE: Final = offset_of(MEMPOOL, "cache_stride")
MEMPOOL_CACHE_SIZE: Final = offset_of(MEMPOOL, "cache_size")
MEMPOOL_RING: Final = offset_of(MEMPOOL, "ring")
MEMPOOL_COUNT: Final = offset_of(MEMPOOL, "count")
MEMPOOL_OBJECTS: Final = offset_of(MEMPOOL, "objects")
MEMPOOL_STRIDE: Final = offset_of(MEMPOOL, "stride")
MEMPOOL_ELEMENT_SIZE: Final = offset_of(MEMPOOL, "element_size")
MEMPOOL_DATA_ROOM: Final = offset_of(MEMPOOL, "data_room")
MEMPOOL_PRIVATE_SIZE: Final = offset_of(MEMPOOL, "private_size")
MEMPOOL_REARM: Final = offset_of(MEMPOOL, "rearm")
MEMPOOL_LOST: Final = offset_of(MEMPOOL, "lost")
MEMPOOL_DEPOT: Final = offset_of(MEMPOOL, "depot")

# A cache: a stack of addresses behind this header. The record that lcores without a cache share has limit -1.
CACHE: Final[np.dtype[Any]] = le_struct(
    "mempool_cache",
    64,
    length="i8",
    limit="i8",  # a put that would make it longer flushes it first (rte_mempool's flushthresh)
    depot="i8",  # of an lcore of another process: what it has in place of the ring; else 0
    owner="i8",  # of such an lcore: its id + 1, the mark of the crates in its hands
    unused=("i8", 4),
)
CACHE_LENGTH: Final = offset_of(CACHE, "length")
CACHE_LIMIT: Final = offset_of(CACHE, "limit")
CACHE_DEPOT: Final = offset_of(CACHE, "depot")
CACHE_OWNER: Final = offset_of(CACHE, "owner")
CACHE_SLOTS: Final = CACHE.itemsize
CACHE_MAX_SIZE: Final = 512  # RTE_MEMPOOL_CACHE_MAX_SIZE
NO_CACHE: Final = -1

# The depot: crates of addresses, on a stack of those with something in them and a stack of empty ones. The word of a
# stack is the number of its first crate (0: none) below a tag that every change counts up, so that a compare-exchange
# isn't fooled by a crate that went and came back.
DEPOT: Final[np.dtype[Any]] = le_struct(
    "depot",
    256,
    full="i8",
    unused0=("i8", 7),
    empty="i8",
    unused1=("i8", 7),
    hungry="i8",  # 1: a get found no crate since the last one was fed
    unused2=("i8", 7),
    crates="i8",  # address of crate number 1
    crate_stride="i8",
    capacity="i8",  # addresses a crate holds
    count="i8",  # crates
    unused3=("i8", 4),
)
DEPOT_FULL: Final = offset_of(DEPOT, "full")
DEPOT_EMPTY: Final = offset_of(DEPOT, "empty")
DEPOT_HUNGRY: Final = offset_of(DEPOT, "hungry")
DEPOT_CRATES: Final = offset_of(DEPOT, "crates")
DEPOT_CRATE_STRIDE: Final = offset_of(DEPOT, "crate_stride")
DEPOT_CAPACITY: Final = offset_of(DEPOT, "capacity")
STACK_NUMBER: Final = BitField(0, 24)
STACK_TAG: Final = BitField(24, 39)  # the word stays positive
CRATE: Final[np.dtype[Any]] = le_struct(
    "crate",
    64,
    number="i8",
    next="i8",  # the number of the crate below it
    length="i8",
    owner="i8",  # of a crate that is on neither stack: whose hands it is in; 0 for those of the primary
    unused=("i8", 4),
)
CRATE_NUMBER: Final = offset_of(CRATE, "number")
CRATE_NEXT: Final = offset_of(CRATE, "next")
CRATE_LENGTH: Final = offset_of(CRATE, "length")
CRATE_OWNER: Final = offset_of(CRATE, "owner")
CRATE_SLOTS: Final = CRATE.itemsize

# What stands before every element of a pool.
OBJECT_HEADER: Final[np.dtype[Any]] = le_struct(
    "mempool_objhdr", 64, pool="i8", iova="i8", index="i8", cookie="i8", unused=("i8", 4)
)
OBJECT_HEADER_SIZE: Final = OBJECT_HEADER.itemsize
OBJECT_COOKIE: Final = 0x706F6C6C6D6F6465  # "pollmode"

CACHE_LINE: Final = 64
