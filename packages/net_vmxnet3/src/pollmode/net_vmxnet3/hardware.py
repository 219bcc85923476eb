# SPDX-License-Identifier: BSD-3-Clause
"""The device's registers as the control plane uses them: revision, commands, address, events, interrupt masks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pollmode.eal.errors import DeviceFault, UnsupportedError

from .layout import (
    BAR_PASS_THROUGH,
    BAR_VIRTUAL,
    CAP_ESP_RSS4,
    CAP_ESP_RSS6,
    CAP_UDP_RSS,
    CMD,
    CMD_ACTIVATE,
    CMD_GET_DCR0,
    CMD_GET_LINK,
    CMD_GET_MAX_QUEUES_CONF,
    CMD_GET_TXDATA_DESC_SIZE,
    CMD_QUIESCE,
    CMD_RESET,
    DATA_STEP,
    DCR,
    DCR_ERROR,
    DSAH,
    DSAL,
    ECR,
    EXT_MAX_QUEUES,
    ICR,
    IMR,
    LAST_REVISION,
    LINK_SPEED,
    LINK_UP,
    MACH,
    MACL,
    MAX_RX_QUEUES,
    MAX_TX_QUEUES,
    REGISTER_STRIDE,
    TX_DATA_MAX,
    TX_DATA_SIZE,
    UVRS,
    VRRS,
)

if TYPE_CHECKING:
    from pollmode.bus_pci import PciDevice

__all__ = ["Hardware"]

WORD32 = 0xFFFFFFFF
UPT_1 = 1


class Hardware:
    """An open device whose revision was negotiated: the highest that both sides know. It is left silent.

    `revision` is 1 to 7. Raises UnsupportedError when there is none, or no UPT version, in common.
    """

    def __init__(self, name: str, pci: PciDevice) -> None:
        self.pci = pci
        self._name = name
        self._bar0, self._bar1 = pci.bar(BAR_PASS_THROUGH), pci.bar(BAR_VIRTUAL)
        self._lock = threading.Lock()
        offered = self._bar1.read32(VRRS)
        known = offered & ((1 << LAST_REVISION) - 1)
        if pci.gone or not known:
            raise UnsupportedError(f"{name}: the device offers revisions {offered:#x}, we know 1 to {LAST_REVISION}")
        self.revision = known.bit_length()
        self._bar1.write32(VRRS, 1 << (self.revision - 1))
        versions = self._bar1.read32(UVRS)
        if not versions & UPT_1:
            raise UnsupportedError(f"{name}: the device offers UPT versions {versions:#x}, we know 1")
        self._bar1.write32(UVRS, UPT_1)
        self.capabilities = self._choose_capabilities()
        self.command(CMD_QUIESCE)
        self.max_rx_queues, self.max_tx_queues = self._queue_limits()
        self.tx_data_size = self._tx_data_size()

    def command(self, code: int) -> int:
        """Have the device do a command and return its result; all ones when the device is gone."""
        with self._lock:
            self._bar1.write32(CMD, code)
            return self._bar1.read32(CMD)

    def _choose_capabilities(self) -> int:
        """Select what we use of revision 7's capabilities: RSS fields; neither the large BAR nor other orders."""
        if self.revision < LAST_REVISION:
            return 0
        offered = self._bar1.read32(DCR)
        if offered & DCR_ERROR:
            return 0
        self._bar1.write32(DCR, offered & (CAP_UDP_RSS | CAP_ESP_RSS4 | CAP_ESP_RSS6))
        return self.command(CMD_GET_DCR0)

    def _queue_limits(self) -> tuple[int, int]:
        told = self.command(CMD_GET_MAX_QUEUES_CONF) if self.revision >= 6 else 0
        rx, tx = told >> 8 & 0xFF, told & 0xFF
        if not rx or not tx:
            return MAX_RX_QUEUES, MAX_TX_QUEUES
        return min(rx, EXT_MAX_QUEUES), min(tx, EXT_MAX_QUEUES)

    def _tx_data_size(self) -> int:
        told = self.command(CMD_GET_TXDATA_DESC_SIZE) if self.revision >= 3 else TX_DATA_SIZE
        return told if TX_DATA_SIZE <= told <= TX_DATA_MAX and told % DATA_STEP == 0 else TX_DATA_SIZE

    # Life.

    def activate(self, shared: int) -> None:
        """Hand over the shared memory at the device's address `shared`. Raises DeviceFault when it is refused."""
        self._bar1.write32(DSAL, shared & WORD32)
        self._bar1.write32(DSAH, shared >> 32)
        result = self.command(CMD_ACTIVATE)
        if result != 0:
            why = "it is gone" if self.pci.gone else f"its answer is {result:#x}"
            raise DeviceFault(f"{self._name}: the device refuses to be activated: {why}", word=result)

    def silence(self) -> None:
        """Let go of the shared memory: the device reads and writes no memory any more."""
        self.command(CMD_QUIESCE)
        self.command(CMD_RESET)

    # Address, link, events, interrupts.

    def mac(self) -> bytes:
        """Return the present address."""
        low, high = self._bar1.read32(MACL), self._bar1.read32(MACH)
        return low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")

    def set_mac(self, mac: bytes) -> None:
        """Set the address; the device has it on return."""
        self._bar1.write32(MACL, int.from_bytes(mac[:4], "little"))
        self._bar1.write32(MACH, int.from_bytes(mac[4:], "little"))
        self._bar1.read32(MACH)  # writes are posted, a read waits for them

    def link(self) -> tuple[bool, int]:
        """Return whether the link is up, and its speed in Mbps, 0 when it is not told."""
        answer = self.command(CMD_GET_LINK)
        return not self.pci.gone and bool(LINK_UP.get(answer)), LINK_SPEED.get(answer)

    def acknowledge(self, events: int) -> None:
        """Acknowledge events (ECR_*), which the device told in shared memory; lower an INTx."""
        self._bar1.read32(ICR)
        if events:
            self._bar1.write32(ECR, events)

    def mask(self, vector: int, masked: bool) -> None:
        """Mask an interrupt, or let it come."""
        self._bar0.write32(IMR + REGISTER_STRIDE * vector, int(masked))
