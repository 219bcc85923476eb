# SPDX-License-Identifier: BSD-3-Clause
"""What a host delivers, and what is sent to it, is counted once: good, or dropped for a reason that has a name."""

from __future__ import annotations

from collections.abc import Callable

from net_virtio.rigs import FRAME, RxRig, TxRig

from pollmode.mbuf import Mempool, Packet
from pollmode.mbuf.layout import TX_VLAN
from pollmode.net_virtio.layout import FAULT_LENGTH, FAULT_NUM_BUFFERS
from pollmode.net_virtio.testing import net_header

UNTRUE = net_header(flags=1, csum_start=60000)  # a checksum to complete behind the packet's end


def test_what_a_hostile_host_delivers_adds_up(rx_rig: Callable[..., RxRig]) -> None:
    rig = rx_rig(offload=True)
    for frame, header in ((FRAME, None), (FRAME[:13], None), (FRAME, UNTRUE), (FRAME, None), (b"", None)):
        rig.host.deliver(frame, header)
    assert rig.receive() == [FRAME, FRAME]
    counted = rig.queue.counters()
    assert counted.dropped == {"short_errors": 2, "header_errors": 1, "broken_errors": 0}
    assert counted.packets + counted.errors == 5
    rig.host.deliver(FRAME)
    rig.host.deliver(FRAME, net_header(num_buffers=0))
    rig.host.deliver(FRAME)
    rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]
    assert rig.broken == FAULT_NUM_BUFFERS
    counted = rig.queue.counters()
    assert counted.dropped["broken_errors"] == 3, "the packet and the two behind it"
    assert counted.packets + counted.errors == 9


def test_buffers_of_a_torn_packet_are_one_error(rx_rig: Callable[..., RxRig]) -> None:
    rig = rx_rig()
    first, second = rig.host.take(), rig.host.take()
    rig.host.write(first, net_header(num_buffers=3) + FRAME)
    rig.host.use([(first, 72), (second, 100), (rig.host.take(), 0)])
    assert rig.receive() == []
    assert rig.broken == FAULT_LENGTH
    assert rig.queue.counters().errors > 0


def test_runts_of_a_host_without_mergeable_buffers_are_named(rx_rig: Callable[..., RxRig]) -> None:
    rig = rx_rig(mergeable=False)
    rig.host.deliver(FRAME[:13])
    rig.host.deliver(FRAME)
    assert rig.receive() == [FRAME]
    counted = rig.queue.counters()
    assert (counted.packets, counted.dropped["short_errors"], counted.errors) == (1, 1, 1)


def test_what_is_handed_over_is_sent_or_dropped_for_a_reason(tx_rig: Callable[..., TxRig], pool: Mempool) -> None:
    rig = tx_rig()
    scattered = Packet.alloc(pool, FRAME)
    for _ in range(17):
        scattered.chain(Packet.alloc(pool, b"x"))
    original = Packet.alloc(pool, FRAME)
    shared = original.clone(pool)
    shared.ol_flags |= TX_VLAN
    assert rig.send(Packet.alloc(pool, FRAME), Packet.alloc(pool), scattered, shared, Packet.alloc(pool, FRAME)) == 5
    counted = rig.queue.counters()
    assert counted.dropped == {"empty_errors": 1, "segments_errors": 1, "vlan_errors": 1}
    assert counted.packets + counted.errors == 5
    assert len(rig.host.collect(12)) == 2
    original.free()
