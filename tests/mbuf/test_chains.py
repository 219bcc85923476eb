# SPDX-License-Identifier: BSD-3-Clause
"""Packets of several segments: put together, cloned, copied, made one again."""

from __future__ import annotations

import pytest
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore, assert_all_home, content, header, packet

from pollmode.eal.memory import Memory
from pollmode.mbuf import INDIRECT, RX_RSS_HASH, Mempool, create_pool, mbuf_clone, mbuf_copy, mbuf_linearize

DESCRIBING = {"port": 7, "packet_type": 0x91, "vlan_tci": 5, "vlan_tci_outer": 6, "hash_rss": 0xABCD, "hash_fdir": 9}


def describe(m: int) -> None:
    record = header(m)
    for field, value in DESCRIBING.items():
        record[field] = value
    record["ol_flags"], record["tx_offload"] = RX_RSS_HASH, 0x1234


def assert_described(m: int, more_flags: int = 0) -> None:
    record = header(m)
    assert {field: int(record[field]) for field in DESCRIBING} == DESCRIBING
    assert record["ol_flags"] == RX_RSS_HASH | more_flags
    assert record["tx_offload"] == 0x1234


def test_a_chain_counts_in_its_first_mbuf(mbufs: Mempool, worker: Lcore) -> None:
    head, tail = packet(worker, mbufs, b"one", b"two"), packet(worker, mbufs, b"three", b"four")
    assert verbs.chain(head, tail) == 1
    assert content(head) == [b"one", b"two", b"three", b"four"]
    assert header(head)["nb_segs"] == 4
    assert header(head)["pkt_len"] == 15
    assert header(tail)["nb_segs"] == 1
    assert header(tail)["pkt_len"] == 5
    assert content(verbs.room(head, 4)) == [b"four"]
    verbs.free(worker.address, head)


def test_too_many_segments_are_refused(mbufs: Mempool, worker: Lcore) -> None:
    head, tail = packet(worker, mbufs, b"one"), packet(worker, mbufs, b"two")
    header(head)["nb_segs"] = 0xFFFF
    assert verbs.chain(head, tail) == 0
    assert content(head) == [b"one"]
    header(head)["nb_segs"] = 1
    verbs.free(worker.address, head)
    verbs.free(worker.address, tail)


def test_a_clone_shows_the_same_bytes_without_copying(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    describe(m)
    clone = mbuf_clone(worker.address, m, others.address)
    assert content(clone) == content(m)
    assert_described(clone, INDIRECT)
    assert header(clone)["nb_segs"] == 3
    assert header(clone)["pkt_len"] == 11
    assert header(clone)["buf_addr"] == header(m)["buf_addr"]
    assert verbs.room(clone, 2) == verbs.room(m, 2)
    assert others.audit().out == 3
    verbs.free(worker.address, clone)
    assert others.audit().out == 0
    assert content(m) == [b"one", b"two", b"three"]
    verbs.free(worker.address, m)


def test_an_mbuf_without_data_room_can_be_a_clone(memory: Memory, mbufs: Mempool, worker: Lcore) -> None:
    heads = create_pool(memory, "heads", 8, data_room=0)
    m = packet(worker, mbufs, b"payload")
    clone = mbuf_clone(worker.address, m, heads.address)
    verbs.free(worker.address, m)
    assert content(clone) == [b"payload"]
    verbs.free(worker.address, clone)
    assert_all_home(heads)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_clone_that_does_not_fit_its_pool_keeps_nothing(mbufs: Mempool, worker: Lcore, left: int) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    rest = mbufs.in_use()
    held = 64 - rest - left
    assert verbs.alloc_bulk(worker.address, mbufs.address, worker.array, held) == held
    assert mbuf_clone(worker.address, m, mbufs.address) == 0
    assert mbufs.in_use() == 64 - left
    assert header(m)["refcnt"] == 1
    verbs.free_bulk(worker.address, worker.array, held)
    verbs.free(worker.address, m)


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (0, 1 << 40), (2, 6), (3, 3), (10, 1), (11, 5), (0, 0)])
def test_a_copy_has_bytes_of_its_own(mbufs: Mempool, others: Mempool, worker: Lcore, offset: int, length: int) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    describe(m)
    copy = mbuf_copy(worker.address, m, others.address, offset, length)
    assert content(copy) == [b"onetwothree"[offset : offset + length]]
    assert_described(copy)
    verbs.free(worker.address, m)
    assert content(copy) == [b"onetwothree"[offset : offset + length]]
    verbs.free(worker.address, copy)


def test_a_copy_of_an_indirect_packet_is_direct(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"payload")
    clone = mbuf_clone(worker.address, m, mbufs.address)
    copy = mbuf_copy(worker.address, clone, others.address, 0, 100)
    assert header(copy)["ol_flags"] & INDIRECT == 0
    for each in (m, clone, copy):
        verbs.free(worker.address, each)


def test_a_long_copy_takes_as_many_segments_as_it_needs(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    text = bytes(range(250))
    m = packet(worker, mbufs, text, text[:7])
    copy = mbuf_copy(worker.address, m, others.address, 0, 1000)  # 100 bytes a segment
    assert content(copy) == [text[:100], text[100:200], text[200:] + text[:7]]
    assert header(copy)["nb_segs"] == 3
    assert header(copy)["pkt_len"] == 257
    verbs.free(worker.address, copy)
    verbs.free(worker.address, m)


@pytest.mark.parametrize(("offset", "length"), [(12, 1), (-1, 1), (0, -1)])
def test_a_copy_from_outside_is_refused(mbufs: Mempool, worker: Lcore, offset: int, length: int) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    assert mbuf_copy(worker.address, m, mbufs.address, offset, length) == 0
    verbs.free(worker.address, m)


def test_a_copy_that_does_not_fit_its_pool_keeps_nothing(memory: Memory, mbufs: Mempool, worker: Lcore) -> None:
    few = create_pool(memory, "few", 2, cache_size=0, data_room=128 + 100)
    none = create_pool(memory, "none", 2, cache_size=0, data_room=128)
    m = packet(worker, mbufs, bytes(250))
    assert mbuf_copy(worker.address, m, few.address, 0, 250) == 0
    assert mbuf_copy(worker.address, m, none.address, 0, 1) == 0
    assert_all_home(few)
    assert_all_home(none)
    verbs.free(worker.address, m)


def test_linearize_moves_everything_into_the_first_segment(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"", b"two", b"three")
    assert mbuf_linearize(worker.address, m) == 1
    assert content(m) == [b"onetwothree"]
    assert header(m)["nb_segs"] == 1
    assert header(m)["pkt_len"] == 11
    assert mbuf_linearize(worker.address, m) == 1
    assert mbufs.audit().out == 1
    verbs.free(worker.address, m)


def test_linearize_without_room_changes_nothing(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, bytes(100), bytes(157))
    assert mbuf_linearize(worker.address, m) == 0
    assert [len(segment) for segment in content(m)] == [100, 157]
    assert verbs.trim(m, 1) == 1
    assert mbuf_linearize(worker.address, m) == 1
    verbs.free(worker.address, m)


def test_linearize_does_not_write_into_a_shared_buffer(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two")
    clone = mbuf_clone(worker.address, m, mbufs.address)
    assert mbuf_linearize(worker.address, m) == 0
    assert mbuf_linearize(worker.address, clone) == 0
    verbs.free(worker.address, m)
    assert content(clone) == [b"one", b"two"]
    verbs.free(worker.address, clone)
