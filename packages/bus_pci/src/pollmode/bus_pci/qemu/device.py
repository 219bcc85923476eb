# SPDX-License-Identifier: BSD-3-Clause
"""A device model of QEMU as a `PciDevice`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pollmode.bus_pci.access import Bar, Interrupt, PciDevice, all_ones
from pollmode.bus_pci.address import PciAddress, PciId
from pollmode.bus_pci.eventfds import EventInterrupt
from pollmode.bus_pci.layout import (
    CAP_EXPRESS,
    CONFIG,
    CONFIG_SIZE,
    DOORBELL,
    DOORBELL_MESSAGE,
    EXPRESS_CAN_RESET,
    EXPRESS_CAPABILITIES,
    EXPRESS_CONTROL,
    EXPRESS_RESET,
)
from pollmode.bus_pci.msix import MsixCapability
from pollmode.bus_pci.qemu.bells import Bells
from pollmode.bus_pci.qemu.bus import Addresses, Range, place_bars, read_config, write_config
from pollmode.bus_pci.qemu.channel import Channel, Ended
from pollmode.bus_pci.qemu.command import VECTORS
from pollmode.eal.errors import UnsupportedError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["QemuDevice", "read_id"]

_DIGITS = 8


def read_id(channel: Channel, address: PciAddress) -> PciId:
    """Read what a device says it is. Raises Ended."""

    def word(name: str, size: int = 2) -> int:
        return read_config(channel, address, CONFIG[name].offset, size)

    subsystem = word("SUBSYSTEM_VENDOR"), word("SUBSYSTEM_DEVICE")
    return PciId(word("VENDOR"), word("DEVICE"), *subsystem, word("REVISION", 4) >> 8)


class QemuBar(Bar):
    """Registers behind QEMU's test channel."""

    device: QemuDevice

    def __init__(self, device: QemuDevice, index: int, where: Range) -> None:
        super().__init__(device, index, where.size, port=where.port)
        self._where = where

    def _read(self, offset: int, size: int) -> int:
        try:
            return self._where.read(self.device.channel, offset, size)
        except Ended:
            return all_ones(size)

    def _write(self, offset: int, value: int, size: int) -> None:
        with contextlib.suppress(Ended):
            self.device.channel.write(self._where.write_text(offset, value, size))

    def doorbell_fields(self, offset: int, size: int) -> Mapping[str, Any]:
        """Have compiled code send the command that writes."""
        if size > 4:
            raise UnsupportedError(f"a doorbell of {size} bytes at {self.device} is not supported yet: 4 at most")
        line = self._where.write_text(offset, 0, size).encode() + b"\n"
        room = DOORBELL["text"].shape[0]
        text = np.frombuffer(line.ljust(room, b"\0"), np.uint8)
        return {
            "kind": DOORBELL_MESSAGE,
            "fd": self.device.channel.socket.fileno(),
            "length": len(line),
            "digits": len(line) - 1 - _DIGITS,
            "text": text,
        }


class QemuDevice(PciDevice):
    """A device of a QEMU process. Its memory is the EAL's: addresses are offsets in the region."""

    bars: dict[int, QemuBar]

    def __init__(self, address: PciAddress, memory: Memory, channel: Channel, bells: Bells, places: Addresses) -> None:
        super().__init__(address, memory)
        self.channel = channel
        self._bells = bells
        self.config_size = CONFIG_SIZE
        try:
            self.id = read_id(channel, address)
            self._ranges = place_bars(channel, address, places.take)
        except Ended:
            self.id, self._ranges, self.gone = PciId(0xFFFF, 0xFFFF), {}, True
        self.bars = {index: QemuBar(self, index, where) for index, where in self._ranges.items()}
        self._msix = MsixCapability.find(self)
        self.interrupt_limit = min(self._msix.vectors, VECTORS) if self._msix else 0
        self._interrupts: list[EventInterrupt] = []
        self._words: list[int] = []

    def interrupts(self, count: int) -> list[Interrupt]:
        """Have MSI-X vectors raise eventfds."""
        if count > self.interrupt_limit:
            raise UnsupportedError(f"{self} can have {self.interrupt_limit} interrupts (MSI-X), not {count}")
        self._drop_interrupts()
        if count == 0 or self._msix is None:
            return []
        made = [EventInterrupt(functools.partial(self._hold, vector)) for vector in range(count)]
        self._interrupts = made
        with contextlib.suppress(Ended):
            self._words = self._bells.hang(self.channel, [interrupt.fd for interrupt in made])
            for vector, word in enumerate(self._words):
                self._msix.program(self, vector, self._bells.address, word)
            self._msix.enable(self, True)
        return list(made)

    def reset(self) -> bool:
        """Reset the function where it can be (PCIe 7.5.3.4); interrupts are taken away, the BARs stay."""
        express = self.capability(CAP_EXPRESS)
        if express is None or not self.config_read(express + EXPRESS_CAPABILITIES, 4) & EXPRESS_CAN_RESET:
            return False
        self._drop_interrupts()
        control = self.config_read(express + EXPRESS_CONTROL, 2)
        self.config_write(express + EXPRESS_CONTROL, control | EXPRESS_RESET, 2)
        starts = iter(where.start for where in self._ranges.values())
        with contextlib.suppress(Ended):
            place_bars(self.channel, self.address, lambda size, port: next(starts))
        return not self.gone

    def _hold(self, vector: int, on: bool) -> None:
        if self._msix is not None:
            self._msix.mask(self, vector, on=on)

    def _drop_interrupts(self) -> None:
        if self._words and self._msix is not None:
            self._msix.enable(self, False)
            with contextlib.suppress(Ended):
                self._bells.take_down(self._words[0])
        for interrupt in self._interrupts:
            interrupt.close()
        self._words, self._interrupts = [], []

    def _config_read(self, offset: int, size: int) -> int:
        try:
            return read_config(self.channel, self.address, offset, size)
        except Ended:
            return all_ones(size)

    def _config_write(self, offset: int, value: int, size: int) -> None:
        with contextlib.suppress(Ended):
            write_config(self.channel, self.address, offset, value, size)

    def _close(self) -> None:
        self._drop_interrupts()
