# SPDX-License-Identifier: BSD-3-Clause
"""pcapng blocks: the bytes that are written, and what is not one."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pollmode.eal.errors import ConfigError
from pollmode.net import pcap, pcapng


def packet(data: bytes, *, stamp: int = 5_000_000_007, captured: int | None = None) -> bytes:
    padded = data + bytes(-len(data) % 4)
    length = 32 + len(padded)
    words = 6, length, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(data) if captured is None else captured, 100
    return struct.pack("<7I", *words) + padded + struct.pack("<I", length)


def run_of(data: bytes, most: int = 1000) -> tuple[int, int]:
    """Return the bytes of the run of packets at the start of `data`, and their number."""
    held, packets = np.frombuffer(data, np.uint8), np.zeros(1, np.int64)
    return pcapng.packet_run(held.ctypes.data, len(held), most, packets.ctypes.data), int(packets[0])


def test_an_interface_is_written_as_specified() -> None:
    assert pcapng.interface_description("p0", "port 0", 96) == bytes.fromhex(
        "01000000 34000000 0100 0000 60000000 0200 0200 70300000"
        "0300 0600 706f72742030 0000 0900 0100 09000000 00000000 34000000"
    )


def test_the_counts_are_read_as_written() -> None:
    block = memoryview(pcapng.interface_statistics(3, 1, 1 << 40, 1 << 33, 7))
    assert pcapng.block_at(block, 0) == (pcapng.STATISTICS, len(block))
    assert pcapng.statistics_counts(block) == (3, 1 << 33, 7)
    assert pcapng.interface_name(memoryview(pcapng.interface_description("näme", "", 0))) == "näme"


def test_a_run_is_whole_packets() -> None:
    one, two = packet(b"abc"), packet(b"defgh")
    assert run_of(one + two) == (len(one + two), 2)
    assert run_of(one + two, most=1) == (len(one), 1)
    assert run_of(one + two[:-1]) == (len(one), 1)
    assert run_of(one + pcapng.section_header("x")) == (len(one), 1)
    assert run_of(packet(b"abcd", captured=5)) == (0, 0)
    assert run_of(packet(b"abcd", captured=0xFFFFFFFF)) == (0, 0)


def test_a_run_becomes_pcap_records(tmp_path: Path) -> None:
    data = np.frombuffer(packet(b"abc") + packet(b"defgh", stamp=(1 << 60) + 1), np.uint8)
    out = np.zeros(len(data), np.uint8)
    filled = pcapng.to_pcap(data.ctypes.data, len(data), out.ctypes.data)
    (tmp_path / "out").write_bytes(pcap.file_header() + out[:filled].tobytes())
    read = pcap.read(str(tmp_path / "out"))
    assert list(read) == [b"abc", b"defgh"]
    assert read.packets["nanoseconds"].tolist() == [5_000_000_007, (1 << 60) + 1]
    assert read.packets["original"].tolist() == [100, 100]


@pytest.mark.parametrize("length", [0, 8, 13, (1 << 20) + 4, 0xFFFFFFFC])
def test_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match=f"claims {length} bytes"):
        pcapng.block_at(memoryview(struct.pack("<II", 1, length) + bytes(64)), 0)


def test_a_block_that_is_not_whole_is_none_yet() -> None:
    whole = pcapng.section_header("x")
    for size in range(len(whole)):
        assert pcapng.block_at(memoryview(whole[:size]), 0) is None
    assert pcapng.block_at(memoryview(whole), 0) == (pcapng.SECTION, len(whole))


def test_a_file_without_room_raises() -> None:
    file = pcapng.BlockFile("/dev/full")
    with pytest.raises(OSError, match=os.strerror(28)):
        file.put(pcapng.section_header("x"))
    assert file.size == 0
    file.close()
    file.close()
