# SPDX-License-Identifier: BSD-3-Clause
"""Capture files: read whole into memory, with an index of the packets; and the words to write one with.

Both formats are read: pcap (draft-ietf-opsawg-pcap; microseconds or nanoseconds, either byte order) and pcapng
(draft-ietf-opsawg-pcapng). Only Ethernet. A file that is cut short or says something
impossible is refused with the offset of it. Refused: the libraries there are (python-pcapng, dpkt): an object for each
packet, a second for each million of them, and errors that name no place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pollmode.eal.errors import ConfigError, UnsupportedError
from pollmode.eal.jit import byteswap32, compiled, load32, store64
from pollmode.eal.layout import le_struct, offset_of

__all__ = ["FILE_HEADER", "MAX_PACKET", "PACKET", "RECORD", "RECORD_SIZE", "Capture", "file_header", "read"]

# pcap, section 4: the file's header, and section 5: what stands before each packet.
FILE_HEADER: Final[np.dtype[Any]] = le_struct(
    "pcap_file_header",
    24,
    magic="u4",
    version_major="u2",
    version_minor="u2",
    thiszone="u4",
    sigfigs="u4",
    snaplen="u4",
    linktype="u4",
)
RECORD: Final[np.dtype[Any]] = le_struct("pcap_record", 16, seconds="u4", fraction="u4", captured="u4", original="u4")
FILE_HEADER_SIZE: Final = FILE_HEADER.itemsize
RECORD_SIZE: Final = RECORD.itemsize
MICROSECONDS: Final = 0xA1B2C3D4
NANOSECONDS: Final = 0xA1B23C4D
ETHERNET: Final = 1  # LINKTYPE_ETHERNET
MAX_PACKET: Final = 262144  # what tcpdump and Wireshark take for the longest there is

# One packet of a capture: where its bytes are in the file, how many, how many it had, and when.
PACKET: Final[np.dtype[Any]] = le_struct("packet", 32, offset="i8", captured="i8", original="i8", nanoseconds="i8")
PACKET_SIZE: Final = PACKET.itemsize
_PACKET_OFFSET, _PACKET_CAPTURED = offset_of(PACKET, "offset"), offset_of(PACKET, "captured")
_PACKET_ORIGINAL, _PACKET_NANOSECONDS = offset_of(PACKET, "original"), offset_of(PACKET, "nanoseconds")
_SECONDS, _FRACTION = offset_of(RECORD, "seconds"), offset_of(RECORD, "fraction")
_CAPTURED, _ORIGINAL = offset_of(RECORD, "captured"), offset_of(RECORD, "original")

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Capture:
    """A capture file in memory: its bytes, and a PACKET record for each packet, in the order of the file."""

    path: str
    data: npt.NDArray[np.uint8]
    packets: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.packets)

    def __getitem__(self, index: int) -> bytes:
        """Return the bytes of a packet that were captured."""
        packet = self.packets[index]
        start = int(packet["offset"])
        return self.data[start : start + int(packet["captured"])].tobytes()


def file_header(snaplen: int = MAX_PACKET) -> bytes:
    """Return the header of a pcap file of Ethernet packets with nanoseconds."""
    return np.array([(NANOSECONDS, 2, 4, 0, 0, snaplen, ETHERNET)], FILE_HEADER).tobytes()


def read(path: str) -> Capture:
    """Read a capture file. Raises ConfigError naming file and offset, UnsupportedError for another link type."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", errno=error.errno) from None
    if len(data) < 4:
        raise _wrong(path, 0, f"the file has {len(data)} bytes, no capture file has so few")
    (magic,) = struct.unpack("<I", data[:4].tobytes())
    if magic == _SECTION:
        packets = np.array(list(_Sections(path, data.tobytes()).packets()), PACKET)
    else:
        packets = _read_pcap(path, data, magic)
    return Capture(path, data, packets)


def _wrong(path: str, offset: int, what: str) -> ConfigError:
    return ConfigError(f"{path}: offset {offset}: {what}; the file is damaged or is no capture")


