# SPDX-License-Identifier: BSD-3-Clause
"""A vmxnet3 driven with bare hands, revision 1, one queue each way: enough to see a frame leave and one come.

The layouts are facts of Linux' vmxnet3_defs.h; offsets are from the structures' starts.
"""

from __future__ import annotations

import struct

from pollmode.bus_pci import PciDevice

VMXNET3 = "device=vmxnet3,mac=52:54:00:11:22:33"
MAC = bytes.fromhex("525400112233")
TX_DOORBELL, RX_DOORBELL = 0x600, 0x800  # BAR 0
SELECT_REVISION, SELECT_UPT, SHARED_LOW, SHARED_HIGH, COMMAND = 0x00, 0x08, 0x10, 0x18, 0x20  # BAR 1
ACTIVATE, QUIESCE = 0xCAFE0000, 0xCAFE0001
MAGIC = 0xBABEFEE1
SLOTS = 32
TX_VECTOR, RX_VECTOR, EVENT_VECTOR = 0, 1, 2
CAUSE = 0x38  # BAR 1: reading it ends INTx


class Wire:
    """An active device: shared structures in one zone, rings of 32 slots, a vector for each way.

    With `vectors` 1 all share INTx.
    """

    def __init__(self, device: PciDevice, vectors: int = 3) -> None:
        self.device = device
        self._zone = device.memory.reserve(f"{device}_wire", 32 << 10, 4096)
        self._bytes = self._zone.array("u1", self._zone.size)
        places = range(self._zone.iova, self._zone.iova + self._zone.size, 4096)
        shared, queues, self._tx, tx_done, self._rx, rx_body, rx_done, self._buffer = places
        self._pack("<II", 0, MAGIC, 0)
        self._pack("<IIII", 8, 1, 6, 1, 1)
        self._pack("<QQQIIIHBB", 24, 0, 0, queues, 0, 512, 1500, 1, 1, 1)
        self._pack("<BBB", 80, 0, vectors, EVENT_VECTOR % vectors)
        self._pack("<I", 120, 0x15)  # unicast, broadcast, promiscuous
        sizes = (SLOTS, 0, SLOTS, 0, TX_VECTOR % vectors)
        self._pack("<QQQQQIIIIB", 4096 + 16, self._tx, 0, tx_done, 0, 0, *sizes)
        sizes = (SLOTS, SLOTS, 2 * SLOTS, 0, RX_VECTOR % vectors)
        self._pack("<QQQQQIIIIB", 4096 + 256 + 16, self._rx, rx_body, rx_done, 0, 0, *sizes)
        registers = device.bar(1)
        registers.write32(SELECT_REVISION, 1)
        registers.write32(SELECT_UPT, 1)
        registers.write32(SHARED_LOW, shared & 0xFFFFFFFF)
        registers.write32(SHARED_HIGH, shared >> 32)
        registers.write32(COMMAND, ACTIVATE)
        assert registers.read32(COMMAND) == 0
        for vector in range(vectors):
            device.bar(0).write32(8 * vector, 0)

    def post(self) -> int:
        """Post a buffer of 2048 bytes; returns the doorbell's value."""
        self._pack("<QII", self._rx - self._zone.iova, self._buffer + 2048, 2048 | 1 << 31, 0)
        return 1

    def received(self) -> bytes:
        """Return what came into the buffer."""
        length = struct.unpack_from("<I", bytes(self._bytes[6 * 4096 + 8 :][:4]))[0] & 0x3FFF
        return bytes(self._bytes[7 * 4096 + 2048 :][:length])

    def fill(self, frame: bytes, at: int | None = None) -> int:
        """Make the first transmit descriptor one of `frame`, or of as much elsewhere; returns the doorbell's value."""
        self._bytes[7 * 4096 :][: len(frame)] = list(frame)
        self._pack("<QII", self._tx - self._zone.iova, at or self._buffer, len(frame) | 1 << 14, 1 << 12 | 1 << 13)
        return 1

    def close(self) -> None:
        """Stop the device and free the memory."""
        self.device.bar(1).write32(COMMAND, QUIESCE)
        self.device.bar(1).read32(COMMAND)
        self.device.memory.free(self._zone)

    def _pack(self, form: str, at: int, *words: int) -> None:
        raw = struct.pack(form, *words)
        self._bytes[at : at + len(raw)] = list(raw)
