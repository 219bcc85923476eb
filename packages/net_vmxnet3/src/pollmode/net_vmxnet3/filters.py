# SPDX-License-Identifier: BSD-3-Clause
"""What the device lets in: receive mode, VLAN table, multicast table. Kept here, so that a start sets it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .layout import (
    CMD_UPDATE_MAC_FILTERS,
    CMD_UPDATE_RX_MODE,
    CMD_UPDATE_VLAN_FILTERS,
    RXM_ALL_MULTI,
    RXM_BCAST,
    RXM_MCAST,
    RXM_PROMISC,
    RXM_UCAST,
    VFT_WORDS,
)
from .shared import Shared

__all__ = ["Filters"]

WORD32 = 0xFFFFFFFF


class Filters:
    """The filters as the application wants them."""

    def __init__(self) -> None:
        self.promiscuous = self.allmulticast = self.vlan_filter = False
        self.groups: tuple[bytes, ...] = ()
        self._vlans = np.zeros(VFT_WORDS, np.uint32)
        self.let_vlan(0, True)  # frames without a tag

    def let_vlan(self, vlan: int, on: bool) -> None:
        """Let a VLAN id pass, or not; frames without a tag always pass."""
        bit = np.uint32(1 << vlan % 32)
        if on or vlan == 0:
            self._vlans[vlan // 32] |= bit
        else:
            self._vlans[vlan // 32] &= ~bit

    @property
    def mode(self) -> int:
        """The receive mode (RXM_*)."""
        mode = RXM_UCAST | RXM_BCAST
        mode |= RXM_MCAST if self.groups else 0
        mode |= RXM_ALL_MULTI if self.allmulticast else 0
        return mode | (RXM_PROMISC if self.promiscuous else 0)

    @property
    def vlans(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """The VLAN table as the device gets it: all pass without a filter; promiscuous mode asks for none."""
        if self.promiscuous:
            return np.zeros(VFT_WORDS, np.uint32)
        return self._vlans if self.vlan_filter else np.full(VFT_WORDS, WORD32, np.uint32)

    def apply(self, shared: Shared, command: Callable[[int], int], groups: Sequence[bytes] | None = None) -> None:
        """Hand everything to an active device. `groups` is a new multicast table; raises HostError without memory."""
        if groups is not None:
            shared.set_groups(groups)
        shared.set_rx_mode(self.mode)
        shared.set_vlans(self.vlans)
        for code in (CMD_UPDATE_RX_MODE, CMD_UPDATE_VLAN_FILTERS, CMD_UPDATE_MAC_FILTERS):
            command(code)
