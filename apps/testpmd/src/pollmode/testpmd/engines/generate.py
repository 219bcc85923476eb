# SPDX-License-Identifier: BSD-3-Clause
"""Modes that make packets: txonly and flowgen.

A packet is the stream's template of 64 bytes, of which the first 42 are headers, and whatever the rest of the buffer
holds. One address in it may vary from packet to packet; its checksum follows by RFC 1624.
"""

from __future__ import annotations

from collections.abc import Callable

from pollmode.eal.jit import byteswap32, copy, copy64, inlined, load16, load32, load64, store16, store32, store64
from pollmode.eal.layout import offset_of
from pollmode.mbuf import (
    MBUF_BUF_ADDR,
    MBUF_DATA_LEN,
    MBUF_NB_SEGS,
    MBUF_NEXT,
    MBUF_OL_FLAGS,
    MBUF_PACKET_TYPE,
    MBUF_REARM,
    MEMPOOL_REARM,
    REARM_DATA_OFF,
    pool_get,
    pool_get_bulk,
)
from pollmode.net.checksum import update32
from pollmode.net.ethernet import ETHERNET_SIZE
from pollmode.net.ipv4 import IPV4
from pollmode.testpmd.engines.loop import Receive, Send, Step, add, drop
from pollmode.testpmd.layout import (
    STREAM_CONSUMED,
    STREAM_FLOW,
    STREAM_POOL,
    STREAM_TEMPLATE,
    STREAM_VARY_BASE,
    TEMPLATE_SIZE,
    WORK_BURST,
    WORK_SIZE,
)
from pollmode.testpmd.options import GENERATED_HEADERS

__all__ = ["VARY_DESTINATION", "VARY_SOURCE", "make_flowgen", "make_txonly"]

VARY_SOURCE = ETHERNET_SIZE + offset_of(IPV4, "source")
VARY_DESTINATION = ETHERNET_SIZE + offset_of(IPV4, "destination")
_IP_CHECKSUM = ETHERNET_SIZE + offset_of(IPV4, "checksum")
_DATA_OFF_MASK = REARM_DATA_OFF.mask
_LENGTH_SHIFT = 32  # pkt_len is the upper half of the word at packet_type


@inlined
def _take(lcore: int, pool: int, burst: int, n: int) -> int:
    """Take up to `n` mbufs: all at once, or singly as many as there are."""
    if pool_get_bulk(lcore, pool, burst, n) == n:
        return n
    for i in range(n):
        m = pool_get(lcore, pool)
        if m == 0:
            return i
        store64(burst + 8 * i, m)
    return n


@inlined
def _header(m: int, rearm: int, length: int, total: int) -> None:
    """Write the header of a segment of `length` bytes that starts a packet of `total` bytes."""
    store64(m + MBUF_REARM, rearm)
    store64(m + MBUF_OL_FLAGS, 0)
    store64(m + MBUF_PACKET_TYPE, total << _LENGTH_SHIFT)
    store64(m + MBUF_DATA_LEN, length)  # and no VLAN tag, no hash


def _make_fill(flows: int, vary: int, step: int, roomy: bool) -> Callable[[int, int, int], None]:
    @inlined
    def fill(stream: int, data: int, flow: int) -> None:
        template = load64(stream + STREAM_TEMPLATE)
        if roomy:
            copy64(data, template)
        else:
            copy(data, template, GENERATED_HEADERS)
        if flows > 1:
            word = byteswap32(load64(stream + STREAM_VARY_BASE) + flow * step)
            checksum = update32(load16(template + _IP_CHECKSUM), load32(template + vary), word)
            store32(data + vary, word)
            store16(data + _IP_CHECKSUM, checksum)

    return fill


