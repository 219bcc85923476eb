# SPDX-License-Identifier: BSD-3-Clause
"""The back end's side of a split ring: what is available, where a chain's pieces lie, how the front end is called.

Everything the front end wrote is read once, through a verb, into a local, and checked before it is used. What does not
hold breaks the queue: `break_queue` notes what and where, and the queue's callback does nothing more until the control
plane has healed it. Nothing here raises.
"""

from __future__ import annotations

from pollmode.eal.jit import (
    compiled,
    copy,
    delta16,
    fence,
    inlined,
    load64,
    load_acquire16,
    load_relaxed16,
    load_relaxed64,
    record,
    store64,
    store_release16,
    write_eventfd,
)
from pollmode.vhost.memory import (
    ACCESS_READ,
    REGION_DELTA,
    REGION_LENGTH,
    REGION_START,
    REGIONS_ACCESS,
    REGIONS_HIT,
    REGIONS_TABLE,
    find,
    locate,
    reach,
)
from pollmode.vhost.virtqueue import (
    AVAIL_ELEM_SIZE,
    AVAIL_FLAGS,
    AVAIL_IDX,
    AVAIL_RING,
    DESC_LEN,
    INDEX_MASK,
    USED_ELEM_SIZE,
    USED_IDX,
    VRING_AVAIL_F_NO_INTERRUPT,
    VRING_DESC_F_INDIRECT,
    VRING_DESC_F_NEXT,
    VRING_DESC_F_WRITE,
    VRING_DESC_SIZE,
)

from .layout import (
    BROADCAST_BITS,
    FAULT_ADDRESS,
    FAULT_AVAIL_INDEX,
    FAULT_DIRECTION,
    FAULT_INDIRECT,
    FAULT_INDIRECT_ADDRESS,
    FAULT_INDIRECT_LENGTH,
    FAULT_LOOP,
    FAULT_NEXT,
    FAULT_NONE,
    FAULT_PERMISSION,
    FAULT_PIECES,
    QUEUE,
    QUEUE_SIZES,
    VECTOR_ADDRESS,
    VECTOR_LENGTH,
    VECTOR_SIZE,
    WAITING,
)
from .log import log_buffer, log_entries, log_head

# The second word of a descriptor holds length, flags and next: one load reads all three (virtio 1.2, 2.7.5).
LENGTH_MASK = 0xFFFFFFFF
FLAGS_SHIFT = 32
NEXT_SHIFT = 48
KIND_MASK = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT


@compiled
def break_queue(queue: int, code: int, index: int, word: int) -> None:
    """Mark the queue broken by `code` (FAULT_*). The first fault stays."""
    q = record(queue, QUEUE)
    if q.halt == FAULT_NONE:
        q.halt_index = index
        q.halt_word = word
        q.faults += 1
        q.halt = code


@inlined
def enter(queue: int) -> int:
    """Begin a burst: return how many available entries wait, -1 when the queue is broken or waits.

    An index that moved by more than the ring holds breaks the queue: nothing waits.
    """
    q = record(queue, QUEUE)
    if q.halt != FAULT_NONE:
        return -1
    index = load_acquire16(q.avail + AVAIL_IDX)
    waiting = delta16(index, q.next)
    if waiting > q.num:
        break_queue(queue, FAULT_AVAIL_INDEX, q.next, index)
        return 0
    return waiting


@compiled
def refuse(queue: int, code: int, index: int, address: int, access: int) -> None:
    """Stop at an address that is not translated for `access`.

    Without an IOMMU that breaks the queue. Behind one the queue waits until the front end has told the translation; it
    breaks when there is one that does not allow the access, or when nothing is missing but the pieces lie apart.
    """
    q = record(queue, QUEUE)
    table = load64(q.regions + REGIONS_TABLE)
    if q.miss_fd < 0 or address < 0 or find(table, address, access) != 0:
        break_queue(queue, code, index, address)
        return
    q.miss_access = access
    if find(table, address, 0) != 0:
        break_queue(queue, FAULT_PERMISSION, index, address)
    else:
        q.halt_index = index
        q.halt_word = address
        q.misses += 1
        q.halt = WAITING
    write_eventfd(q.miss_fd)