def _check_link(path: str, link: int) -> None:
    if link != ETHERNET:
        raise UnsupportedError(f"{path}: link type {link} is not supported, only Ethernet ({ETHERNET})")


# pcap.


def _read_pcap(path: str, data: npt.NDArray[np.uint8], magic: int) -> npt.NDArray[Any]:
    swapped = struct.unpack(">I", struct.pack("<I", magic))[0]
    order: Literal["<", ">"] = "<" if magic in (MICROSECONDS, NANOSECONDS) else ">"
    if order == ">" and swapped not in (MICROSECONDS, NANOSECONDS):
        raise _wrong(path, 0, f"{magic:#010x} begins neither a pcap nor a pcapng file")
    if len(data) < FILE_HEADER_SIZE:
        raise _wrong(path, len(data), f"the file's header has {len(data)} bytes instead of {FILE_HEADER_SIZE}")
    header = data[:FILE_HEADER_SIZE].view(FILE_HEADER.newbyteorder(order))[0]
    if header["version_major"] != 2:
        raise _wrong(path, 4, f"version {header['version_major']}.{header['version_minor']} is not 2.4")
    _check_link(path, int(header["linktype"]) & 0xFFFF)  # section 4: the high bits tell of a checksum
    scale = 1 if NANOSECONDS in (magic, swapped) else 1000
    most = (len(data) - FILE_HEADER_SIZE) // RECORD_SIZE
    packets = np.zeros(most, PACKET)
    ended = np.zeros(1, np.int64)
    arguments = (data.ctypes.data, len(data), int(order == ">"), scale)
    count = index_records(*arguments, packets.ctypes.data, ended.ctypes.data)
    end = int(ended[0])
    if end != len(data):
        left = len(data) - end
        if left < RECORD_SIZE:
            raise _wrong(path, end, f"packet {count + 1} is cut short: {left} bytes of {RECORD_SIZE} before it")
        captured = int(data[end : end + RECORD_SIZE].view(RECORD.newbyteorder(order))["captured"][0])
        what = f"claims {captured} bytes, and the file has {left - RECORD_SIZE} more"
        raise _wrong(path, end, f"packet {count + 1} {what}")
    return packets[:count].copy()


@compiled
def index_records(data: int, size: int, swapped: int, scale: int, packets: int, ended: int) -> int:
    """Write a PACKET for each record of a pcap file; returns how many, and at `ended` where it could not go on.

    `data` and `size` are the file's; `scale` is the nanoseconds in a unit of its stamps.
    """
    count = 0
    at = FILE_HEADER_SIZE
    while at + RECORD_SIZE <= size:
        record = data + at
        captured = load32(record + _CAPTURED)
        original = load32(record + _ORIGINAL)
        seconds = load32(record + _SECONDS)
        fraction = load32(record + _FRACTION)
        if swapped != 0:
            captured, original = byteswap32(captured), byteswap32(original)
            seconds, fraction = byteswap32(seconds), byteswap32(fraction)
        if captured > MAX_PACKET or at + RECORD_SIZE + captured > size:
            break
        packet = packets + PACKET_SIZE * count
        store64(packet + _PACKET_OFFSET, at + RECORD_SIZE)
        store64(packet + _PACKET_CAPTURED, captured)
        store64(packet + _PACKET_ORIGINAL, original)
        store64(packet + _PACKET_NANOSECONDS, seconds * _SECOND + fraction * scale)
        at += RECORD_SIZE + captured
        count += 1
    store64(ended, at)
    return count


# pcapng. Section 3.1: every block is type, length, body, length again; unknown ones are skipped.

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_OPTION_END, _OPTION_TSRESOL, _OPTION_TSOFFSET = 0, 9, 14
_LEAST_BLOCK = 12


