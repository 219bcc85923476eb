# SPDX-License-Identifier: BSD-3-Clause
"""Facts of this driver: the queue record, the words of a fault, the bins of the size statistics.

The ring's own facts (descriptors, feature bits, the virtio-net header) are `pollmode.vhost.virtqueue`'s.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pollmode.eal.layout import le_struct, offset_of
from pollmode.vhost.pacing import PACING

CACHE_LINE: Final = 64

# One direction of one queue pair. Nothing here is visible to the front end: what the data path believes about the
# ring (its next index above all) is this private copy, never the shared one. The control plane changes it only while
# no lcore is inside the queue's callback (`device.VhostDevice`).
QUEUE: Final[np.dtype[Any]] = le_struct(
    "vhost_queue",
    512,
    # Line 0: read at the start of each burst.
    halt="i8",  # why its callback does nothing: FAULT_* of what broke it, or WAITING; 0 while it runs; written last
    desc="i8",  # host addresses of the three parts of the ring
    avail="i8",
    used="i8",
    num="i8",  # entries, a power of two
    regions="i8",  # the vring's own REGIONS record
    next="i8",  # the next entry of both rings, 16 bits: every buffer taken is returned within its burst
    call_fd="i8",  # the front end's call eventfd, -1 for none
    # Line 1.
    pool="i8",  # receive: where mbufs come from
    rearm="i8",  # receive: the rearm word of a new mbuf, its port included
    room="i8",  # receive: data bytes of one mbuf
    event_idx="i8",  # 1 when VIRTIO_RING_F_EVENT_IDX was negotiated
    vector="i8",  # scratch: VECTOR entries of the chain being walked
    vector_size="i8",  # how many fit
    segments="i8",  # scratch: MAX_SEGMENTS mbuf addresses
    segments_max="i8",  # receive: mbufs that one packet may take
    # Line 2: counters of the data path.
    packets="i8",
    bytes="i8",
    unfit="i8",  # transmit: packets dropped because no buffer of the front end can hold them
    missed="i8",  # transmit: packets handed back to the caller
    nombuf="i8",  # receive: packets left in the ring because the pool was empty
    calls="i8",  # eventfd writes
    faults="i8",  # times this queue was broken
    given_up="i8",  # entries that broke the queue and were returned unread when it was healed; receiving, packets
    # Line 3.
    halt_index="i8",  # ring slot or descriptor of the fault, or of the address that is missing
    halt_word="i8",  # the offending word
    multicast="i8",
    broadcast="i8",
    log="i8",  # where written pages are marked; 0 bytes of it when the front end wants none marked
    log_size="i8",
    log_used="i8",  # guest address of the used ring, -1 when it is not marked
    memory="i8",  # the table of the guest's memory, for its addresses
    # Lines 4 and 5.
    header=("i8", 2),  # transmit: the header being written
    sizes=("i8", 8),  # packets by length, see SIZE_BINS
    miss_fd="i8",  # behind an IOMMU: the eventfd that tells of a missing translation; else -1
    miss_access="i8",  # what the address in `halt_word` was wanted for
    misses="i8",  # times a translation was missing
    short="i8",  # receive: packets dropped because they have no whole Ethernet header
    long="i8",  # receive: packets dropped because they are longer than a frame, or than the mbufs one may take
    unused="i8",
    # Lines 6 and 7.
    pacing=PACING,  # receive
)
QUEUE_SIZE: Final = QUEUE.itemsize
QUEUE_HEADER: Final = offset_of(QUEUE, "header")
QUEUE_SIZES: Final = offset_of(QUEUE, "sizes")
QUEUE_PACING: Final = offset_of(QUEUE, "pacing")

# One contiguous piece of a chain in our address space.
VECTOR: Final[np.dtype[Any]] = le_struct("vhost_vector", 16, address="i8", length="i8")
VECTOR_SIZE: Final = VECTOR.itemsize
VECTOR_ADDRESS: Final = offset_of(VECTOR, "address")
VECTOR_LENGTH: Final = offset_of(VECTOR, "length")
VECTOR_SPARE: Final = 64  # entries beside the ring's own number: chains cut by region ends

# Which callback a ring needs.
VARIANT_NONE: Final = 0  # there is no ring
VARIANT_LEGACY: Final = 1  # 10-byte header
VARIANT_MODERN: Final = 2  # 12-byte header, one buffer a packet
VARIANT_MERGEABLE: Final = 3  # 12-byte header, a packet may take several buffers

MIN_FRAME: Final = 14  # an Ethernet header
MAX_FRAME: Final = 65535 + 14  # an IP packet behind an Ethernet header
MIN_RX_ROOM: Final = 64  # data bytes of an mbuf to receive into
MAX_SEGMENTS: Final = 1024  # mbufs of one packet

# What the front end did: the code in `halt`, and its words in the fault's text.
FAULT_NONE: Final = 0
FAULT_AVAIL_INDEX: Final = 1
FAULT_HEAD: Final = 2
FAULT_NEXT: Final = 3
FAULT_LOOP: Final = 4
FAULT_DIRECTION: Final = 5
FAULT_ADDRESS: Final = 6
FAULT_SHORT: Final = 7
FAULT_INDIRECT: Final = 8
FAULT_INDIRECT_LENGTH: Final = 9
FAULT_INDIRECT_ADDRESS: Final = 10
FAULT_PIECES: Final = 11
FAULT_PERMISSION: Final = 12
WAITING: Final = 64  # no fault: the translation of the address in `halt_word` is missing
FAULT_TEXTS: Final[dict[int, str]] = {
    FAULT_AVAIL_INDEX: "the available index moved by more than the ring holds",
    FAULT_HEAD: "an available entry names a descriptor outside the table",
    FAULT_NEXT: "a descriptor's next is outside its table",
    FAULT_LOOP: "a chain is longer than its table: it runs in a circle",
    FAULT_DIRECTION: "a descriptor has the wrong direction (VRING_DESC_F_WRITE)",
    FAULT_ADDRESS: "a buffer is not inside the front end's memory",
    FAULT_SHORT: "a chain is shorter than the virtio-net header",
    FAULT_INDIRECT: "an indirect descriptor has a next, or stands in an indirect table",
    FAULT_INDIRECT_LENGTH: "an indirect table's length is zero, no multiple of 16 or more than the ring holds",
    FAULT_INDIRECT_ADDRESS: "an indirect table is not inside the front end's memory",
    FAULT_PERMISSION: "the IOMMU does not allow what has to be done to a buffer",
    FAULT_PIECES: "the chains of one packet have more pieces than the ring has entries",
}

# The bins of DPDK's vring statistics: first length of each.
SIZE_BINS: Final[tuple[tuple[str, int], ...]] = (
    ("undersize_packets", 0),
    ("size_64_packets", 64),
    ("size_65_127_packets", 65),
    ("size_128_255_packets", 128),
    ("size_256_511_packets", 256),
    ("size_512_1023_packets", 512),
    ("size_1024_1518_packets", 1024),
    ("size_1519_max_packets", 1519),
)
SIZE_LIMIT: Final = 1 << 62  # above any length
BROADCAST_BITS: Final = 0xFFFFFFFFFFFF  # the first six bytes, as a little-endian word
