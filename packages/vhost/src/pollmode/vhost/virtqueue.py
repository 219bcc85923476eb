# SPDX-License-Identifier: BSD-3-Clause
"""Facts both sides of a virtqueue share: split-ring layout, flags, feature bits, the virtio-net header.

Sections are those of the virtio 1.2 specification. A feature is named by its bit number, as in the specification and
in DPDK; `features(...)` makes a word of several and `has(word, bit)` asks for one.
"""

from __future__ import annotations

from pollmode.eal.layout import le_struct, offset_of

# --- split ring, 2.7 ------------------------------------------------------------------------------------------------

VRING_DESC = le_struct("vring_desc", 16, addr="i8", len="u4", flags="u2", next="u2")  # 2.7.5
VRING_DESC_SIZE = VRING_DESC.itemsize
DESC_ADDR = offset_of(VRING_DESC, "addr")
DESC_LEN = offset_of(VRING_DESC, "len")
DESC_FLAGS = offset_of(VRING_DESC, "flags")
DESC_NEXT = offset_of(VRING_DESC, "next")

VRING_DESC_F_NEXT = 1
VRING_DESC_F_WRITE = 2
VRING_DESC_F_INDIRECT = 4

VRING_AVAIL_HEAD = le_struct("vring_avail_head", 4, flags="u2", idx="u2")  # 2.7.6
AVAIL_FLAGS = offset_of(VRING_AVAIL_HEAD, "flags")
AVAIL_IDX = offset_of(VRING_AVAIL_HEAD, "idx")
AVAIL_RING = VRING_AVAIL_HEAD.itemsize
AVAIL_ELEM_SIZE = 2
VRING_AVAIL_F_NO_INTERRUPT = 1

VRING_USED_HEAD = le_struct("vring_used_head", 4, flags="u2", idx="u2")  # 2.7.8
USED_FLAGS = offset_of(VRING_USED_HEAD, "flags")
USED_IDX = offset_of(VRING_USED_HEAD, "idx")
USED_RING = VRING_USED_HEAD.itemsize
VRING_USED_F_NO_NOTIFY = 1

VRING_USED_ELEM = le_struct("vring_used_elem", 8, id="u4", len="u4")
USED_ELEM_SIZE = VRING_USED_ELEM.itemsize
USED_ELEM_ID = offset_of(VRING_USED_ELEM, "id")
USED_ELEM_LEN = offset_of(VRING_USED_ELEM, "len")

DESC_ALIGN = 16  # 2.7: the alignment a device may rely on
AVAIL_ALIGN = 2
USED_ALIGN = 4
EVENT_SIZE = 2  # used_event closes the available ring, avail_event the used ring, 2.7.7 and 2.7.10
LEGACY_ALIGN = 4096  # 2.7.2: a legacy ring's used part starts on the next page

MAX_QUEUE_SIZE = 32768  # 2.7: largest split queue, a power of two
MAX_QUEUE_PAIRS = 128  # DPDK's VHOST_MAX_VRING is 256
MAX_VRINGS = 2 * MAX_QUEUE_PAIRS
INDEX_MASK = 0xFFFF


def desc_size(num: int) -> int:
    """Return the bytes of the descriptor table of a ring of `num` entries."""
    return VRING_DESC_SIZE * num


def avail_size(num: int) -> int:
    """Return the bytes of the available ring of `num` entries, with its closing used_event word."""
    return AVAIL_RING + AVAIL_ELEM_SIZE * num + EVENT_SIZE


def used_size(num: int) -> int:
    """Return the bytes of the used ring of `num` entries, with its closing avail_event word."""
    return USED_RING + USED_ELEM_SIZE * num + EVENT_SIZE


def valid_size(num: int) -> bool:
    """Tell whether a split ring may have `num` entries: a power of two up to 32768 (2.7)."""
    return 0 < num <= MAX_QUEUE_SIZE and num & (num - 1) == 0


