# SPDX-License-Identifier: BSD-3-Clause
"""Receiving what a capture file holds, packet after packet, once or for ever."""

from __future__ import annotations

import functools

from pollmode.eal.jit import (
    Callback,
    burst_callback,
    copy,
    load64,
    prefetch,
    record,
)
from pollmode.eal.layout import offset_of
from pollmode.mbuf import (
    HEADROOM,
    MBUF_BUF_ADDR,
    mbuf_received,
    mbuf_scatter,
    pool_get_bulk,
    pool_get_some,
    pool_put_bulk,
)
from pollmode.net.pcap import PACKET

from .layout import MAX_BURST, RXQ

__all__ = ["make_rx", "make_rx_none"]

PACKET_SIZE = PACKET.itemsize
OFFSET = offset_of(PACKET, "offset")
CAPTURED = offset_of(PACKET, "captured")


@functools.cache
def make_rx(infinite: bool) -> Callback:
    """Return the receive callback; `infinite`: behind the file's last packet comes its first."""

    def pcap_rx(lcore: int, queue: int, burst: int, n: int) -> int:
        q = record(queue, RXQ)
        index = q.next
        wanted = min(n, MAX_BURST) if infinite else min(min(n, MAX_BURST), q.count - index)
        if wanted <= 0:
            return 0
        got = pool_get_bulk(lcore, q.pool, burst, wanted)
        if got == 0:
            got = pool_get_some(lcore, q.pool, burst, wanted)
            q.nombuf += 1 if got < wanted else 0
        packets = total = 0
        while packets < got:
            if infinite and index == q.count:
                index = 0
                q.rounds += 1
            packet = q.packets + PACKET_SIZE * index
            length = load64(packet + CAPTURED)
            source = q.data + load64(packet + OFFSET)
            m = load64(burst + 8 * packets)
            if length <= q.room:
                prefetch(source + length + 256)  # packets lie one behind the other
                copy(load64(m + MBUF_BUF_ADDR) + HEADROOM, source, length)
                mbuf_received(m, q.rearm, length)
            elif mbuf_scatter(lcore, q.pool, m, q.rearm, source, length) == 0:
                q.nombuf += 1
                break
            packets += 1
            index += 1
            total += length
        q.next = index
        if packets < got:
            pool_put_bulk(lcore, q.pool, burst + 8 * packets, got - packets)
        q.received += packets
        q.bytes += total
        return packets

    return burst_callback(pcap_rx, "pcap_rx_infinite" if infinite else "pcap_rx")


@functools.cache
def make_rx_none() -> Callback:
    """Return the receive callback of a queue without a file: never a packet."""

    def pcap_rx_none(lcore: int, queue: int, burst: int, n: int) -> int:
        return 0

    return burst_callback(pcap_rx_none, "pcap_rx_none")