@dataclass(frozen=True)
class _Interface:
    """An interface description: the longest capture (0: no limit), and how its stamps become nanoseconds."""

    snaplen: int
    ticks: int
    offset: int

    def nanoseconds(self, stamp: int) -> int:
        """Return a time stamp as nanoseconds; what no 64-bit number holds is 0."""
        found = stamp * _SECOND // self.ticks + self.offset * _SECOND
        return found if -(1 << 63) <= found < 1 << 63 else 0


class _Sections:
    """The blocks of a pcapng file, one after the other."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path, self._data = path, data
        self._order = "<"
        self._interfaces: list[_Interface] = []

    def packets(self) -> Iterator[tuple[int, int, int, int]]:
        """Return offset, captured and original length and time of each packet."""
        at = 0
        while at < len(self._data):
            if len(self._data) - at < _LEAST_BLOCK:
                raise self._wrong(at, f"a block of {len(self._data) - at} bytes is cut short")
            if self._data[at : at + 4] == b"\n\r\r\n":
                self._begin_section(at)
            kind, length = struct.unpack_from(self._order + "II", self._data, at)
            if length < _LEAST_BLOCK or length % 4 or at + length > len(self._data):
                left = len(self._data) - at
                raise self._wrong(at, f"a block claims {length} bytes, and the file has {left} more")
            if struct.unpack_from(self._order + "I", self._data, at + length - 4)[0] != length:
                raise self._wrong(at + length - 4, f"a block of {length} bytes ends with another length")
            body, end = at + 8, at + length - 4
            if kind == _INTERFACE:
                self._interfaces.append(self._interface(body, end))
            elif kind in (_ENHANCED, _PACKET, _SIMPLE):
                yield self._packet(kind, body, end)
            at += length

    def _wrong(self, offset: int, what: str) -> ConfigError:
        return _wrong(self._path, offset, what)

    def _unpack(self, form: str, at: int, end: int) -> tuple[int, ...]:
        if at + struct.calcsize("=" + form) > end:
            raise self._wrong(at, "a block is too short for what it holds")
        return struct.unpack_from(self._order + form, self._data, at)

    def _begin_section(self, at: int) -> None:
        for order in "<>":
            if self._data[at + 8 : at + 12] == struct.pack(order + "I", _BYTE_ORDER):
                self._order, self._interfaces = order, []
                return
        raise self._wrong(at + 8, "a section says no byte order")

    def _interface(self, at: int, end: int) -> _Interface:
        link, _, snaplen = self._unpack("HHI", at, end)
        _check_link(self._path, link)
        ticks, offset = 1_000_000, 0
        at += 8
        while at + 4 <= end:
            code, length = self._unpack("HH", at, end)
            if code == _OPTION_END:
                break
            if code == _OPTION_TSRESOL:
                (exponent,) = self._unpack("B", at + 4, end)
                ticks = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10 ** (exponent & 0x7F)
            elif code == _OPTION_TSOFFSET:
                (offset,) = self._unpack("q", at + 4, end)
            at += 4 + -(-length // 4) * 4
        return _Interface(snaplen, ticks, offset)

    def _packet(self, kind: int, at: int, end: int) -> tuple[int, int, int, int]:
        if kind == _SIMPLE:  # section 4.4: of the first interface, as long as its limit lets it be, without a time
            (original,) = self._unpack("I", at, end)
            start, number, stamp = at + 4, 0, None
            limit = self._interfaces[0].snaplen if self._interfaces else 0
            captured = min(original, limit or original)
        else:
            form = "IIIII" if kind == _ENHANCED else "HHIIII"
            words = self._unpack(form, at, end)
            number, (high, low, captured, original) = words[0], words[-4:]
            start, stamp = at + 20, high << 32 | low
        if number >= len(self._interfaces):
            raise self._wrong(at, f"a packet of interface {number}, of which there is no description")
        if captured > MAX_PACKET or start + captured > end:
            raise self._wrong(at, f"a packet claims {captured} bytes in a block that has {end - start}")
        return start, captured, original, 0 if stamp is None else self._interfaces[number].nanoseconds(stamp)
