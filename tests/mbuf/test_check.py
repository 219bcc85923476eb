# SPDX-License-Identifier: BSD-3-Clause
"""An mbuf that can't be worked with is told from one that can, and why; and an mbuf as text."""

from __future__ import annotations

import ctypes

import pytest
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore, header, packet

from pollmode.eal.errors import ConfigError, InternalError
from pollmode.eal.memory import Memory
from pollmode.mbuf import (
    EXTERNAL,
    INDIRECT,
    REASONS,
    RX_IP_CKSUM_BAD,
    RX_IP_CKSUM_GOOD,
    RX_IP_CKSUM_NONE,
    RX_L4_CKSUM_GOOD,
    TX_IPV4,
    TX_TCP_CKSUM,
    TX_TUNNEL_ESP,
    TX_UDP_CKSUM,
    Mempool,
    dump,
    flag_names,
    mbuf_clone,
    mbuf_sanity_check,
    mempool,
    sanity_check,
)

# What is broken in the first mbuf of a sound chain of two, and the code.
BROKEN = [
    ("pool", 0, 2),
    ("buf_iova", 0, 3),
    ("buf_addr", 0, 4),
    ("refcnt", 0, 5),
    ("ol_flags", EXTERNAL, 6),
    ("data_off", 385, 7),
    ("data_len", 257, 8),
    ("nb_segs", 0, 9),
    ("nb_segs", 1, 10),
    ("nb_segs", 3, 10),
    ("pkt_len", 7, 11),
    ("data_len", 4, 11),
]


@pytest.mark.parametrize(("field", "value", "code"), BROKEN)
def test_each_way_to_be_broken_has_its_code(mbufs: Mempool, worker: Lcore, field: str, value: int, code: int) -> None:
    m = packet(worker, mbufs, b"one", b"two")
    record = header(m)
    assert mbuf_sanity_check(m, 1) == 0
    sound = int(record[field])
    record[field] = value
    assert mbuf_sanity_check(m, 1) == code
    assert mbuf_sanity_check(m, 0) == (code if code < 9 else 0)
    with pytest.raises(InternalError, match=REASONS[code]):
        sanity_check(m)
    record[field] = sound
    sanity_check(m)
    verbs.free(worker.address, m)


def test_a_later_segment_is_checked_too(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two")
    second = header(int(header(m)["next"]))
    second["refcnt"] = 0
    assert mbuf_sanity_check(m, 1) == 5
    assert mbuf_sanity_check(m, 0) == 0
    second["refcnt"] = 1
    verbs.free(worker.address, m)


def test_a_chain_that_is_a_loop_ends(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two")
    second = header(int(header(m)["next"]))
    second["next"] = m
    assert mbuf_sanity_check(m, 1) == 10
    with pytest.raises(InternalError, match="more or fewer segments"):
        sanity_check(m)
    second["next"] = 0
    verbs.free(worker.address, m)


def test_address_zero(mbufs: Mempool) -> None:
    assert mbuf_sanity_check(0, 1) == 1
    assert REASONS[1] == "it is at address 0"


def test_an_address_that_is_not_an_mbufs_is_refused_unread(memory: Memory, mbufs: Mempool) -> None:
    plain = mempool.create(memory, "plain", 4, element_size=4096)
    for address in (0, 8, 0xDEAD0000, next(mbufs.walk()) + 64, next(plain.walk())):
        with pytest.raises(ConfigError, match=rf"{address:#x} is not the address of an mbuf"):
            sanity_check(address)
        with pytest.raises(ConfigError, match="is not the address of an mbuf"):
            dump(address)


def test_a_next_that_is_not_an_mbuf_is_refused_unread(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one")
    header(m)["next"], header(m)["nb_segs"] = 0x1000, 2
    with pytest.raises(ConfigError, match="0x1000 is not the address of an mbuf"):
        sanity_check(m)
    header(m)["next"], header(m)["nb_segs"] = 0, 1
    verbs.free(worker.address, m)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, []),
        (RX_IP_CKSUM_GOOD | RX_L4_CKSUM_GOOD, ["RX_IP_CKSUM_GOOD", "RX_L4_CKSUM_GOOD"]),
        (RX_IP_CKSUM_BAD, ["RX_IP_CKSUM_BAD"]),
        (RX_IP_CKSUM_NONE, ["RX_IP_CKSUM_NONE"]),
        (TX_IPV4 | TX_TCP_CKSUM, ["TX_TCP_CKSUM", "TX_IPV4"]),
        (TX_UDP_CKSUM, ["TX_UDP_CKSUM"]),
        (TX_TUNNEL_ESP | INDIRECT, ["TX_TUNNEL_ESP", "INDIRECT"]),
    ],
)
def test_flags_by_name(flags: int, names: list[str]) -> None:
    assert flag_names(flags) == names


def test_a_dump_shows_header_segments_and_bytes_across_them(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"0123456789abcdefgh", b"IJKLM")
    header(m)["ol_flags"] = RX_IP_CKSUM_GOOD
    text = dump(m, 20)
    lines = text.splitlines()
    assert f"mbuf at {m:#x} of pool mbufs" in lines[0]
    assert "pkt_len=23 nb_segs=2 port=65535 refcnt=1" in lines[1]
    assert "ol_flags=0x80 [RX_IP_CKSUM_GOOD]" in lines[2]
    assert "segment 0" in lines[3]
    assert "data_len=18, headroom=128" in lines[3]
    assert lines[4] == "00000000: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 | 0123456789abcdef"
    assert lines[5].split() == ["00000010:", "67", "68", "|", "gh"]
    assert "segment 1" in lines[6]
    assert lines[7].split() == ["00000012:", "49", "4a", "|", "IJ"]
    assert len(lines) == 8
    assert len(dump(m).splitlines()) == 5
    header(m)["ol_flags"] = 0
    verbs.free(worker.address, m)


def test_a_dump_of_a_clone_shows_the_shared_bytes(mbufs: Mempool, others: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"\x00\xff~\x7f")
    clone = mbuf_clone(worker.address, m, others.address)
    verbs.free(worker.address, m)
    text = dump(clone, 100)
    assert "INDIRECT" in text
    assert text.endswith("00000000: 00 ff 7e 7f                                     | ..~.")
    assert ctypes.string_at(verbs.room(clone, 2), 4) == b"\x00\xff~\x7f"
    verbs.free(worker.address, clone)
