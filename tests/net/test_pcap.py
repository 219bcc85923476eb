# SPDX-License-Identifier: BSD-3-Clause
"""Capture files: every format as it should be, and each way one can be wrong told with its offset."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollmode.eal.errors import ConfigError, PollmodeError, UnsupportedError
from pollmode.net.pcap import FILE_HEADER_SIZE, MAX_PACKET, file_header, read

FIRST, SECOND = bytes(range(60)), b"\xff" * 1514


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    file = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 65535, link)
    for number, packet in enumerate((FIRST, SECOND)):
        file += struct.pack(order + "IIII", 100 + number, 5, len(packet), len(packet) + 4) + packet
    return file


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def pcapng(order: str = "<", options: bytes = b"", link: int = 1) -> bytes:
    file = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    file += block(order, 1, struct.pack(order + "HHI", link, 0, 60) + options)
    stamp = 100_000_005
    words = struct.pack(order + "IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(FIRST), 64)
    file += block(order, 6, words + FIRST + bytes(4))
    file += block(order, 5, b"statistics")
    file += block(order, 3, struct.pack(order + "I", len(SECOND)) + SECOND[:60])
    words = struct.pack(order + "HHIIII", 0, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(FIRST), 60)
    return file + block(order, 2, words + FIRST)


Write = Callable[[bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(data: bytes) -> str:
        (tmp_path / "capture").write_bytes(data)
        return str(tmp_path / "capture")

    return written


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 5000), (0xA1B23C4D, 5)])
def test_pcap_in_either_order_and_resolution(order: str, magic: int, fraction: int, write: Write) -> None:
    found = read(write(pcap(order, magic)))
    assert [found[0], found[1]] == [FIRST, SECOND]
    assert found.packets["original"].tolist() == [64, 1518]
    assert found.packets["nanoseconds"].tolist() == [100_000_000_000 + fraction, 101_000_000_000 + fraction]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("option", "nanoseconds"),
    [
        ((), 100_000_005_000),
        ((9, "B", 9), 100_000_005),
        ((9, "B", 0x80 | 20), 100_000_005 * 10**9 // 2**20),
        ((14, "q", 7), 107_000_005_000),
    ],
)
def test_pcapng_in_either_order_with_any_clock(
    order: str, option: tuple[int, str, int] | tuple[()], nanoseconds: int, write: Write
) -> None:
    options = b""
    if option:
        value = struct.pack(order + option[1], option[2])
        options = struct.pack(order + "HH", option[0], len(value)) + value + bytes(-len(value) % 4) + bytes(4)
    found = read(write(pcapng(order, options)))
    assert [found[n] for n in range(len(found))] == [FIRST, SECOND[:60], FIRST]
    assert found.packets["original"].tolist() == [64, 1514, 60]
    assert found.packets["nanoseconds"].tolist() == [nanoseconds, 0, nanoseconds]


def test_sections_of_either_order_may_follow_each_other(write: Write) -> None:
    found = read(write(pcapng("<") + pcapng(">")))
    assert len(found) == 6


def test_a_file_without_packets_is_a_capture(write: Write) -> None:
    assert len(read(write(file_header()))) == 0
    assert len(read(write(pcap()[:24]))) == 0


def test_what_scapy_writes_is_read_and_the_reverse(tmp_path: Path, write: Write) -> None:
    scapy = pytest.importorskip("scapy.all")
    packets = [scapy.Ether() / scapy.IP() / bytes(n) for n in range(10)]
    for name, writer in (("a.pcap", scapy.wrpcap), ("b.pcapng", scapy.wrpcapng)):
        writer(str(tmp_path / name), packets)
        found = read(str(tmp_path / name))
        assert [found[n] for n in range(len(found))] == [bytes(packet) for packet in packets]
    record = struct.pack("<IIII", 9, 123456789, len(FIRST), len(FIRST)) + FIRST
    (read_back,) = scapy.rdpcap(write(file_header() + record))
    assert (bytes(read_back), read_back.time) == (FIRST, scapy.EDecimal("9.123456789"))


@pytest.mark.parametrize(
    ("data", "offset", "told"),
    [
        (b"", 0, "the file has 0 bytes"),
        (b"abc", 0, "the file has 3 bytes"),
        (b"PNG\r" + bytes(100), 0, "0x0d474e50 begins neither a pcap nor a pcapng file"),
        (pcap()[:20], 20, "the file's header has 20 bytes instead of 24"),
        (pcap()[:4] + b"\x07" + pcap()[5:], 4, "version 7.4 is not 2.4"),
        (pcap()[:30], 24, "packet 1 is cut short: 6 bytes of 16 before it"),
        (pcap()[:-1], 100, "packet 2 claims 1514 bytes, and the file has 1513 more"),
        (pcap()[:99], 24, "packet 1 claims 60 bytes, and the file has 59 more"),
        (pcap()[:32] + struct.pack("<I", MAX_PACKET + 1) + bytes(MAX_PACKET + 99), 24, "packet 1 claims 262145 bytes"),
        (pcap()[:32] + b"\xff" * 4 + pcap()[36:], 24, "packet 1 claims 4294967295 bytes"),
        (pcapng()[:20], 0, "a block claims 28 bytes, and the file has 20 more"),
        (pcapng()[:8] + b"abcd" + pcapng()[12:], 8, "a section says no byte order"),
        (pcapng()[:28] + pcapng()[28:32] + b"\0\0\0\0" + pcapng()[36:], 28, "a block claims 0 bytes"),
        (pcapng()[:28] + pcapng()[28:32] + b"\x0d\0\0\0" + pcapng()[36:], 28, "a block claims 13 bytes"),
        (pcapng()[:44] + b"\x18\0\0\0" + pcapng()[48:], 44, "a block of 20 bytes ends with another length"),
        (pcapng()[:28] + pcapng()[48:], 36, "a packet of interface 0, of which there is no description"),
        (pcapng() + b"1234", len(pcapng()), "a block of 4 bytes is cut short"),
        (pcapng() + block("<", 6, bytes(16)), len(pcapng()) + 8, "a block is too short for what it holds"),
        (pcapng() + block("<", 1, bytes(4)), len(pcapng()) + 8, "a block is too short for what it holds"),
        (
            pcapng() + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 61, 61) + FIRST),
            len(pcapng()) + 8,
            "a packet claims 61 bytes in a block that has 60",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_offset(data: bytes, offset: int, told: str, write: Write) -> None:
    path = write(data)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: offset {offset}: {told}")):
        read(path)


@pytest.mark.parametrize("data", [pcap(link=105), pcap(">", link=113), pcapng(link=105)])
def test_other_link_types_are_not_supported(data: bytes, write: Write) -> None:
    with pytest.raises(UnsupportedError, match=r"capture: link type 1\d\d is not supported, only Ethernet \(1\)"):
        read(write(data))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pcap: No such file or directory"):
        read(str(tmp_path / "none.pcap"))
    with pytest.raises(ConfigError, match="Is a directory"):
        read(str(tmp_path))


@given(st.sampled_from([pcap(), pcap(">"), pcapng(), pcapng(">")]), st.data())
def test_no_damage_is_worse_than_a_refusal(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = _SCRATCH / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        found = read(str(path))
    except PollmodeError:
        return
    for number in range(len(found)):
        assert len(found[number]) == found.packets["captured"][number]


@pytest.fixture(autouse=True, scope="module")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _SCRATCH
    _SCRATCH = tmp_path_factory.mktemp("captures")


_SCRATCH = Path()


def test_the_header_of_a_file_to_write() -> None:
    header = io.BytesIO(file_header())
    assert struct.unpack("<IHHIIII", header.read()) == (0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    assert len(file_header()) == FILE_HEADER_SIZE
