# SPDX-License-Identifier: BSD-3-Clause
"""Taking mbufs and giving them back: single, in bursts, in chains, shared, indirect, of several pools."""

from __future__ import annotations

import pytest
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore, assert_all_home, content, header, packet

from pollmode.eal.errors import ConfigError
from pollmode.eal.memory import Memory
from pollmode.mbuf import (
    HEADROOM,
    INDIRECT,
    PORT_INVALID,
    TX_IP_CKSUM,
    Mempool,
    create_pool,
    mbuf_clone,
    mbuf_detach,
    mbuf_refcnt_update_all,
    mempool,
)
from pollmode.mbuf.layout import MBUF

FRESH = {"data_off": HEADROOM, "refcnt": 1, "nb_segs": 1, "port": PORT_INVALID, "next": 0} | dict.fromkeys(
    (
        "ol_flags",
        "packet_type",
        "pkt_len",
        "data_len",
        "vlan_tci",
        "hash_rss",
        "vlan_tci_outer",
        "tx_offload",
    ),
    0,
)


def soil(m: int) -> None:
    """Leave traces of a packet's life in an mbuf, as one that was used has them."""
    record = header(m)
    for field in ("ol_flags", "packet_type", "pkt_len", "data_len", "vlan_tci", "hash_rss", "vlan_tci_outer"):
        record[field] = 0x5A
    record["ol_flags"] = TX_IP_CKSUM
    record["tx_offload"], record["port"], record["data_off"] = -1, 3, 7


def test_an_allocated_mbuf_is_an_empty_packet_whatever_it_was_before(mbufs: Mempool, worker: Lcore) -> None:
    for _ in range(2):
        got = [verbs.alloc(worker.address, mbufs.address)]
        assert verbs.alloc_bulk(worker.address, mbufs.address, worker.array, 63) == 63
        got += worker.words[:63].tolist()
        assert len(set(got)) == 64
        for m in got:
            record = header(m)
            assert {field: int(record[field]) for field in FRESH} == FRESH
            assert record["buf_addr"] == record["buf_iova"] == m + 128
            assert record["buf_len"] == 128 + 256
            assert record["pool"] == mbufs.address
            soil(m)
            verbs.free(worker.address, m)


def test_an_empty_pool_gives_nothing(mbufs: Mempool, worker: Lcore) -> None:
    assert verbs.alloc_bulk(worker.address, mbufs.address, worker.array, 64) == 64
    other = Lcore(2)
    assert verbs.alloc(worker.address, mbufs.address) == 0
    assert verbs.alloc_bulk(other.address, mbufs.address, other.array, 1) == 0
    verbs.free_bulk(worker.address, worker.array, 64)


def test_rearm_makes_a_received_packet_of_a_free_mbuf(mbufs: Mempool, worker: Lcore) -> None:
    m = verbs.get_one(worker.address, mbufs.address)
    verbs.rearm(m, 100, 0xFFFE)
    record = header(m)
    assert [int(record[field]) for field in ("data_off", "refcnt", "nb_segs", "port")] == [100, 1, 1, 0xFFFE]
    verbs.free(worker.address, m)


@pytest.mark.parametrize("n", [0, 1, 8, 13, 64])
def test_a_burst_of_one_pool_comes_home(mbufs: Mempool, worker: Lcore, n: int) -> None:
    assert verbs.alloc_bulk(worker.address, mbufs.address, worker.array, n) == n
    verbs.free_bulk(worker.address, worker.array, n)
    assert verbs.alloc_bulk(worker.address, mbufs.address, worker.array, n) == n
    verbs.free_fast(worker.address, mbufs.address, worker.array, n)


