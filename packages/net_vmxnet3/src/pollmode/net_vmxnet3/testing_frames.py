# SPDX-License-Identifier: BSD-3-Clause
"""What the model of the device does with a frame's bytes: headers, checksums, segmentation, tags, hashes.

Plain Python on purpose: it is read beside the standards, and moves packets for a test to look at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .layout import (
    FIELD_UDP4,
    FIELD_UDP6,
    HASH_IPV4,
    HASH_IPV6,
    HASH_TCP4,
    HASH_TCP6,
    OM_CSUM,
    OM_TSO,
    RCD_IPC,
    RCD_TCP,
    RCD_TUC,
    RCD_UDP,
    RCD_V4,
    RCD_V6,
    RSS_TYPE_IPV4,
    RSS_TYPE_IPV6,
    RSS_TYPE_NONE,
    RSS_TYPE_TCP4,
    RSS_TYPE_TCP6,
    TXD_HLEN,
    TXD_MSSCOF,
    TXD_OM,
    TXD_TCI,
    TXD_TI,
)

__all__ = ["Headers", "checksum", "parse", "pseudo", "segments", "strip_tag", "toeplitz"]

ETHERNET, TAG = 14, 4
VLAN, IPV4, IPV6 = 0x8100, 0x0800, 0x86DD
TCP, UDP = 6, 17
_TCP_FIN_PSH = 0x09


def checksum(data: bytes) -> int:
    """Return the internet checksum of `data` (RFC 1071)."""
    words = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Headers:
    """Where a frame's headers are: IP version (0: none), protocol (0: none that matters), offsets in bytes."""

    version: int
    protocol: int
    ip: int
    layer4: int
    addresses: bytes
    ip_good: bool
    layer4_good: bool


def pseudo(addresses: bytes, protocol: int, length: int) -> bytes:
    """Return the pseudo header of `length` bytes of TCP or UDP (RFC 9293, 3.1; RFC 8200, 8.1)."""
    if len(addresses) == 8:
        return addresses + struct.pack(">BBH", 0, protocol, length)
    return addresses + struct.pack(">IHBB", length, 0, 0, protocol)


def parse(frame: bytes) -> Headers:
    """Return what the device finds in a frame, whose tag is stripped or not; a fragment has no layer 4."""
    at = ETHERNET + (TAG if frame[12:14] == struct.pack(">H", VLAN) else 0)
    kind = int.from_bytes(frame[at - 2 : at], "big")
    none = Headers(0, 0, at, at, b"", False, False)
    if kind == IPV4 and len(frame) >= at + 20:
        size, whole = (frame[at] & 15) * 4, int.from_bytes(frame[at + 2 : at + 4], "big")
        if size < 20 or whole < size or len(frame) < at + whole:  # CVE-2016-6835
            return none
        fragment = int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
        protocol = 0 if fragment else frame[at + 9]
        good = checksum(frame[at : at + size]) == 0
        return _layer4(frame, 4, protocol, at, at + size, frame[at + 12 : at + 20], at + whole, good)
    if kind == IPV6 and len(frame) >= at + 40:
        whole = 40 + int.from_bytes(frame[at + 4 : at + 6], "big")
        if len(frame) < at + whole:
            return none
        return _layer4(frame, 6, frame[at + 6], at, at + 40, frame[at + 8 : at + 40], at + whole, True)
    return none


def _layer4(
    frame: bytes, version: int, protocol: int, ip: int, start: int, addresses: bytes, end: int, ip_good: bool
) -> Headers:
    least = {TCP: 20, UDP: 8}.get(protocol, 0)
    if least == 0 or end - start < least:
        return Headers(version, 0, ip, start, addresses, ip_good, False)
    data = frame[start:end]
    good = checksum(pseudo(addresses, protocol, len(data)) + data) == 0
    return Headers(version, protocol, ip, start, addresses, ip_good, good)


def completion_word(found: Headers) -> int:
    """Return what a receive completion's second word says of the headers."""
    word = {4: RCD_V4.mask, 6: RCD_V6.mask}.get(found.version, 0)
    word |= {TCP: RCD_TCP.mask, UDP: RCD_UDP.mask}.get(found.protocol, 0)
    word |= RCD_IPC.mask if found.version == 4 and found.ip_good else 0
    return word | (RCD_TUC.mask if found.protocol and found.layer4_good else 0)


def strip_tag(frame: bytes) -> tuple[bytes, int | None]:
    """Return a frame without its tag, and the tag, None when it has none."""
    if len(frame) < ETHERNET + TAG or frame[12:14] != struct.pack(">H", VLAN):
        return frame, None
    return frame[:12] + frame[16:], int.from_bytes(frame[14:16], "big")


