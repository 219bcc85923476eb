# SPDX-License-Identifier: BSD-3-Clause
"""Writing pcapng (draft-ietf-opsawg-pcapng): its blocks, a file of whole blocks, and walking over them as they come.

A file is a section header, a description of each interface, packets, and the interfaces' counts at the end. It can be
written as it is made and is readable wherever it was cut between two blocks. `pollmode.net.pcap` reads it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pollmode.eal.errors import ConfigError
from pollmode.eal.jit import compiled, copy, load32, store32, store64
from pollmode.eal.layout import le_struct, offset_of
from pollmode.net.pcap import ETHERNET, RECORD, RECORD_SIZE

__all__ = [
    "ENHANCED",
    "INBOUND",
    "INTERFACE",
    "LEAST_BLOCK",
    "MAX_BLOCK",
    "OUTBOUND",
    "PACKET_DIRECTION",
    "PACKET_END_OF_OPTIONS",
    "PACKET_HEADER",
    "PACKET_HEADER_SIZE",
    "PACKET_HIGH",
    "PACKET_INTERFACE",
    "PACKET_KIND",
    "PACKET_LENGTH",
    "PACKET_LOW",
    "PACKET_ORIGINAL",
    "PACKET_OVERHEAD",
    "PACKET_QUEUE",
    "PACKET_TRAILER_SIZE",
    "SECTION",
    "STATISTICS",
    "BlockFile",
    "block_at",
    "direction_option",
    "interface_description",
    "interface_name",
    "interface_statistics",
    "packet_run",
    "queue_option",
    "section_header",
    "statistics_counts",
    "to_pcap",
]

# Section 4: the kinds of blocks.
SECTION, INTERFACE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 5, 6
LEAST_BLOCK: Final = 12
MAX_BLOCK: Final = 1 << 20  # bytes; the longest packet has 262144
_BYTE_ORDER: Final = 0x1A2B3C4D

# Section 4.3: what stands before a packet; behind it and its padding two options, their end, and the length again.
PACKET_HEADER: Final[np.dtype[Any]] = le_struct(
    "enhanced_packet", 28, kind="u4", length="u4", interface="u4", high="u4", low="u4", captured="u4", original="u4"
)
PACKET_HEADER_SIZE: Final = PACKET_HEADER.itemsize
PACKET_TRAILER: Final[np.dtype[Any]] = le_struct(
    "enhanced_packet_end", 24, direction="u8", queue="u8", end_of_options="u4", length="u4"
)
PACKET_TRAILER_SIZE: Final = PACKET_TRAILER.itemsize
PACKET_OVERHEAD: Final = PACKET_HEADER_SIZE + PACKET_TRAILER_SIZE
PACKET_KIND, PACKET_LENGTH, PACKET_INTERFACE, PACKET_HIGH, PACKET_LOW, PACKET_CAPTURED, PACKET_ORIGINAL = (
    offset_of(PACKET_HEADER, name) for name in ("kind", "length", "interface", "high", "low", "captured", "original")
)
PACKET_DIRECTION, PACKET_QUEUE, PACKET_END_OF_OPTIONS = (
    offset_of(PACKET_TRAILER, name) for name in ("direction", "queue", "end_of_options")
)
_SECONDS, _FRACTION, _CAPTURED, _ORIGINAL = (
    offset_of(RECORD, name) for name in ("seconds", "fraction", "captured", "original")
)

_EPB_FLAGS, _EPB_QUEUE = 2, 6  # section 4.3
INBOUND, OUTBOUND = 1, 2  # of epb_flags, section 4.3.1
_SHB_APPLICATION: Final = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_ISB_START, _ISB_END, _ISB_RECEIVED, _ISB_DROPPED = 2, 3, 4, 5
_NANOSECONDS: Final = b"\x09"  # of if_tsresol: 10 to the power of -9
_SECOND: Final = 1_000_000_000


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", LEAST_BLOCK + len(body))
    return struct.pack("<I", kind) + length + body + length


def _options(*given: tuple[int, bytes]) -> bytes:
    """Return options and their end, each padded to 32 bits (section 3.5)."""
    each = (struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in given)
    return b"".join(each) + bytes(4)


def _time(nanoseconds: int) -> bytes:
    return struct.pack("<II", nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)


def section_header(application: str) -> bytes:
    """Return the block that begins a file written by `application`."""
    body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)  # version 1.0, of a length that is not known
    return _block(SECTION, body + _options((_SHB_APPLICATION, _text(application))))


def interface_description(name: str, description: str, snaplen: int) -> bytes:
    """Return the block of an Ethernet interface whose stamps are nanoseconds; 0 of `snaplen` is no limit."""
    names = (_IF_NAME, _text(name)), (_IF_DESCRIPTION, _text(description))
    return _block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, snaplen) + _options(*names, (_IF_TSRESOL, _NANOSECONDS)))


def interface_statistics(interface: int, start: int, end: int, received: int, dropped: int) -> bytes:
    """Return the block of an interface's counts from `start` to `end` (nanoseconds since 1970)."""
    counts = (_ISB_RECEIVED, struct.pack("<Q", received)), (_ISB_DROPPED, struct.pack("<Q", dropped))
    times = (_ISB_START, _time(start)), (_ISB_END, _time(end))
    return _block(STATISTICS, struct.pack("<I", interface) + _time(end) + _options(*times, *counts))


