# SPDX-License-Identifier: BSD-3-Clause
"""Facts of this driver: the queue record, the transmit slot, the words of a fault, the size bins.

The ring's own facts (descriptors, feature bits, the virtio-net header) are `pollmode.vhost.virtqueue`'s; sections are
those of the virtio 1.2 specification.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of
from pollmode.vhost.pacing import PACING

CACHE_LINE: Final = 64

# One direction of one queue pair, in private memory: nothing the device can write stands here. What the driver believes
# about the ring (both indexes, which descriptors are out, what they hold) is this record and the arrays it points to.
VIRTQUEUE: Final[np.dtype[Any]] = le_struct(
    "virtqueue",
    512,
    # Line 0: read in every burst.
    broken="i8",  # FAULT_*, 0 when sound; a broken queue moves nothing until it is reset
    desc="i8",  # addresses of the three parts of the ring
    avail="i8",
    used="i8",
    mask="i8",  # entries - 1
    used_idx="i8",  # the next used entry to take, 16 bits
    avail_idx="i8",  # the next available entry to fill, 16 bits; the published index
    shadow="i8",  # an mbuf's address for each descriptor the device holds, else 0
    # Line 1.
    free="i8",  # descriptors that the device does not hold
    free_head="i8",  # transmit: where in `ids` the first of them stands
    ids="i8",  # their numbers, u2: receive a list of `free`, transmit a circle of all
    lengths="i8",  # scratch: MAX_BURST lengths, i4
    scratch="i8",  # scratch: as many mbuf addresses as the ring has entries
    threshold="i8",  # receive: refill when so many are free; transmit: reclaim when so many are used
    pool="i8",  # receive: where buffers come from; transmit: the pool that untagged cookies go back to
    kick_fd="i8",  # the device's kick eventfd
    # Line 2.
    rearm="i8",  # receive: the rearm word of a received mbuf
    header_offset="i8",  # receive: from an mbuf to where the device writes the virtio-net header
    room="i8",  # receive: bytes of a posted buffer, header included
    slots="i8",  # transmit: TX_SLOT for each descriptor, in memory the device reads
    links="i8",  # transmit: for each descriptor the next of its packet, u2; LINK_END after the last
    untagged="i8",  # transmit: cookies out that belong to `pool`
    kicks="i8",  # eventfd writes
    faults="i8",  # times this queue was broken
    # Line 3: counters.
    packets="i8",
    bytes="i8",
    reserved="i8",
    nombuf="i8",  # receive: descriptors left empty because the pool was
    multicast="i8",
    broadcast="i8",
    broken_index="i8",  # used-ring slot of the fault
    broken_word="i8",  # the offending word
    # Lines 4 and 5.
    sizes=("i8", 8),  # packets of at least so many bytes, see SIZE_BINS
    # Packets dropped, by reason: see RX_DROPS and TX_DROPS.
    short="i8",
    untrue="i8",
    torn="i8",
    empty="i8",
    scattered="i8",
    untaggable="i8",
    unused=("i8", 2),
    # Lines 6 and 7.
    pacing=PACING,  # receive
)
QUEUE_SIZE: Final = VIRTQUEUE.itemsize
QUEUE_SIZES: Final = offset_of(VIRTQUEUE, "sizes")
QUEUE_PACING: Final = offset_of(VIRTQUEUE, "pacing")

# Counters of packets dropped and their names in the extended statistics.
RX_DROPS: Final[dict[str, str]] = {
    "short": "short_errors",  # no whole Ethernet header
    "untrue": "header_errors",  # the virtio-net header says what cannot be
    "torn": "broken_errors",  # the packet that broke the queue, and the buffers taken behind it
}
TX_DROPS: Final[dict[str, str]] = {
    "empty": "empty_errors",  # no byte in it
    "scattered": "segments_errors",  # more segments than the ring has descriptors
    "untaggable": "vlan_errors",  # no room for the VLAN tag it asks for
}

MAX_BURST: Final = 512  # packets one call moves at most; testpmd's largest burst
MIN_FRAME: Final = 14  # an Ethernet header
MAX_RX_PKTLEN: Final = 9728  # DPDK's VIRTIO_MAX_RX_PKTLEN
MIN_RX_BUFSIZE: Final = 64
MIN_RING: Final = 32
DEFAULT_RING: Final = 256
MAX_SEGMENTS: Final = 1024  # of a packet; more make a chain longer than most rings
FREE_THRESHOLD: Final = 32  # DPDK's: min(entries / 4, 32)

# What a transmit descriptor may need beside the packet: a header and an indirect table (2.7.5.3). One slot for each
# descriptor of the ring; a packet uses the slot of its first.
TX_TABLE: Final = 11  # three cache lines together with the header
TX_SLOT: Final[np.dtype[Any]] = le_struct("tx_slot", 192, header=("u1", 16), table=("i8", 2 * TX_TABLE))
TX_SLOT_SIZE: Final = TX_SLOT.itemsize
TX_SLOT_TABLE: Final = offset_of(TX_SLOT, "table")

LINK_END: Final = 0xFFFF
TAG: Final = 1  # in a cookie: this mbuf needs the whole free (chain, references, another pool), and `links` counts

# What the device did: the code in `broken`, and its words in the fault's text.
FAULT_NONE: Final = 0
FAULT_USED_INDEX: Final = 1
FAULT_ID: Final = 2
FAULT_NOT_OUT: Final = 3
FAULT_LENGTH: Final = 4
FAULT_NUM_BUFFERS: Final = 5
FAULT_MISSING: Final = 6
FAULT_TEXTS: Final[dict[int, str]] = {
    FAULT_USED_INDEX: "the used index moved by more than the buffers the device holds",
    FAULT_ID: "a used entry names a descriptor outside the ring",
    FAULT_NOT_OUT: "a used entry names a descriptor the device does not hold",
    FAULT_LENGTH: "a used length is shorter than the virtio-net header or longer than the posted buffer",
    FAULT_NUM_BUFFERS: "num_buffers is zero or more than the ring has entries",
    FAULT_MISSING: "a packet's num_buffers is more than the buffers that arrived",
}

# DPDK's virtio size bins by the first length of each; `sizes` counts cumulatively, so a bin is a difference.
SIZE_BINS: Final[tuple[tuple[str, int], ...]] = (
    ("size_64_packets", 64),
    ("size_65_127_packets", 65),
    ("size_128_255_packets", 128),
    ("size_256_511_packets", 256),
    ("size_512_1023_packets", 512),
    ("size_1024_1518_packets", 1024),
    ("size_1519_max_packets", 1519),
)

# Ethernet, IEEE 802.3: the group bit of the first byte, the broadcast address, the VLAN tag.
GROUP_BIT: Final = 1
BROADCAST_LOW: Final = 0xFFFFFFFF
BROADCAST_HIGH: Final = 0xFFFF
VLAN_TYPE_OFFSET: Final = 12
VLAN_TAG_SIZE: Final = 4
