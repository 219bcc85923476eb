# SPDX-License-Identifier: BSD-3-Clause
"""The transmit callback, made for what was negotiated.

The common packet is one segment, owned by nobody else, with room for the virtio-net header before its data: it is one
descriptor, and its mbuf is known to be free again the moment the device returns it. That is noted by its cookie being
the bare address; reclaiming such packets is one put of a whole burst into their pool, without a look at an mbuf. Every
other packet (chains, shared or indirect mbufs, another pool) has a tagged cookie and takes the general way.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    inlined,
    load16,
    load32,
    load64,
    load_relaxed32,
    prefetch_write,
    record,
    store16,
    store32,
    store64,
    view,
)
from pollmode.mbuf import mbuf_data, mbuf_headroom, mbuf_prepend, pool_put_bulk
from pollmode.mbuf.layout import (
    ATTACHED,
    HEADROOM,
    MBUF_BUF_ADDR,
    MBUF_DATA_LEN,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_POOL,
    MBUF_REARM,
    MBUF_REFCNT,
    MBUF_SIZE,
    MBUF_VLAN_TCI,
    REARM_ONE_OWNER,
    REARM_OWNERS_MASK,
    TX_L4_MASK,
    TX_TCP_SEG,
    TX_VLAN,
)
from pollmode.net.vlan import VLAN_SIZE, insert_vlan
from pollmode.vhost.virtqueue import (
    AVAIL_RING,
    DESC_LEN,
    HDR_MRG_SIZE,
    INDEX_MASK,
    USED_ELEM_SIZE,
    USED_RING,
    VRING_DESC_F_INDIRECT,
    VRING_DESC_F_NEXT,
    VRING_DESC_SIZE,
)

from .layout import (
    FAULT_ID,
    FAULT_NOT_OUT,
    LINK_END,
    MAX_BURST,
    MIN_FRAME,
    TAG,
    TX_SLOT_SIZE,
    TX_SLOT_TABLE,
    TX_TABLE,
    VIRTQUEUE,
)
from .offload import clear_header, write_header
from .ring import (
    FLAGS_SHIFT,
    I8,
    NEXT_SHIFT,
    break_queue,
    count_packets,
    free_packet,
    is_broadcast,
    is_group,
    offer,
    publish,
    used_waiting,
)

OFFSET_MASK = 0xFFFF
CHECKSUM_FLAGS = TX_L4_MASK | TX_TCP_SEG
AHEAD = 4  # packets between the prefetch of a header's line and its use
DROPPED = -1


@compiled
def free_tagged(lcore: int, queue: int, identity: int, cookie: int, tail: int) -> int:
    """Free the packet of a tagged cookie and put all its descriptors at `tail` of the free ones; returns how many."""
    q = record(queue, VIRTQUEUE)
    free_packet(lcore, cookie & ~TAG)
    count = 0
    while identity != LINK_END:
        store16(q.ids + 2 * ((tail + count) & q.mask), identity)
        identity = load16(q.links + 2 * identity)
        count += 1
    return count


@compiled
def reclaim(lcore: int, queue: int, count: int) -> int:
    """Take back the packets of `count` used entries; returns how many there were.

    Entries are checked against the shadow; their length means nothing to a transmitter.
    """
    q = record(queue, VIRTQUEUE)
    mask = q.mask
    entries = q.used + USED_RING
    position = q.used_idx
    shadow = view(q.shadow, mask + 1, I8)
    ids = q.ids
    tail = q.free_head + q.free
    scratch = q.scratch
    passed = untagged = given = 0
    while passed < count:
        identity = load_relaxed32(entries + USED_ELEM_SIZE * ((position + passed) & mask))
        cookie = shadow[identity & mask]
        if (identity > mask) | (cookie == 0):
            break_queue(queue, FAULT_ID if identity > mask else FAULT_NOT_OUT, (position + passed) & mask, identity)
            break
        shadow[identity] = 0
        passed += 1
        if cookie & TAG:
            given += free_tagged(lcore, queue, identity, cookie, tail + given)
        else:
            store64(scratch + 8 * untagged, cookie)
            untagged += 1
            store16(ids + 2 * ((tail + given) & mask), identity)
            given += 1
    q.used_idx = (position + passed) & INDEX_MASK
    q.free += given
    if untagged > 0:
        q.untagged -= untagged
        pool_put_bulk(lcore, q.pool, scratch, untagged)
    return passed


@compiled
def give_back_unsent(lcore: int, queue: int) -> int:
    """Free every packet of a silent transmit ring; returns how many."""
    q = record(queue, VIRTQUEUE)
    shadow = view(q.shadow, q.mask + 1, I8)
    count = 0
    for identity in range(q.mask + 1):
        if shadow[identity] != 0:
            free_packet(lcore, shadow[identity] & ~TAG)
            shadow[identity] = 0
            count += 1
    return count


@compiled
def count_pieces(m: int) -> int:
    """Return how many segments of a packet hold something."""
    pieces = 0
    while m != 0:
        pieces += load16(m + MBUF_DATA_LEN) != 0
        m = load64(m + MBUF_NEXT)
    return pieces


@compiled
def put_tag_in(m: int) -> int:
    """Insert the VLAN tag an mbuf asks for (RTE_ETH_TX_OFFLOAD_VLAN_INSERT); returns 0 when the packet has no room."""
    flags = load64(m + MBUF_OL_FLAGS)
    shared = load16(m + MBUF_REFCNT) != 1 or flags & ATTACHED != 0
    if shared or mbuf_headroom(m) < VLAN_SIZE or load16(m + MBUF_DATA_LEN) < MIN_FRAME:
        return 0
    insert_vlan(mbuf_data(m), load16(m + MBUF_VLAN_TCI))
    mbuf_prepend(m, VLAN_SIZE)
    store64(m + MBUF_OL_FLAGS, flags & ~TX_VLAN)
    return 1


@inlined
def write_piece(queue: int, table: int, index: int, pieces: int, address: int, length: int) -> None:
    """Write descriptor `index` of a chain of `pieces`: into the indirect table, or the ring when `table` is 0.

    In the ring the chain goes along the circle of free descriptors, and `links` notes it for the reclaim.
    """
    q = record(queue, VIRTQUEUE)
    place, following = index, index + 1
    if table == 0:
        place = load16(q.ids + 2 * ((q.free_head + index) & q.mask))
        following = load16(q.ids + 2 * ((q.free_head + index + 1) & q.mask))
    more = index + 1 < pieces
    at = (q.desc if table == 0 else table) + VRING_DESC_SIZE * place
    store64(at, address)
    store64(at + DESC_LEN, length | ((VRING_DESC_F_NEXT << FLAGS_SHIFT | following << NEXT_SHIFT) if more else 0))
    if table == 0:
        store16(q.links + 2 * place, following if more else LINK_END)


@compiled
def write_chain(queue: int, m: int, table: int, pieces: int, own: int, header: int) -> int:
    """Write the descriptors of a packet: its header at `own`, or before its data when `own` is 0, then each segment
    that holds something. Returns how many.
    """
    index = 0
    pushed = header
    if own != 0:
        write_piece(queue, table, 0, pieces, own, header)
        index = 1
        pushed = 0
    while m != 0:
        held = load16(m + MBUF_DATA_LEN)
        if held != 0:
            write_piece(queue, table, index, pieces, mbuf_data(m) - pushed, held + pushed)
            pushed = 0
            index += 1
        m = load64(m + MBUF_NEXT)
    return index


@compiled
def cookie_of(queue: int, m: int) -> int:
    """Return the cookie of a packet in one descriptor: bare when it can go back to the queue's pool unseen.

    The queue takes over the pool of such a packet when it waits for no other.
    """
    q = record(queue, VIRTQUEUE)
    special = (load64(m + MBUF_REARM) ^ REARM_ONE_OWNER) & REARM_OWNERS_MASK
    if special | (load64(m + MBUF_OL_FLAGS) & ATTACHED) != 0:
        return m | TAG
    if q.untagged == 0:
        q.pool = load64(m + MBUF_POOL)
    if load64(m + MBUF_POOL) != q.pool:
        return m | TAG
    q.untagged += 1
    return m


@compiled
def refuse(lcore: int, queue: int, m: int, pieces: int, needed: int) -> int:
    """Free a packet that can never be sent, and count why; returns DROPPED."""
    q = record(queue, VIRTQUEUE)
    if pieces == 0:
        q.empty += 1
    elif needed > q.mask + 1:
        q.scattered += 1
    else:
        q.untaggable += 1
    free_packet(lcore, m)
    return DROPPED


@compiled
def send_special(
    lcore: int, queue: int, m: int, position: int, header: int, offload: bool, indirect: bool, any_layout: bool
) -> int:
    """Put any packet into the ring; returns 1, 0 when there is no room, DROPPED when it can never be sent (and is
    freed). `position` is the available entry it gets.
    """
    q = record(queue, VIRTQUEUE)
    flags = load64(m + MBUF_OL_FLAGS)
    pieces = count_pieces(m)
    own_buffer = load16(m + MBUF_REFCNT) == 1 and flags & ATTACHED == 0
    push = any_layout and own_buffer and mbuf_headroom(m) >= header and load16(m + MBUF_DATA_LEN) != 0
    total = pieces + (0 if push else 1)
    wrapped = indirect and 1 < total <= TX_TABLE
    needed = 1 if wrapped else total
    if needed > q.free and needed <= q.mask + 1:
        reclaim(lcore, queue, used_waiting(queue))
        if needed > q.free:
            return 0
    if pieces == 0 or needed > q.mask + 1 or (flags & TX_VLAN and put_tag_in(m) == 0):
        return refuse(lcore, queue, m, pieces, needed)
    identity = load16(q.ids + 2 * (q.free_head & q.mask))
    slot = q.slots + TX_SLOT_SIZE * identity
    at = mbuf_data(m) - header if push else slot
    if offload and flags & CHECKSUM_FLAGS:
        write_header(at, header, m)
    else:
        clear_header(at, header)
    write_chain(queue, m, slot + TX_SLOT_TABLE if wrapped else 0, total, 0 if push else slot, header)
    if wrapped:
        entry = q.desc + VRING_DESC_SIZE * identity
        store64(entry, slot + TX_SLOT_TABLE)
        store64(entry + DESC_LEN, VRING_DESC_SIZE * total | VRING_DESC_F_INDIRECT << FLAGS_SHIFT)
        store16(q.links + 2 * identity, LINK_END)
    view(q.shadow, q.mask + 1, I8)[identity] = cookie_of(queue, m) if needed == 1 else m | TAG
    offer(q.avail + AVAIL_RING, q.mask, position, identity)
    q.free_head = (q.free_head + needed) & q.mask
    q.free -= needed
    return 1


@inlined
def is_plain(m: int, rearm: int, flags: int, held: int, pool: int, header: int) -> bool:
    """Tell whether a packet is the common one: one segment of one owner, of the queue's pool, with enough headroom."""
    owned = ((rearm ^ REARM_ONE_OWNER) & REARM_OWNERS_MASK == 0) & (flags & (ATTACHED | TX_VLAN) == 0)
    return owned & (rearm & OFFSET_MASK >= header) & (load64(m + MBUF_POOL) == pool) & (held >= MIN_FRAME)


