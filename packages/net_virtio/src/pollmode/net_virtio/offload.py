# SPDX-License-Identifier: BSD-3-Clause
"""The virtio-net header and an mbuf's offload flags, each as the other (virtio 1.2, 5.1.6.2 and 5.1.6.4).

A received header is the device's word: its fields are checked against the packet before anything is computed or
written from them. A header that does not fit its packet makes the packet an error, not a fault: the ring is sound.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    compiled,
    inlined,
    load16,
    load32,
    load64,
    load_relaxed16,
    store8,
    store16,
    store32,
    store64,
)
from pollmode.eal.layout import offset_of
from pollmode.mbuf.layout import (
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_TX_OFFLOAD,
    RX_L4_CKSUM_GOOD,
    RX_L4_CKSUM_NONE,
    RX_LRO,
    TX_IPV6,
    TX_L2_LEN,
    TX_L3_LEN,
    TX_L4_LEN,
    TX_L4_MASK,
    TX_TCP_CKSUM,
    TX_TCP_SEG,
    TX_TSO_SEGSZ,
    TX_UDP_CKSUM,
)
from pollmode.net.checksum import finish, raw_checksum
from pollmode.net.ptype import header_lengths, packet_type, parse_headers
from pollmode.net.tcp import TCP
from pollmode.net.udp import UDP
from pollmode.vhost.virtqueue import (
    HDR_CSUM_OFFSET,
    HDR_CSUM_START,
    HDR_FLAGS,
    HDR_GSO_SIZE,
    HDR_GSO_TYPE,
    HDR_HDR_LEN,
    HDR_MRG_SIZE,
    HDR_NUM_BUFFERS,
    VIRTIO_NET_HDR_F_DATA_VALID,
    VIRTIO_NET_HDR_F_NEEDS_CSUM,
    VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_NONE,
    VIRTIO_NET_HDR_GSO_TCPV4,
    VIRTIO_NET_HDR_GSO_TCPV6,
)

REFUSED = -1
CHECKSUM_SIZE = 2
UDP_CHECKSUM = offset_of(UDP, "checksum")
TCP_CHECKSUM = offset_of(TCP, "checksum")
L2_MASK, L2_SHIFT = TX_L2_LEN.mask, TX_L2_LEN.shift
L3_MASK, L3_SHIFT = TX_L3_LEN.mask, TX_L3_LEN.shift
L4_MASK, L4_SHIFT = TX_L4_LEN.mask, TX_L4_LEN.shift
SEGSZ_MASK, SEGSZ_SHIFT = TX_TSO_SEGSZ.mask, TX_TSO_SEGSZ.shift
BYTE = 0xFF
WORD16 = 0xFFFF


@inlined
def _headers_size(lengths: int) -> int:
    """Return the bytes before layer 4, by the lengths of a tx_offload word."""
    return ((lengths & L2_MASK) >> L2_SHIFT) + ((lengths & L3_MASK) >> L3_SHIFT)


@compiled
def received_flags(m: int, header: int, kinds: int, data: int, held: int, whole: int) -> int:
    """Return the receive flags of packet `m` by its virtio-net header, -1 when the header does not fit the packet.

    `kinds` is the header's flags and gso_type, read once and not zero; `held` are the bytes at `data`, `whole` is 1
    when they are the whole packet. Sets packet_type, and tso_segsz of a coalesced packet. A checksum the mbuf's flags
    can't express is completed here.
    """
    flags = kinds & BYTE
    gso = kinds >> 8
    found = parse_headers(data, held)
    store32(m + MBUF_PACKET_TYPE, packet_type(found))
    result = 0
    if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM:
        start = load_relaxed16(header + HDR_CSUM_START)
        offset = load_relaxed16(header + HDR_CSUM_OFFSET)
        if start + offset + CHECKSUM_SIZE > held:  # CVE-2024-11614
            return REFUSED
        if whole == 0 or start == _headers_size(header_lengths(found)):
            result |= RX_L4_CKSUM_NONE
        else:
            checksum = finish(raw_checksum(data + start, held - start))
            store16(data + start + offset, WORD16 if checksum == 0 else checksum)
    elif flags & VIRTIO_NET_HDR_F_DATA_VALID:
        result |= RX_L4_CKSUM_GOOD
    if gso != VIRTIO_NET_HDR_GSO_NONE:
        size = load_relaxed16(header + HDR_GSO_SIZE)
        if gso & VIRTIO_NET_HDR_GSO_ECN or size == 0:
            return REFUSED
        if gso not in (VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6):
            return REFUSED
        store64(m + MBUF_TX_OFFLOAD, size << SEGSZ_SHIFT)
        result |= RX_LRO | RX_L4_CKSUM_NONE
    return result


@inlined
def clear_header(header: int, size: int) -> None:
    """Write a header that asks for nothing; `size` is a constant, 10 or 12.

    An mbuf that comes round again has it there already: then it is not written, and stays shared with the device.
    """
    tail = load32(header + HDR_CSUM_OFFSET) if size == HDR_MRG_SIZE else load16(header + HDR_CSUM_OFFSET)
    if load64(header) | tail != 0:
        store64(header, 0)
        if size == HDR_MRG_SIZE:
            store32(header + HDR_CSUM_OFFSET, 0)
        else:
            store16(header + HDR_CSUM_OFFSET, 0)


@compiled
def write_header(header: int, size: int, m: int) -> int:
    """Write the header that asks for the checksum and segmentation packet `m` wants; returns 1.

    As in DPDK, the packet's checksum field already holds the sum of the pseudo header.
    """
    flags = load64(m + MBUF_OL_FLAGS)
    lengths = load64(m + MBUF_TX_OFFLOAD)
    layer4 = flags & TX_L4_MASK
    segmented = flags & TX_TCP_SEG
    if segmented:
        layer4 = TX_TCP_CKSUM
    before = _headers_size(lengths)
    wanted = layer4 in (TX_UDP_CKSUM, TX_TCP_CKSUM)
    kind = VIRTIO_NET_HDR_GSO_TCPV6 if flags & TX_IPV6 else VIRTIO_NET_HDR_GSO_TCPV4
    store8(header + HDR_FLAGS, VIRTIO_NET_HDR_F_NEEDS_CSUM if wanted else 0)
    store8(header + HDR_GSO_TYPE, kind if segmented else VIRTIO_NET_HDR_GSO_NONE)
    store16(header + HDR_HDR_LEN, before + ((lengths & L4_MASK) >> L4_SHIFT) if segmented else 0)
    store16(header + HDR_GSO_SIZE, (lengths & SEGSZ_MASK) >> SEGSZ_SHIFT if segmented else 0)
    store16(header + HDR_CSUM_START, before if wanted else 0)
    offset = UDP_CHECKSUM if layer4 == TX_UDP_CKSUM else TCP_CHECKSUM
    store16(header + HDR_CSUM_OFFSET, offset if wanted else 0)
    if size == HDR_MRG_SIZE:
        store16(header + HDR_NUM_BUFFERS, 0)
    return 1
