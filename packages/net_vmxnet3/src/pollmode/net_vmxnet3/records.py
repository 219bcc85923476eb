# SPDX-License-Identifier: BSD-3-Clause
"""The driver's private records: what it believes about its rings, the counters, the words of a fault.

Nothing here is in memory that the device can write.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct

# A command ring: the descriptors the device was given are `used` many from `tail` on, up to `fill`.
RING: Final[np.dtype[Any]] = le_struct(
    "vmxnet3_ring",
    128,
    desc="i8",  # address of the descriptors
    shadow="i8",  # for each descriptor the cookie of what the device holds, else 0
    size="i8",
    fill="i8",  # the next descriptor to write
    tail="i8",  # the oldest descriptor the device holds
    used="i8",
    gen="i8",  # generation of the descriptors written now, 0 or 1
    word="i8",  # receive: a descriptor's second word, without its generation
    doorbell="i8",  # address of the doorbell's record
    unused=("i8", 7),
)
RING_SIZE: Final = RING.itemsize

# One receive or transmit queue.
QUEUE: Final[np.dtype[Any]] = le_struct(
    "vmxnet3_queue",
    384,
    # Line 0: read in every burst.
    broken="i8",  # FAULT_*, 0 when sound; a broken queue moves nothing until it is reset
    ring0="i8",  # addresses of the command rings; transmit has one
    ring1="i8",
    comp="i8",  # completion ring: address, entries, the next one, the generation it has when it is written
    comp_size="i8",
    comp_next="i8",
    comp_gen="i8",
    control="i8",  # the queue's descriptor in shared memory
    # Line 1.
    pool="i8",  # receive: where buffers come from; transmit: the pool that untagged cookies go back to
    scratch="i8",  # addresses of mbufs, as many as the larger of ring and MAX_BURST
    threshold="i8",  # receive: refill when so many descriptors are free; transmit: reclaim when so many are used
    data="i8",  # data ring: address, address for the device, bytes of an entry (0: there is none)
    data_iova="i8",
    data_size="i8",
    iova_offset="i8",  # from an address to the device's; receive: from an mbuf to the device's address of its buffer
    scattered_iova="i8",  # 1 when physical addresses follow no offset: each mbuf knows its own
    # Line 2: receive.
    rearm="i8",  # the rearm word of a received mbuf
    data_offset="i8",  # from an mbuf to its buffer's first byte after the headroom
    room="i8",  # bytes of a posted buffer
    table="i8",  # PARSED_TABLE
    expected="i8",  # a completion's first word, less its index: a whole packet in ring 0 of this queue
    expected_data="i8",  # the same for the data ring
    body_rqid="i8",  # the number of ring 1 in completions; -1: it is not used
    lro="i8",  # 1 when LRO was asked for
    # Line 3: the packet whose first buffers came and whose last has not.
    head="i8",
    last="i8",
    segments="i8",
    total="i8",  # bytes so far
    mss="i8",  # LRO
    coalesced="i8",  # LRO: packets in it
    mtu="i8",
    untagged="i8",  # transmit: cookies out that belong to `pool`
    # Line 4: counters.
    packets="i8",
    bytes="i8",
    nombuf="i8",  # descriptors left empty because the pool was
    faults="i8",  # times this queue was broken
    kicks="i8",  # doorbells rung
    broken_index="i8",  # completion ring slot of the fault
    broken_word="i8",  # the offending value
    full="i8",  # transmit: bursts that found the ring full
    # Line 5: packets dropped, by reason: see RX_DROPS and TX_DROPS; then what is no packet.
    frame="i8",
    short="i8",
    empty="i8",
    scattered="i8",
    tso="i8",
    offload="i8",
    crc="i8",  # receive: of `frame`, those with a wrong CRC
    skipped="i8",  # receive: buffers the device passed over
)
QUEUE_SIZE: Final = QUEUE.itemsize
COUNTERS: Final = (
    "packets",
    "bytes",
    "nombuf",
    "faults",
    "kicks",
    "full",
    "frame",
    "short",
    "empty",
    "scattered",
    "tso",
    "offload",
    "crc",
    "skipped",
)

RX_DROPS: Final[dict[str, str]] = {
    "frame": "drop_err",  # the device says the frame is damaged; DPDK's name
    "short": "drop_short",  # no whole Ethernet header
}
TX_DROPS: Final[dict[str, str]] = {
    "scattered": "drop_too_many_segs",  # DPDK's names
    "tso": "drop_tso",  # a segmentation that cannot be
    "empty": "drop_empty",  # no byte in it
    "offload": "drop_offload",  # a checksum the device cannot make, or outside the packet
}

MAX_BURST: Final = 512  # packets one call moves at most; testpmd's largest burst
MIN_FRAME: Final = 14  # an Ethernet header
FREE_THRESHOLD: Final = 32

TAG: Final = 1  # in a cookie: this mbuf needs the whole free (chain, references, another pool)
COPIED: Final = TAG  # a cookie without an mbuf: the packet was copied and its mbuf is free already

# What a received completion says of the headers (RCD_PARSED, and "not calculated" above it), as an mbuf says it:
# ol_flags in the low half, packet_type in the high one.
PARSED_BITS: Final = 7
PARSED_TABLE: Final = 1 << (PARSED_BITS + 1)

# What the device did: the code in `broken`, and its words in the fault's text.
FAULT_NONE: Final = 0
FAULT_INDEX: Final = 1
FAULT_NOT_OUT: Final = 2
FAULT_QUEUE: Final = 3
FAULT_LENGTH: Final = 4
FAULT_TYPE: Final = 5
FAULT_BEGIN: Final = 6
FAULT_NO_BEGIN: Final = 7
FAULT_BUFFER: Final = 8
FAULT_NOT_END: Final = 9
FAULT_STOPPED: Final = 10
FAULT_ENDLESS: Final = 11
FAULT_TEXTS: Final[dict[int, str]] = {
    FAULT_INDEX: "a completion names a descriptor outside the ring",
    FAULT_NOT_OUT: "a completion names a descriptor the device does not hold",
    FAULT_QUEUE: "a completion is of another queue or ring",
    FAULT_LENGTH: "a completion's length is longer than its buffer, or zero within a packet",
    FAULT_TYPE: "a completion is of a type this ring has not",
    FAULT_BEGIN: "a packet begins before the last one ended",
    FAULT_NO_BEGIN: "a packet goes on that never began",
    FAULT_BUFFER: "a packet begins in a body buffer, or goes on in a head buffer",
    FAULT_NOT_END: "a completion names a descriptor that is not the last of its packet",
    FAULT_STOPPED: "the device stopped the queue",
    FAULT_ENDLESS: "a packet goes on for more buffers than the ring has",
}