def test_a_burst_of_several_pools_and_shapes_comes_home(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    shared = packet(worker, mbufs, b"shared")
    verbs.refcnt_update(shared, 1)
    original = packet(worker, others, b"one", b"two")
    worker.words[:8] = [
        packet(worker, mbufs, b"a"),
        packet(worker, others, b"b"),
        0,
        packet(worker, mbufs, b"c", b"d", b"e"),
        shared,
        mbuf_clone(worker.address, original, mbufs.address),
        original,
        packet(worker, others, b"f"),
    ]
    verbs.free_bulk(worker.address, worker.array, 8)
    assert mbufs.audit().out == 1
    assert others.audit().out == 0
    assert header(shared)["refcnt"] == 1
    verbs.free(worker.address, shared)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_among_packets_is_passed_over(mbufs: Mempool, worker: Lcore, place: int) -> None:
    words = [packet(worker, mbufs, b"x"), packet(worker, mbufs, b"y")]
    words.insert(place, 0)
    worker.words[:3] = words
    verbs.free_bulk(worker.address, worker.array, 3)
    verbs.free(worker.address, 0)


def test_each_owner_frees_once(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two")
    assert mbuf_refcnt_update_all(m, 2) == 2
    for left in (2, 1):
        verbs.free(worker.address, m)
        assert header(m)["refcnt"] == left
        assert content(m) == [b"one", b"two"]
    verbs.free(worker.address, m)


def test_refcnt_update_returns_the_new_count(mbufs: Mempool, worker: Lcore) -> None:
    m = verbs.alloc(worker.address, mbufs.address)
    assert verbs.refcnt_update(m, 1) == 2
    assert verbs.refcnt_update(m, 3) == 5
    assert verbs.refcnt_update(m, -4) == 1
    assert verbs.room(m, 6) == 1
    verbs.free(worker.address, m)


def test_freeing_a_segment_leaves_the_rest(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    rest = int(header(m)["next"])
    verbs.free_segment(worker.address, m)
    assert content(rest) == [b"two", b"three"]
    assert mbufs.audit().out == 2
    verbs.free_segment(worker.address, int(header(rest)["next"]))
    header(rest)["next"] = 0
    verbs.free_segment(worker.address, rest)


def test_the_buffer_lives_until_the_last_clone_is_freed(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    original = packet(worker, mbufs, b"payload")
    clone = mbuf_clone(worker.address, original, others.address)
    again = mbuf_clone(worker.address, clone, others.address)
    assert header(original)["refcnt"] == 3
    assert header(again)["buf_addr"] == header(original)["buf_addr"]
    verbs.free(worker.address, original)
    verbs.free(worker.address, clone)
    assert content(again) == [b"payload"]
    assert mbufs.audit().out == 1
    verbs.free(worker.address, again)


def test_detaching_gives_an_mbuf_its_own_buffer_again(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    original = packet(worker, mbufs, b"payload")
    m = verbs.alloc(worker.address, others.address)
    assert verbs.attach(m, original) == original
    assert header(m)["ol_flags"] == INDIRECT
    assert mbuf_detach(worker.address, m) == 1
    record = header(m)
    assert record["buf_addr"] == record["buf_iova"] == m + MBUF.itemsize + 16
    fields = ("buf_len", "priv_size", "data_off", "data_len", "ol_flags")
    assert [int(record[field]) for field in fields] == [228, 16, 128, 0, 0]
    assert header(original)["refcnt"] == 1
    verbs.free(worker.address, m)
    verbs.free(worker.address, original)


@pytest.mark.parametrize("data_room", [0, 1, 100, 128, 129, 9728, 65535])
@pytest.mark.parametrize("private_size", [0, 8, 64])
def test_any_data_room(memory: Memory, worker: Lcore, data_room: int, private_size: int) -> None:
    pool = create_pool(memory, "p", 4, data_room=data_room, private_size=private_size)
    m = verbs.alloc(worker.address, pool.address)
    assert verbs.room(m, 0) == min(HEADROOM, data_room)
    assert verbs.room(m, 1) == data_room - min(HEADROOM, data_room)
    assert verbs.room(m, 2) == m + MBUF.itemsize + private_size + min(HEADROOM, data_room)
    assert verbs.append(m, verbs.room(m, 1) + 1) == 0
    assert verbs.append(m, verbs.room(m, 1)) == verbs.room(m, 2)
    verbs.free(worker.address, m)
    assert_all_home(pool)


@pytest.mark.parametrize(
    ("data_room", "private_size", "told"),
    [
        (-1, 0, "data room -1 is not between 0 and 65535"),
        (65536, 0, "data room 65536"),
        (2176, 4, "private size 4 is not a multiple of 8"),
        (2176, -8, "private size -8"),
        (2176, 65536, "private size 65536"),
    ],
)
def test_sizes_that_are_not_allowed(memory: Memory, data_room: int, private_size: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        create_pool(memory, "p", 4, data_room=data_room, private_size=private_size)
    assert memory.zones() == []


def test_a_pool_of_mbufs_says_so(memory: Memory) -> None:
    assert create_pool(memory, "p", 4).holds_mbufs
    assert not mempool.create(memory, "q", 4, element_size=4096).holds_mbufs
