# SPDX-License-Identifier: BSD-3-Clause
"""An mbuf as text (rte_pktmbuf_dump)."""

from __future__ import annotations

import ctypes
from typing import Final

from pollmode.mbuf import layout
from pollmode.mbuf.check import mbuf_record, require_mbuf, segments

__all__ = ["dump", "flag_names", "hexdump"]

_ROW: Final = 16

# Flags that are values of a field of several bits are compared under the field's mask.
_FIELDS: Final = [
    layout.RX_L4_CKSUM_MASK,
    layout.RX_IP_CKSUM_MASK,
    layout.RX_OUTER_L4_CKSUM_MASK,
    layout.TX_L4_MASK,
    layout.TX_TUNNEL_MASK,
]
_FLAGS: Final[dict[str, int]] = {
    name: value
    for name, value in vars(layout).items()
    if (name.startswith(("RX_", "TX_")) or name in ("INDIRECT", "EXTERNAL"))
    and isinstance(value, int)
    and value
    and not name.endswith("_MASK")
}


def flag_names(flags: int) -> list[str]:
    """Return the names of the offload flags set in `flags`, those of the lowest bits first."""
    named = []
    for name, value in _FLAGS.items():
        mask = next((field for field in _FIELDS if value & ~field == 0), value)
        if flags & mask == value:
            named.append((value, name))
    return [name for _, name in sorted(named)]


def hexdump(content: bytes, start: int = 0) -> str:
    """Return bytes as lines of sixteen: offset (counted from `start`), hexadecimal, text."""
    lines = []
    for at in range(0, len(content), _ROW):
        row = content[at : at + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start + at:08x}: {row.hex(' '):<{_ROW * 3 - 1}} | {text}")
    return "\n".join(lines)


def dump(address: int, length: int = 0) -> str:
    """Return a packet as text: its header, each segment, and its first `length` bytes.

    Raises ConfigError when the packet, or one of its segments, is not an mbuf.
    """
    head = mbuf_record(address)
    lines = [
        f"mbuf at {address:#x} of pool {require_mbuf(address).name}, buffer {head['buf_addr']:#x}"
        f" iova {head['buf_iova']:#x} of {head['buf_len']} bytes",
        f"  pkt_len={head['pkt_len']} nb_segs={head['nb_segs']} port={head['port']} refcnt={head['refcnt']}"
        f" packet_type={head['packet_type']:#x}",
        f"  ol_flags={head['ol_flags']:#x} [{' '.join(flag_names(int(head['ol_flags'])))}]"
        f" vlan_tci={head['vlan_tci']} hash={head['hash_rss']:#x} tx_offload={head['tx_offload']:#x}",
    ]
    offset = 0
    for number, segment in enumerate(segments(address)):
        record = mbuf_record(segment)
        data = int(record["buf_addr"]) + int(record["data_off"])
        held = int(record["data_len"])
        lines.append(
            f"  segment {number} at {segment:#x}: data {data:#x}, data_len={held}, headroom={record['data_off']}"
        )
        shown = min(held, max(0, length - offset))
        if shown:
            lines.append(hexdump(ctypes.string_at(data, shown), offset))
        offset += held
    return "\n".join(lines)