@compiled
def add_pieces(queue: int, filled: int, index: int, address: int, length: int) -> int:
    """Append a buffer's pieces in our address space to the vector; return its new length, -1 on a fault.

    A buffer that runs from one region into the next is cut there, each piece at its own address (CVE-2018-1059: the
    regions need not follow each other in our address space). An empty buffer has no piece, wherever it points.
    """
    q = record(queue, QUEUE)
    regions = q.regions
    while length > 0:
        run = min(length, reach(regions, address))
        if run == 0:
            refuse(queue, FAULT_ADDRESS, index, address, load64(regions + REGIONS_ACCESS))
            return -1
        if filled >= q.vector_size:
            break_queue(queue, FAULT_PIECES, index, filled)
            return -1
        piece = q.vector + VECTOR_SIZE * filled
        store64(piece + VECTOR_ADDRESS, address + load64(regions + REGIONS_HIT + REGION_DELTA))
        store64(piece + VECTOR_LENGTH, run)
        filled += 1
        address += run
        length -= run
    return filled


@compiled
def indirect_table(queue: int, index: int, address: int, word: int) -> int:
    """Return the host address of an indirect descriptor's table, 0 on a fault (virtio 1.2, 2.7.5.3)."""
    q = record(queue, QUEUE)
    length = word & LENGTH_MASK
    if (word >> FLAGS_SHIFT) & VRING_DESC_F_NEXT:
        break_queue(queue, FAULT_INDIRECT, index, word)
        return 0
    if length == 0 or length % VRING_DESC_SIZE != 0 or length // VRING_DESC_SIZE > q.num:
        break_queue(queue, FAULT_INDIRECT_LENGTH, index, length)
        return 0
    table = locate(q.regions, address, length, ACCESS_READ)
    if table == 0:
        known = find(load64(q.regions + REGIONS_TABLE), address, ACCESS_READ)
        missing = address if known == 0 else load64(known + REGION_START) + load64(known + REGION_LENGTH)
        refuse(queue, FAULT_INDIRECT_ADDRESS, index, missing, ACCESS_READ)
    return table


@compiled
def gather(queue: int, head: int, filled: int, writable: int) -> int:
    """Append the pieces of the chain at descriptor `head` to the vector; return its new length, -1 on a fault.

    `head` is inside the table. Every buffer must be device-writable (`writable` = VRING_DESC_F_WRITE) or none (0).
    Plain descriptors may lead to an indirect one at the end of the chain (virtio 1.2, 2.7.5.3.2); its length is read
    once. A chain is not followed further than its table has entries.
    """
    q = record(queue, QUEUE)
    table = q.desc
    count = q.num
    left = count
    indirect = 0
    index = head
    while True:
        address = load_relaxed64(table + VRING_DESC_SIZE * index)
        word = load_relaxed64(table + VRING_DESC_SIZE * index + DESC_LEN)
        flags = (word >> FLAGS_SHIFT) & KIND_MASK
        if flags & VRING_DESC_F_INDIRECT:
            if indirect:
                break_queue(queue, FAULT_INDIRECT, index, word)
                return -1
            table = indirect_table(queue, index, address, word)
            if table == 0:
                return -1
            count = left = (word & LENGTH_MASK) // VRING_DESC_SIZE
            indirect = 1
            index = 0
            continue
        if (flags & VRING_DESC_F_WRITE) != writable:
            break_queue(queue, FAULT_DIRECTION, index, word)
            return -1
        filled = add_pieces(queue, filled, index, address, word & LENGTH_MASK)
        if filled < 0 or flags & VRING_DESC_F_NEXT == 0:
            return filled
        index = (word >> NEXT_SHIFT) & INDEX_MASK
        left -= 1
        if index >= count or left == 0:
            break_queue(queue, FAULT_NEXT if index >= count else FAULT_LOOP, index, word)
            return -1


@compiled
def pieces_size(vector: int, begin: int, end: int) -> int:
    """Return the bytes that the pieces from `begin` up to `end` hold."""
    size = 0
    for index in range(begin, end):
        size += load64(vector + VECTOR_SIZE * index + VECTOR_LENGTH)
    return size