def toeplitz(key: bytes, data: bytes) -> int:
    """Return the Toeplitz hash of `data` (Microsoft's "RSS hashing functions")."""
    window, result = int.from_bytes(key, "big"), 0
    bits = 8 * len(key)
    for place in range(8 * len(data)):
        if data[place // 8] >> (7 - place % 8) & 1:
            result ^= (window >> (bits - 32 - place)) & 0xFFFFFFFF
    return result


def hash_of(found: Headers, frame: bytes, key: bytes, types: int, fields: int) -> tuple[int, int]:
    """Return the RSS type and hash of a frame under these hash types (HASH_*) and fields (FIELD_*)."""
    ports = frame[found.layer4 : found.layer4 + 4]
    tcp = {4: (HASH_TCP4, RSS_TYPE_TCP4), 6: (HASH_TCP6, RSS_TYPE_TCP6)}
    plain = {4: (HASH_IPV4, RSS_TYPE_IPV4), 6: (HASH_IPV6, RSS_TYPE_IPV6)}
    if found.version == 0:
        return RSS_TYPE_NONE, 0
    if found.protocol == TCP and types & tcp[found.version][0]:
        return tcp[found.version][1], toeplitz(key, found.addresses + ports)
    kind = plain[found.version][1]
    if found.protocol == UDP and fields & (FIELD_UDP4 if found.version == 4 else FIELD_UDP6):
        return kind, toeplitz(key, found.addresses + ports)
    return (kind, toeplitz(key, found.addresses)) if types & plain[found.version][0] else (RSS_TYPE_NONE, 0)


def segments(frame: bytes, word: int) -> list[bytes]:
    """Return the frames that go out for one sent with this first descriptor's second word. Raises ValueError when the
    offload it asks for cannot be done to this frame.
    """
    mode, headers, place = TXD_OM.get(word), TXD_HLEN.get(word), TXD_MSSCOF.get(word)
    if mode == OM_CSUM:
        frames = [_with_checksum(frame, headers, place)]
    elif mode == OM_TSO:
        frames = _segmented(frame, headers, place)
    else:
        frames = [frame]
    if TXD_TI.get(word):
        tag = struct.pack(">HH", VLAN, TXD_TCI.get(word))
        frames = [frame[:12] + tag + frame[12:] for frame in frames]
    return frames


def _with_checksum(frame: bytes, start: int, place: int) -> bytes:
    if not start <= place <= len(frame) - 2:
        raise ValueError(f"a checksum at {place} of a frame of {len(frame)} bytes, summed from {start}")
    return frame[:place] + struct.pack(">H", checksum(frame[start:]) or 0xFFFF) + frame[place + 2 :]


def _segmented(frame: bytes, headers: int, size: int) -> list[bytes]:
    if size == 0 or not ETHERNET + 40 <= headers < len(frame):
        raise ValueError(f"a segmentation into {size} bytes of a frame of {len(frame)} with {headers} of headers")
    version = frame[ETHERNET] >> 4
    start = ETHERNET + ((frame[ETHERNET] & 15) * 4 if version == 4 else 40)
    payload, frames = frame[headers:], []
    for number, offset in enumerate(range(0, len(payload), size)):
        head, piece = bytearray(frame[:headers]), payload[offset : offset + size]
        length = len(head) + len(piece) - ETHERNET
        sequence = int.from_bytes(head[start + 4 : start + 8], "big") + offset
        struct.pack_into(">I", head, start + 4, sequence & 0xFFFFFFFF)
        if offset + size < len(payload):
            head[start + 13] &= ~_TCP_FIN_PSH
        addresses = bytes(head[ETHERNET + 12 : ETHERNET + 20] if version == 4 else head[ETHERNET + 8 : ETHERNET + 40])
        if version == 4:
            ident = int.from_bytes(head[ETHERNET + 4 : ETHERNET + 6], "big") + number
            struct.pack_into(">HH", head, ETHERNET + 2, length, ident & 0xFFFF)
            struct.pack_into(">H", head, ETHERNET + 10, 0)
            struct.pack_into(">H", head, ETHERNET + 10, checksum(bytes(head[ETHERNET:start])))
        else:
            struct.pack_into(">H", head, ETHERNET + 4, length - 40)
        struct.pack_into(">H", head, start + 16, 0)
        layer4 = bytes(head[start:]) + piece
        struct.pack_into(">H", head, start + 16, checksum(pseudo(addresses, TCP, len(layer4)) + layer4))
        frames.append(bytes(head) + piece)
    return frames
