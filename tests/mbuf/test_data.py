# SPDX-License-Identifier: BSD-3-Clause
"""A packet grows and shrinks at both ends, within its room and never beyond."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support import mbuf_verbs as verbs
from support.mbuf_verbs import Lcore, content, header, packet, write

from pollmode.mbuf import Mempool


@pytest.fixture
def m(mbufs: Mempool, worker: Lcore) -> Iterator[int]:
    """A packet of 10 bytes in a buffer with 128 before and 246 behind them."""
    made = packet(worker, mbufs, b"0123456789")
    yield made
    verbs.free(worker.address, made)


def test_where_the_bytes_are(m: int) -> None:
    record = header(m)
    assert verbs.room(m, 0) == 128
    assert verbs.room(m, 1) == 246
    assert verbs.room(m, 2) == record["buf_addr"] + 128
    assert verbs.room(m, 3) == record["buf_iova"] + 128
    assert verbs.room(m, 4) == m
    assert verbs.room(m, 5) == 1


def test_prepend_takes_headroom(m: int) -> None:
    first = verbs.room(m, 2)
    assert verbs.prepend(m, 129) == 0
    assert content(m) == [b"0123456789"]
    assert verbs.prepend(m, 4) == first - 4
    write(first - 4, b"head")
    assert content(m) == [b"head0123456789"]
    assert header(m)["pkt_len"] == 14
    assert verbs.prepend(m, 124) == first - 128
    assert verbs.prepend(m, 1) == 0


def test_append_takes_tailroom(m: int) -> None:
    end = verbs.room(m, 2) + 10
    assert verbs.append(m, 247) == 0
    assert verbs.append(m, 4) == end
    write(end, b"tail")
    assert content(m) == [b"0123456789tail"]
    assert verbs.append(m, 242) == end + 4
    assert verbs.append(m, 1) == 0
    assert header(m)["pkt_len"] == header(m)["data_len"] == 256


def test_adj_cuts_the_front(m: int) -> None:
    first = verbs.room(m, 2)
    assert verbs.adj(m, 11) == 0
    assert verbs.adj(m, 3) == first + 3
    assert content(m) == [b"3456789"]
    assert verbs.adj(m, 7) == first + 10
    assert header(m)["pkt_len"] == 0


def test_trim_cuts_the_end(m: int) -> None:
    assert verbs.trim(m, 11) == 0
    assert verbs.trim(m, 3) == 1
    assert content(m) == [b"0123456"]
    assert verbs.trim(m, 7) == 1
    assert header(m)["pkt_len"] == header(m)["data_len"] == 0


def test_on_a_chain_the_front_is_the_first_segment_and_the_end_the_last(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"one", b"two", b"three")
    write(verbs.prepend(m, 1), b"<")
    write(verbs.append(m, 1), b">")
    assert content(m) == [b"<one", b"two", b"three>"]
    assert verbs.adj(m, 5) == 0
    assert verbs.trim(m, 7) == 0
    assert verbs.adj(m, 4)
    assert verbs.trim(m, 6) == 1
    assert content(m) == [b"", b"two", b""]
    assert header(m)["pkt_len"] == 3
    assert header(m)["nb_segs"] == 3
    assert verbs.room(m, 5) == 0
    verbs.free(worker.address, m)


def test_read_leaves_bytes_of_one_segment_in_place_and_gathers_others(mbufs: Mempool, worker: Lcore) -> None:
    m = packet(worker, mbufs, b"0123", b"", b"4567", b"89")
    buffer = np.full(16, 0xA5, np.uint8)
    second = int(header(int(header(m)["next"]))["next"])
    assert verbs.read(m, 1, 3, buffer.ctypes.data) == verbs.room(m, 2) + 1
    assert verbs.read(m, 5, 3, buffer.ctypes.data) == verbs.room(second, 2) + 1
    assert (buffer == 0xA5).all()
    assert verbs.read(m, 2, 7, buffer.ctypes.data) == buffer.ctypes.data
    assert bytes(buffer[:7]) == b"2345678"
    assert (buffer[7:] == 0xA5).all()
    assert verbs.read(m, 0, 10, buffer.ctypes.data) == buffer.ctypes.data
    assert bytes(buffer[:10]) == b"0123456789"
    for offset, length in ((0, 11), (10, 1), (11, 0), (-1, 2), (0, -1), (1 << 40, 1)):
        assert verbs.read(m, offset, length, buffer.ctypes.data) == 0
    assert verbs.read(m, 10, 0, buffer.ctypes.data) != 0
    verbs.free(worker.address, m)