@inlined
def pass_over(vector: int, run: int) -> int:
    """Cut `run` bytes off the piece at `vector`, which has as many; return the piece that is next."""
    store64(vector + VECTOR_ADDRESS, load64(vector + VECTOR_ADDRESS) + run)
    left = load64(vector + VECTOR_LENGTH) - run
    store64(vector + VECTOR_LENGTH, left)
    return vector + VECTOR_SIZE if left == 0 else vector


@compiled
def skip_pieces(vector: int, count: int) -> int:
    """Pass over `count` bytes of the pieces at `vector`, which hold as many; return the piece that is next."""
    while count > 0:
        run = min(count, load64(vector + VECTOR_LENGTH))
        vector = pass_over(vector, run)
        count -= run
    return vector


@compiled
def read_pieces(vector: int, address: int, count: int) -> int:
    """Copy `count` bytes out of the pieces at `vector`, which hold as many; return the piece that is next."""
    while count > 0:
        run = min(count, load64(vector + VECTOR_LENGTH))
        copy(address, load64(vector + VECTOR_ADDRESS), run)
        vector = pass_over(vector, run)
        address += run
        count -= run
    return vector


@compiled
def write_pieces(queue: int, vector: int, address: int, count: int, logged: int) -> int:
    """Copy `count` bytes into the pieces at `vector`, which hold as many; return the piece that is next."""
    while count > 0:
        run = min(count, load64(vector + VECTOR_LENGTH))
        copy(load64(vector + VECTOR_ADDRESS), address, run)
        if logged:
            log_buffer(queue, load64(vector + VECTOR_ADDRESS), run)
        vector = pass_over(vector, run)
        address += run
        count -= run
    return vector


@inlined
def return_entry(used: int, slot: int, element: int) -> None:
    """Put an element (descriptor, and above bit 32 the length) into the used ring, whose entries begin at `used`.

    A front end that takes its descriptors in turn finds there what stood there a round ago; not written again, the
    line stays in its core's cache.
    """
    at = used + USED_ELEM_SIZE * slot
    if load_relaxed64(at) != element:
        store64(at, element)


@inlined
def publish(queue: int, taken: int, logged: int) -> None:
    """Give `taken` used entries, written already, to the front end, and call it when it wants to be called.

    With `logged` what was written is marked: the entries before the index says that they are there.

    The fence stands between our index and the front end's wish (virtio 1.2, 2.7.7.2 and 2.7.13.3): one of both sides
    sees what the other wrote.
    """
    q = record(queue, QUEUE)
    old = q.next
    new = (old + taken) & INDEX_MASK
    q.next = new
    avail = q.avail
    if logged:
        log_entries(queue, old, taken)
    store_release16(q.used + USED_IDX, new)
    if logged:
        log_head(queue)
    if q.call_fd >= 0:
        fence()
        if q.event_idx:
            event = load_relaxed16(avail + AVAIL_RING + AVAIL_ELEM_SIZE * q.num)
            wanted = delta16(new, event + 1) < delta16(new, old)
        else:
            wanted = (load_relaxed16(avail + AVAIL_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT) == 0
        if wanted:
            write_eventfd(q.call_fd)
            q.calls += 1


@compiled
def count_sizes(queue: int, length: int, packets: int) -> None:
    """Count packets of one length into their bin."""
    index = 0
    for floor in (64, 65, 128, 256, 512, 1024, 1519):
        if length >= floor:
            index += 1
    place = queue + QUEUE_SIZES + 8 * index
    store64(place, load64(place) + packets)


@compiled
def count_group(queue: int, first: int) -> None:
    """Count a packet whose address has the group bit; `first` is its first eight bytes."""
    q = record(queue, QUEUE)
    if first & BROADCAST_BITS == BROADCAST_BITS:
        q.broadcast += 1
    else:
        q.multicast += 1


@inlined
def account(queue: int, length: int, first: int, alike: int, run: int) -> tuple[int, int]:
    """Count a packet of `length` bytes that begins with `first`, after `run` packets of `alike` bytes.

    Packets of one length in a row are counted at once: returns the new length and run.
    """
    if first & 1:
        count_group(queue, first)
    if length == alike:
        return alike, run + 1
    if run > 0:
        count_sizes(queue, alike, run)
    return length, 1
