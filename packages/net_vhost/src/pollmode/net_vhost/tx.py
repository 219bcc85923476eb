# SPDX-License-Identifier: BSD-3-Clause
"""Transmit: mbufs copied into the front end's receive ring (DPDK's rte_vhost_enqueue_burst).

One pass over the burst. A packet of one mbuf that fits the one plain descriptor of its buffer is the fast case; chains
of either kind, and packets over several buffers where mergeable, go through `send_chain`. Never is a byte written
beyond a descriptor's length.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    compiled,
    copy,
    inlined,
    load16,
    load32,
    load64,
    load_relaxed16,
    load_relaxed64,
    prefetch_write,
    record,
    store16,
    store32,
    store64,
)
from pollmode.mbuf import mbuf_free_bulk, pool_put_bulk
from pollmode.mbuf.layout import (
    ATTACHED,
    MBUF_BUF_ADDR,
    MBUF_DATA_LEN,
    MBUF_DATA_OFF,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PKT_LEN,
    MBUF_POOL,
    MBUF_REARM,
    REARM_NB_SEGS,
    REARM_ONE_OWNER,
    REARM_OWNERS_MASK,
)
from pollmode.vhost.memory import REGION_DELTA, REGION_LENGTH, REGION_START, REGIONS_HIT
from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_RING,
    DESC_LEN,
    HDR_MRG_SIZE,
    HDR_NUM_BUFFERS,
    HDR_SIZE,
    USED_RING,
    VRING_DESC_F_WRITE,
    VRING_DESC_SIZE,
)

from .layout import (
    CACHE_LINE,
    FAULT_HEAD,
    QUEUE,
    QUEUE_HEADER,
    VARIANT_LEGACY,
    VARIANT_MERGEABLE,
)
from .log import log_buffer
from .ring import (
    FLAGS_SHIFT,
    KIND_MASK,
    LENGTH_MASK,
    account,
    break_queue,
    count_sizes,
    enter,
    gather,
    pieces_size,
    publish,
    return_entry,
    write_pieces,
)

SEGMENTS_MASK = REARM_NB_SEGS.mask
ONE_SEGMENT = REARM_NB_SEGS.put(0, 1)
AHEAD = 4  # packets that the prefetches run ahead
DROPPED = 0  # of send_chain: the packet will never fit; it was dropped
STOP = -1  # of send_chain: the packet must wait for more buffers, or the queue broke


@compiled
def reserve(queue: int, slot: int, waiting: int, size: int, mergeable: int) -> int:
    """Gather buffers from ring entry `slot` on until they hold `size` bytes; return how many, DROPPED or STOP.

    Their used entries are written with the bytes each will hold. What was gathered stands in the queue's vector.
    """
    q = record(queue, QUEUE)
    mask = q.num - 1
    most = waiting if mergeable else 1
    pieces = room = taken = 0
    while room < size and taken < most:
        at = (slot + taken) & mask
        head = load_relaxed16(q.avail + AVAIL_RING + AVAIL_ELEM_SIZE * at)
        if head > mask:
            break_queue(queue, FAULT_HEAD, at, head)
            return STOP
        end = gather(queue, head, pieces, VRING_DESC_F_WRITE)
        if end < 0:
            return STOP
        held = min(pieces_size(q.vector, pieces, end), size - room)
        return_entry(q.used + USED_RING, at, head | held << 32)
        pieces = end
        room += held
        taken += 1
    if room == size:
        return taken
    return DROPPED if (most == 1 and not mergeable) or taken == q.num else STOP


@compiled
def send_chain(queue: int, slot: int, waiting: int, m: int, header: int, mergeable: int, logged: int) -> int:
    """Send packet `m` into the buffers from ring entry `slot` on; return how many it took, DROPPED or STOP."""
    q = record(queue, QUEUE)
    taken = reserve(queue, slot, waiting, load32(m + MBUF_PKT_LEN) + header, mergeable)
    if taken <= 0:
        return taken
    line = queue + QUEUE_HEADER
    store64(line, 0)
    store64(line + 8, 0)
    store16(line + HDR_NUM_BUFFERS, taken)
    vector = write_pieces(queue, q.vector, line, header, logged)
    left = load32(m + MBUF_PKT_LEN)
    segment = m
    while left > 0 and segment != 0:
        data = load64(segment + MBUF_BUF_ADDR) + load16(segment + MBUF_DATA_OFF)
        run = min(left, load16(segment + MBUF_DATA_LEN))
        vector = write_pieces(queue, vector, data, run, logged)
        left -= run
        segment = load64(segment + MBUF_NEXT)
    return taken


@inlined
def prefetch_entry(queue: int, slot: int) -> None:
    """Ask for the lines of a ring slot's buffer, for writing, some packets before they are written.

    The header and the first bytes of data lie in two lines, and when the front end's core read both last, they are
    Shared: a plain store waits for its core to give up each. The address is a guess, as in `rx.prefetch_entry`.
    """
    q = record(queue, QUEUE)
    head = load_relaxed16(q.avail + AVAIL_RING + AVAIL_ELEM_SIZE * slot)
    address = load_relaxed64(q.desc + VRING_DESC_SIZE * (head & (q.num - 1)))
    place = address + load64(q.regions + REGIONS_HIT + REGION_DELTA)
    prefetch_write(place)
    prefetch_write(place + CACHE_LINE)


@inlined
def leave(queue: int, missed: int, alike: int, run: int) -> None:
    """Count the last run of packets of one length and those handed back."""
    if run > 0:
        count_sizes(queue, alike, run)
    record(queue, QUEUE).missed += missed


@inlined
def rest(queue: int, waiting: int, n: int) -> int:
    """End a burst of `n` packets that sends none: there is no buffer (`waiting` 0), or the queue is broken (-1)."""
    if waiting >= 0:
        leave(queue, n, 0, 0)
    return 0


@inlined
def write_header(place: int, header: int) -> None:
    """Write the virtio-net header of a packet in one buffer: no offload, num_buffers 1 (virtio 1.2, 5.1.6.4.1)."""
    store64(place, 0)
    if header == HDR_MRG_SIZE:
        store32(place + 8, 1 << 16)
    else:
        store16(place + 8, 0)


@inlined
def finish(
    lcore: int,
    queue: int,
    burst: int,
    pool: int,
    shared: int,
    done: int,
    dropped: int,
    taken: int,
    total: int,
    logged: int,
) -> None:
    """Publish what was taken and free what was sent: at once when all mbufs are whole, single and of `pool`."""
    q = record(queue, QUEUE)
    if taken > 0:
        publish(queue, taken, logged)
    if shared == 0:
        pool_put_bulk(lcore, pool, burst, done)
    else:
        mbuf_free_bulk(lcore, burst, done)
    q.packets += done - dropped
    q.unfit += dropped
    q.bytes += total


def make_tx(variant: int, logged: int) -> Callback:
    """Return the transmit callback of the rings of one VARIANT_*: DPDK's eth_vhost_tx for it.

    With `logged` (1) what it writes to the guest's memory is marked in the front end's log.
    """
    header = HDR_SIZE if variant == VARIANT_LEGACY else HDR_MRG_SIZE
    mergeable = int(variant == VARIANT_MERGEABLE)

    def tx(lcore: int, queue: int, burst: int, n: int) -> int:
        waiting = enter(queue)
        if waiting <= 0 or n <= 0:
            return rest(queue, waiting, n)
        q = record(queue, QUEUE)
        desc, mask, begin = q.desc, q.num - 1, q.next
        avail, used = q.avail + AVAIL_RING, q.used + USED_RING
        hit = q.regions + REGIONS_HIT
        start, size, delta = load64(hit + REGION_START), load64(hit + REGION_LENGTH), load64(hit + REGION_DELTA)
        done = taken = dropped = total = alike = run = 0
        pool, shared = load64(load64(burst) + MBUF_POOL), 0
        for ahead in range(min(AHEAD, n)):
            prefetch_entry(queue, (begin + ahead) & mask)
        while done < n and taken < waiting:
            slot = (begin + taken) & mask
            head = load_relaxed16(avail + AVAIL_ELEM_SIZE * slot)
            if head > mask:
                break_queue(queue, FAULT_HEAD, slot, head)
                break
            prefetch_entry(queue, (slot + AHEAD) & mask)
            m = load64(burst + 8 * done)
            rearm = load64(m + MBUF_REARM)
            shared |= ((rearm & REARM_OWNERS_MASK) ^ REARM_ONE_OWNER) | (load64(m + MBUF_POOL) ^ pool)
            shared |= load64(m + MBUF_OL_FLAGS) & ATTACHED
            data = load64(m + MBUF_BUF_ADDR) + (rearm & 0xFFFF)
            length = load16(m + MBUF_DATA_LEN)
            address = load_relaxed64(desc + VRING_DESC_SIZE * head)
            word = load_relaxed64(desc + VRING_DESC_SIZE * head + DESC_LEN)
            offset, held = address - start, word & LENGTH_MASK
            plain = (word >> FLAGS_SHIFT) & KIND_MASK == VRING_DESC_F_WRITE and length + header <= held
            if plain and rearm & SEGMENTS_MASK == ONE_SEGMENT and address >= 0 and 0 <= offset <= size - held:
                write_header(address + delta, header)
                copy(address + delta + header, data, length)
                return_entry(used, slot, head | (length + header) << 32)
                buffers = 1
                if logged:
                    log_buffer(queue, address + delta, length + header)
            else:
                buffers = send_chain(queue, slot, waiting - taken, m, header, mergeable, logged)
                if buffers == STOP:
                    break
                length = load32(m + MBUF_PKT_LEN)
            done += 1
            if buffers == DROPPED:
                dropped += 1
            else:
                taken += buffers
                total += length
                alike, run = account(queue, length, load64(data), alike, run)
        finish(lcore, queue, burst, pool, shared, done, dropped, taken, total, logged)
        leave(queue, n - done, alike, run)
        return done

    name = f"vhost_tx_split_{'mergeable' if mergeable else header}{'_logged' if logged else ''}"
    return burst_callback(tx, name)