def _text(text: str) -> bytes:
    return text.encode()[:1024]


def direction_option(direction: int) -> int:
    """Return a packet's option that says INBOUND or OUTBOUND, as the 64-bit word that is written."""
    return _EPB_FLAGS | 4 << 16 | direction << 32


def queue_option(queue: int) -> int:
    """Return a packet's option that names its queue, as the 64-bit word that is written."""
    return _EPB_QUEUE | 4 << 16 | queue << 32


# Reading what another process sends.


def block_at(data: memoryview, at: int) -> tuple[int, int] | None:
    """Return kind and length of the block at `at`, None while it is not whole. Raises ConfigError for what is none."""
    if len(data) - at < 8:
        return None
    kind, length = struct.unpack_from("<II", data, at)
    if length < LEAST_BLOCK or length % 4 or length > MAX_BLOCK:
        raise ConfigError(f"a pcapng block claims {length} bytes; the stream is damaged")
    return (kind, length) if at + length <= len(data) else None


def _options_in(data: memoryview, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Return the options between two offsets: code and value. What is cut short ends them."""
    while at + 4 <= end:
        code, length = struct.unpack_from("<HH", data, at)
        at += 4
        if code == 0 or at + length > end:
            return
        yield code, bytes(data[at : at + length])
        at += -(-length // 4) * 4


def interface_name(block: memoryview) -> str:
    """Return the name in an interface description, "" when it has none."""
    found = dict(_options_in(block, 16, len(block) - 4))
    return found.get(_IF_NAME, b"").decode(errors="replace")


def statistics_counts(block: memoryview) -> tuple[int, int, int]:
    """Return interface, packets received and packets dropped of a statistics block; 0 for a count it has not."""
    if len(block) < 24:
        raise ConfigError(f"a pcapng statistics block has {len(block)} bytes; the stream is damaged")
    found = dict(_options_in(block, 20, len(block) - 4))
    received, dropped = (int.from_bytes(found.get(code, b""), "little") for code in (_ISB_RECEIVED, _ISB_DROPPED))
    return struct.unpack_from("<I", block, 8)[0], received, dropped


@compiled
def packet_run(data: int, length: int, most: int, packets: int) -> int:
    """Return how many bytes at `data` are whole packet blocks, `most` of them at most; their number goes to `packets`.

    The run ends before a block of another kind, one that is not whole, or one that says something impossible.
    """
    at = count = 0
    while count < most and at + PACKET_HEADER_SIZE + 4 <= length:
        block = data + at
        size = load32(block + PACKET_LENGTH)
        least = PACKET_HEADER_SIZE + 4 + load32(block + PACKET_CAPTURED)
        possible = least <= size <= MAX_BLOCK and size % 4 == 0
        if load32(block + PACKET_KIND) != ENHANCED or not possible or at + size > length:
            break
        at += size
        count += 1
    store64(packets, count)
    return at


@compiled
def to_pcap(data: int, length: int, out: int) -> int:
    """Write a run of packet blocks as records of a pcap file with nanoseconds; returns their bytes.

    `length` is what `packet_run` found; as many bytes at `out` suffice.
    """
    at = filled = 0
    while at < length:
        block = data + at
        stamp = load32(block + PACKET_HIGH) << 32 | load32(block + PACKET_LOW)
        captured = load32(block + PACKET_CAPTURED)
        seconds = stamp // _SECOND
        store32(out + filled + _SECONDS, seconds)
        store32(out + filled + _FRACTION, stamp - seconds * _SECOND)
        store32(out + filled + _CAPTURED, captured)
        store32(out + filled + _ORIGINAL, load32(block + PACKET_ORIGINAL))
        copy(out + filled + RECORD_SIZE, block + PACKET_HEADER_SIZE, captured)
        filled += RECORD_SIZE + captured
        at += load32(block + PACKET_LENGTH)
    return filled


class BlockFile:
    """A file that holds whole blocks. Raises ConfigError for a path that cannot be written; "-" is standard output."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.dup(1) if path == "-" else os.open(path, flags, 0o644)
            self._cuttable = stat.S_ISREG(os.fstat(self._fd).st_mode) and path != "-"
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", errno=error.errno) from None

    def put(self, data: bytes | memoryview) -> None:
        """Write whole blocks. Raises OSError when there is no room; the file then ends with those before."""
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.write(self._fd, view[written:])
        except OSError:
            if self._cuttable:
                os.ftruncate(self._fd, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """Close the file. Twice is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
