# SPDX-License-Identifier: BSD-3-Clause
"""A packet as the verbose modes print it (DPDK's dump_pkt_burst)."""

from __future__ import annotations

from dataclasses import dataclass

from pollmode.mbuf import flag_names, layout
from pollmode.net.ptype import (
    L2_LENGTH_MASK,
    L3_LENGTH_MASK,
    L3_LENGTH_SHIFT,
    L4_LENGTH_MASK,
    L4_LENGTH_SHIFT,
    LENGTHS_SHIFT,
    TYPE_MASK,
    names,
)
from pollmode.testpmd.report import mac_text

__all__ = ["SeenPacket", "burst_head", "packet_lines"]

RX_FIELDS = {
    "RX_L4_CKSUM": layout.RX_L4_CKSUM_MASK,
    "RX_IP_CKSUM": layout.RX_IP_CKSUM_MASK,
    "RX_OUTER_L4_CKSUM": layout.RX_OUTER_L4_CKSUM_MASK,
}


@dataclass(frozen=True)
class SeenPacket:
    """What is shown of a packet; `headers` is what `net.ptype.parse_headers` found."""

    frame: bytes
    pool: str
    length: int
    segments: int
    flags: int
    packet_type: int
    headers: int
    vlan: int = 0
    outer_vlan: int = 0
    rss: int = 0


def burst_head(port: int, queue: int, way: str, count: int) -> str:
    """Return the line above the packets of a burst."""
    return f"port {port}/queue {queue}: {'received' if way == 'rx' else 'sent'} {count} packets"


def packet_lines(packet: SeenPacket, way: str, queue: int) -> str:
    """Return the two lines of a packet."""
    frame = packet.frame.ljust(14, b"\0")
    parts = [
        f"  src={mac_text(frame[6:12])}",
        f"dst={mac_text(frame[:6])}",
        f"pool={packet.pool}",
        f"type=0x{int.from_bytes(frame[12:14], 'big'):04x}",
        f"length={packet.length}",
        f"nb_segs={packet.segments}",
        *_receive_parts(packet, queue),
        *_type_parts(packet),
        f"{'Receive' if way == 'rx' else 'Send'} queue={queue:#x}",
    ]
    return f"{' - '.join(parts)}\n  ol_flags: {_flags(packet.flags, way)} "


def _receive_parts(packet: SeenPacket, queue: int) -> list[str]:
    parts = []
    if packet.flags & layout.RX_RSS_HASH:
        parts += [f"RSS hash={packet.rss:#x}", f"RSS queue={queue:#x}"]
    if packet.flags & layout.RX_QINQ:
        parts.append(f"QinQ VLAN tci={packet.vlan:#x}, VLAN tci outer={packet.outer_vlan:#x}")
    elif packet.flags & layout.RX_VLAN:
        parts.append(f"VLAN tci={packet.vlan:#x}")
    return parts


def _type_parts(packet: SeenPacket) -> list[str]:
    parts = [f"hw ptype: {names(packet.packet_type)} "] if packet.packet_type else []
    parts.append(f"sw ptype: {names(packet.headers & TYPE_MASK)} ")
    lengths = packet.headers >> LENGTHS_SHIFT
    for name, length in (
        ("l2", lengths & L2_LENGTH_MASK),
        ("l3", lengths >> L3_LENGTH_SHIFT & L3_LENGTH_MASK),
        ("l4", lengths >> L4_LENGTH_SHIFT & L4_LENGTH_MASK),
    ):
        if length:
            parts.append(f"{name}_len={length}")
    return parts


def _flags(flags: int, way: str) -> str:
    """Return the names of the flags; those of a checksum that nobody looked at say so, as in DPDK."""
    found = [name for name in flag_names(flags) if name.startswith(way.upper())]
    if way == "tx":
        found += [] if flags & layout.TX_L4_MASK else ["TX_L4_NO_CKSUM"]
    else:
        found += [f"{name}_UNKNOWN" for name, mask in RX_FIELDS.items() if not flags & mask]
    return " ".join(f"RTE_MBUF_F_{name}" for name in found)