def split_layout(num: int, align: int = LEGACY_ALIGN) -> tuple[int, int, int]:
    """Return the offsets of the available and the used ring and the total bytes of a split ring in one piece.

    The descriptor table is at offset 0; `align` is where the used ring starts (2.7.2). Raises ValueError for a size
    or an alignment that the specification does not allow.
    """
    if not valid_size(num):
        raise ValueError(f"a split ring has a power of two entries up to {MAX_QUEUE_SIZE}, not {num}")
    if align < USED_ALIGN or align & (align - 1):
        raise ValueError(f"the used ring is aligned to a power of two of at least {USED_ALIGN} bytes, not {align}")
    avail = desc_size(num)
    used = -(-(avail + avail_size(num)) // align) * align
    return avail, used, used + used_size(num)


# --- feature bits, 5.1.3 and 6 --------------------------------------------------------------------------------------

VIRTIO_NET_F_CSUM = 0
VIRTIO_NET_F_GUEST_CSUM = 1
VIRTIO_NET_F_MTU = 3
VIRTIO_NET_F_MAC = 5
VIRTIO_NET_F_GUEST_TSO4 = 7
VIRTIO_NET_F_GUEST_TSO6 = 8
VIRTIO_NET_F_GUEST_ECN = 9
VIRTIO_NET_F_GUEST_UFO = 10
VIRTIO_NET_F_HOST_TSO4 = 11
VIRTIO_NET_F_HOST_TSO6 = 12
VIRTIO_NET_F_HOST_ECN = 13
VIRTIO_NET_F_HOST_UFO = 14
VIRTIO_NET_F_MRG_RXBUF = 15
VIRTIO_NET_F_STATUS = 16
VIRTIO_NET_F_CTRL_VQ = 17
VIRTIO_NET_F_CTRL_RX = 18
VIRTIO_NET_F_CTRL_VLAN = 19
VIRTIO_NET_F_GUEST_ANNOUNCE = 21
VIRTIO_NET_F_MQ = 22
VIRTIO_NET_F_CTRL_MAC_ADDR = 23
VHOST_F_LOG_ALL = 26  # vhost-user: mark written pages while a guest migrates
VIRTIO_F_ANY_LAYOUT = 27
VIRTIO_RING_F_INDIRECT_DESC = 28
VIRTIO_RING_F_EVENT_IDX = 29
VHOST_USER_F_PROTOCOL_FEATURES = 30
VIRTIO_F_VERSION_1 = 32
VIRTIO_F_IOMMU_PLATFORM = 33
VIRTIO_F_RING_PACKED = 34
VIRTIO_F_IN_ORDER = 35
VIRTIO_F_ORDER_PLATFORM = 36
VIRTIO_F_NOTIFICATION_DATA = 38
VIRTIO_NET_F_HASH_REPORT = 57
VIRTIO_NET_F_RSS = 60
VIRTIO_NET_F_SPEED_DUPLEX = 63

FEATURE_NAMES: dict[int, str] = {
    bit: name
    for name, bit in list(globals().items())
    if name.startswith(("VIRTIO_NET_F_", "VIRTIO_RING_F_", "VIRTIO_F_", "VHOST_F_", "VHOST_USER_F_"))
}
"""The names by bit."""


def features(*bits: int) -> int:
    """Return the feature word with these bits set."""
    word = 0
    for bit in bits:
        word |= 1 << bit
    return word


def has(word: int, bit: int) -> bool:
    """Tell whether the feature word holds the bit."""
    return bool(word >> bit & 1)


def feature_names(word: int) -> str:
    """Return the names of a feature word's bits, joined by spaces, as logs and errors print them."""
    return " ".join(FEATURE_NAMES.get(bit, f"bit{bit}") for bit in range(64) if word >> bit & 1) or "none"


# --- device status, 2.1 ---------------------------------------------------------------------------------------------

STATUS_RESET = 0
STATUS_ACKNOWLEDGE = 1
STATUS_DRIVER = 2
STATUS_DRIVER_OK = 4
STATUS_FEATURES_OK = 8
STATUS_NEEDS_RESET = 64
STATUS_FAILED = 128

# --- the header before each packet, 5.1.6 ---------------------------------------------------------------------------

VIRTIO_NET_HDR = le_struct(
    "virtio_net_hdr", 10, flags="u1", gso_type="u1", hdr_len="u2", gso_size="u2", csum_start="u2", csum_offset="u2"
)
VIRTIO_NET_HDR_MRG_RXBUF = le_struct(
    "virtio_net_hdr_mrg_rxbuf",
    12,
    flags="u1",
    gso_type="u1",
    hdr_len="u2",
    gso_size="u2",
    csum_start="u2",
    csum_offset="u2",
    num_buffers="u2",
)
HDR_SIZE = VIRTIO_NET_HDR.itemsize
HDR_MRG_SIZE = VIRTIO_NET_HDR_MRG_RXBUF.itemsize
HDR_FLAGS = offset_of(VIRTIO_NET_HDR, "flags")
HDR_GSO_TYPE = offset_of(VIRTIO_NET_HDR, "gso_type")
HDR_HDR_LEN = offset_of(VIRTIO_NET_HDR, "hdr_len")
HDR_GSO_SIZE = offset_of(VIRTIO_NET_HDR, "gso_size")
HDR_CSUM_START = offset_of(VIRTIO_NET_HDR, "csum_start")
HDR_CSUM_OFFSET = offset_of(VIRTIO_NET_HDR, "csum_offset")
HDR_NUM_BUFFERS = offset_of(VIRTIO_NET_HDR_MRG_RXBUF, "num_buffers")

VIRTIO_NET_HDR_F_NEEDS_CSUM = 1
VIRTIO_NET_HDR_F_DATA_VALID = 2
VIRTIO_NET_HDR_GSO_NONE = 0
VIRTIO_NET_HDR_GSO_TCPV4 = 1
VIRTIO_NET_HDR_GSO_UDP = 3
VIRTIO_NET_HDR_GSO_TCPV6 = 4
VIRTIO_NET_HDR_GSO_ECN = 0x80


def header_size(word: int) -> int:
    """Return the bytes of the header under the negotiated features: 12 with MRG_RXBUF or VERSION_1, else 10."""
    wide = has(word, VIRTIO_NET_F_MRG_RXBUF) or has(word, VIRTIO_F_VERSION_1) or has(word, VIRTIO_F_RING_PACKED)
    return HDR_MRG_SIZE if wide else HDR_SIZE