@inlined
def write_plain(desc: int, identity: int, m: int, data: int, held: int, header: int, asks: bool) -> None:
    """Write the header before a common packet's data, and its one descriptor."""
    if asks:
        write_header(data - header, header, m)
    else:
        clear_header(data - header, header)
    store64(desc + VRING_DESC_SIZE * identity, data - header)
    store64(desc + VRING_DESC_SIZE * identity + DESC_LEN, held + header)


@inlined
def send(
    lcore: int, queue: int, burst: int, n: int, header: int, offload: bool, indirect: bool, any_layout: bool
) -> int:
    """Put packets into the ring until it is full, and publish them; returns how many are no longer the caller's.

    The last four are constants.
    """
    q = record(queue, VIRTQUEUE)
    mask, desc, ids, lengths = q.mask, q.desc, q.ids, q.lengths
    entries = q.avail + AVAIL_RING
    shadow = view(q.shadow, mask + 1, I8)
    position = q.avail_idx
    free, head, pool = q.free, q.free_head, q.pool
    sent = placed = untagged = group = broadcast = 0
    while sent < n:
        m = load64(burst + 8 * sent)
        if sent + AHEAD < n:
            prefetch_write(load64(burst + 8 * (sent + AHEAD)) + MBUF_SIZE + HEADROOM - header)
        rearm, flags, held = load64(m + MBUF_REARM), load64(m + MBUF_OL_FLAGS), load16(m + MBUF_DATA_LEN)
        data = load64(m + MBUF_BUF_ADDR) + (rearm & OFFSET_MASK)
        if any_layout and free > 0 and is_plain(m, rearm, flags, held, pool, header):
            identity = load16(ids + 2 * (head & mask))
            write_plain(desc, identity, m, data, held, header, offload and flags & CHECKSUM_FLAGS != 0)
            shadow[identity] = m
            offer(entries, mask, position + placed, identity)
            head, free, untagged = head + 1, free - 1, untagged + 1
        else:
            q.free, q.free_head, q.untagged = free, head & mask, q.untagged + untagged
            outcome = send_special(lcore, queue, m, position + placed, header, offload, indirect, any_layout)
            free, head, pool, untagged = q.free, q.free_head, q.pool, 0
            if outcome == 0:
                break
            if outcome == DROPPED:
                sent += 1
                continue
        if held >= MIN_FRAME and is_group(data):
            group += 1
            broadcast += is_broadcast(data)
        store32(lengths + 4 * placed, load32(m + MBUF_PKT_LEN))
        placed += 1
        sent += 1
    q.free, q.free_head, q.untagged = free, head & mask, q.untagged + untagged
    if placed > 0:
        count_packets(queue, lengths, placed, group, broadcast)
        publish(queue, placed)
    return sent