def _make_singles(length: int, flows: int, vary: int, step: int, roomy: bool) -> Receive:
    fill = _make_fill(flows, vary, step, roomy)

    @inlined
    def generate(lcore: int, work: int, stream: int) -> int:
        pool, burst = load64(stream + STREAM_POOL), load64(work + WORK_BURST)
        rearm = load64(pool + MEMPOOL_REARM)
        data_off = rearm & _DATA_OFF_MASK
        flow = load64(stream + STREAM_FLOW)
        n = _take(lcore, pool, burst, load64(work + WORK_SIZE))
        for i in range(n):
            m = load64(burst + 8 * i)
            _header(m, rearm, length, length)
            fill(stream, load64(m + MBUF_BUF_ADDR) + data_off, flow)
            if flows > 1:
                flow = flow + 1 if flow + 1 < flows else 0
        if flows > 1:
            store64(stream + STREAM_FLOW, flow)
        return n

    return generate


@inlined
def _link(parts: int, lengths: tuple[int, ...], rearm: int, total: int) -> int:
    """Make a packet of the segments whose addresses stand at `parts`; returns the first one."""
    first = load64(parts)
    m = first
    for place in range(len(lengths)):
        following = load64(parts + 8 * place)
        _header(following, rearm, lengths[place], total)
        if place > 0:
            store64(m + MBUF_NEXT, following)
        m = following
    store16(first + MBUF_NB_SEGS, len(lengths))
    return first


def _make_chains(lengths: tuple[int, ...], flows: int, vary: int, step: int, roomy: bool) -> Receive:
    fill = _make_fill(flows, vary, step, roomy)
    segments, total = len(lengths), sum(lengths)

    @inlined
    def generate(lcore: int, work: int, stream: int) -> int:
        pool, burst = load64(stream + STREAM_POOL), load64(work + WORK_BURST)
        rearm = load64(pool + MEMPOOL_REARM)
        data_off = rearm & _DATA_OFF_MASK
        flow = load64(stream + STREAM_FLOW)
        size = load64(work + WORK_SIZE)
        n = 0
        while n < size:
            parts = burst + 8 * n
            if pool_get_bulk(lcore, pool, parts, segments) != segments:
                break
            m = _link(parts, lengths, rearm, total)
            fill(stream, load64(m + MBUF_BUF_ADDR) + data_off, flow)
            if flows > 1:
                flow = flow + 1 if flow + 1 < flows else 0
            store64(burst + 8 * n, m)
            n += 1
        if flows > 1:
            store64(stream + STREAM_FLOW, flow)
        return n

    return generate


def _make_generate(lengths: tuple[int, ...], flows: int, vary: int, step: int, room: int) -> Receive:
    roomy = room >= TEMPLATE_SIZE
    if len(lengths) == 1:
        return _make_singles(lengths[0], flows, vary, step, roomy)
    return _make_chains(lengths, flows, vary, step, roomy)


def make_txonly(send: Send, lengths: tuple[int, ...], flows: int, room: int) -> Step:
    """Return the step that makes a burst of UDP packets and sends it.

    `lengths` are those of a packet's segments, `room` the bytes an mbuf holds; the source address takes `flows` values,
    256 apart as in DPDK.
    """
    generate = _make_generate(lengths, flows, VARY_SOURCE, 256, room)

    @inlined
    def step(lcore: int, work: int, stream: int) -> int:
        n = generate(lcore, work, stream)
        if n != 0:
            send(lcore, work, stream, n)
        return n

    return step


def make_flowgen(receive: Receive, send: Send, lengths: tuple[int, ...], flows: int, room: int) -> Step:
    """Return the step that drops what arrives and sends a burst whose destination addresses go round `flows` values.

    A flow whose packet was not taken is next again.
    """
    generate = _make_generate(lengths, flows, VARY_DESTINATION, 1, room)

    @inlined
    def step(lcore: int, work: int, stream: int) -> int:
        arrived = receive(lcore, work, stream)
        if arrived != 0:
            add(stream + STREAM_CONSUMED, drop(lcore, load64(work + WORK_BURST), arrived))
        n = generate(lcore, work, stream)
        if n != 0:
            missed = n - send(lcore, work, stream, n)
            if flows > 1 and missed != 0:
                store64(stream + STREAM_FLOW, (load64(stream + STREAM_FLOW) - missed) % flows)
        return arrived + n

    return step
