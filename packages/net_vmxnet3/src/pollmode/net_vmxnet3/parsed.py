# SPDX-License-Identifier: BSD-3-Clause
"""What a received completion says of a packet's headers, as an mbuf says it: a table in place of branches."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from pollmode.mbuf.layout import RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD
from pollmode.net.ptype import L2_ETHER, L3_IPV4_EXT_UNKNOWN, L3_IPV6_EXT_UNKNOWN, L4_FRAG, L4_TCP, L4_UDP

from .layout import RCD_FRG, RCD_IPC, RCD_PARSED, RCD_TCP, RCD_TUC, RCD_UDP, RCD_V4, RCD_V6
from .records import PARSED_BITS, PARSED_TABLE

__all__ = ["parsed_table"]


def _packet_type(word: int) -> int:
    """Return the packet type; the device does not say whether there are options or extension headers."""
    layer3 = L3_IPV4_EXT_UNKNOWN if RCD_V4.get(word) else L3_IPV6_EXT_UNKNOWN if RCD_V6.get(word) else 0
    if not layer3:
        return L2_ETHER
    layer4 = L4_TCP if RCD_TCP.get(word) else L4_UDP if RCD_UDP.get(word) else 0
    if RCD_FRG.get(word):
        layer4 = L4_FRAG
    return L2_ETHER | layer3 | layer4


def _flags(word: int) -> int:
    """Return the checksum flags of a packet whose checksums the device calculated."""
    flags = 0
    if RCD_V4.get(word):
        flags |= RX_IP_CKSUM_GOOD if RCD_IPC.get(word) else RX_IP_CKSUM_BAD
    if (RCD_V4.get(word) or RCD_V6.get(word)) and (RCD_TCP.get(word) or RCD_UDP.get(word)) and not RCD_FRG.get(word):
        flags |= RX_L4_CKSUM_GOOD if RCD_TUC.get(word) else RX_L4_CKSUM_BAD
    return flags


@functools.cache
def parsed_table(checksums: bool) -> npt.NDArray[np.int64]:
    """Return the table that `rx.parsed` looks into; without `checksums` nothing is said of them.

    An index is the bits of RCD_PARSED, and RCD_CNC above them.
    """
    table = np.zeros(PARSED_TABLE, np.int64)
    for index in range(PARSED_TABLE):
        word = (index << RCD_PARSED.shift) & RCD_PARSED.mask
        calculated = checksums and index >> PARSED_BITS == 0
        table[index] = _packet_type(word) << 32 | (_flags(word) if calculated else 0)
    return table