def make_tx(header: int, offload: bool, indirect: bool, any_layout: bool) -> Callback:
    """Return the transmit callback for these features.

    `header`: bytes of the virtio-net header, 10 or 12; `offload`: CSUM or HOST_TSO was negotiated, so packets may ask
    for something; `indirect`: RING_INDIRECT_DESC was; `any_layout`: VERSION_1 or ANY_LAYOUT was, so the header may
    stand in one descriptor with the data.
    """

    def virtio_tx_split(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, VIRTQUEUE)
        if q.broken != 0:
            return 0
        waiting = used_waiting(queue)
        if waiting >= q.threshold or (waiting > 0 and q.free < n):
            reclaim(lcore, queue, waiting)
        if q.broken != 0:
            return 0
        return send(lcore, queue, burst, min(n, MAX_BURST), header, offload, indirect, any_layout)

    return burst_callback(virtio_tx_split, tx_name(header, offload, indirect, any_layout))


def tx_name(header: int, offload: bool, indirect: bool, any_layout: bool) -> str:
    """Return the name of a variant, as logs and perf show it."""
    name = "virtio_tx_split" if header == HDR_MRG_SIZE else "virtio_tx_split_legacy"
    name += ("" if any_layout else "_apart") + ("_offload" if offload else "")
    return name + ("_indirect" if indirect else "")
