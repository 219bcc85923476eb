# SPDX-License-Identifier: BSD-3-Clause
"""A model of the device in this process, revisions 1 to 7, for tests of the driver and of programs on top of it.

    model = Model(memory, revision=3)
    port = ports.add(Vmxnet3("vmxnet3", model.device, environment))
    ...
    model.deliver(frame)          # by filters, tags, checksums and hashes as the driver configured them
    model.collect()               # what the driver sent, after the offloads it asked for
    model.set_link(False)         # an event and its interrupt
    model.complete("rx", 0, word0, word1)   # anything at all: hostile on demand

It is stricter than QEMU's: ring sizes, alignments and counts are checked when it is activated, a doorbell's value says
how far a ring may be read, and memory is read only where the EAL's memory is. The rings are walked by compiled code
(`testing_rings`); `flood` and `drain` are made for measuring.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pollmode.bus_pci import PciAddress, PciId
from pollmode.bus_pci.testing import FakeDevice

from . import testing_rings as rings
from .layout import (
    BAR0_SIZE,
    BAR1_SIZE,
    DEVICE,
    ECR_LINK,
    F_LRO,
    F_RSS,
    F_RXCSUM,
    F_RXVLAN,
    HASH_TOEPLITZ,
    LAST_REVISION,
    RCD_CNC,
    RCD_ERR,
    RCD_FCS,
    RCD_HASH,
    RCD_MSS,
    RCD_RSS_TYPE,
    RCD_SEGCNT,
    RCD_TCI,
    RCD_TS,
    RCD_TYPE,
    RXM_ALL_MULTI,
    RXM_BCAST,
    RXM_MCAST,
    RXM_PROMISC,
    RXM_UCAST,
    TYPE_RX,
    TYPE_RX_LRO,
    VENDOR,
)
from .testing_frames import completion_word, hash_of, parse, segments, strip_tag
from .testing_registers import Registers

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["Model", "Sent"]

Direction = Literal["rx", "tx"]
MAX_FRAME = 1 << 18
BROADCAST = b"\xff" * 6
_MAC = bytes.fromhex("005056000001")
_numbers = itertools.count()


@dataclass(frozen=True)
class Sent:
    """A packet the driver sent: by which queue, in how many descriptors, asking for what; the frames that go out."""

    queue: int
    descriptors: int
    word: int
    frames: list[bytes]

    @property
    def frame(self) -> bytes:
        """The frame, when it is one."""
        (frame,) = self.frames
        return frame


class Model:
    """A vmxnet3 device; `device` is what a driver's probe gets.

    `revision` is the highest it offers, `mac` its address, `speed` the link's in Mbps. `wants_rx_doorbells` makes it
    read receive rings only as far as it was told; `threshold` is how many packets it wants to be told of at once.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        revision: int = LAST_REVISION,
        mac: bytes = _MAC,
        speed: int = 10000,
        wants_rx_doorbells: bool = True,
        threshold: int = 1,
        rx_queues: int = 32,
        tx_queues: int = 32,
    ) -> None:
        self.memory = memory
        number = next(_numbers)
        name = f"model {number}"
        address = PciAddress(0xFA, number >> 5 & 0xFF, number & 31, 0)
        self.device = FakeDevice(memory, PciId(VENDOR, DEVICE), {0: BAR0_SIZE, 1: BAR1_SIZE}, address=address)
        self.registers = Registers(memory, self.device, revision, mac, speed)
        self.registers.wants_rx_doorbells, self.registers.threshold = wants_rx_doorbells, threshold
        self.registers.limits = (rx_queues, tx_queues)
        self._area = memory.reserve(f"{name} frames", MAX_FRAME)

    def close(self) -> None:
        """Give its memory back, after the driver closed the device."""
        self.registers.deactivate()
        self.device.close()
        self.memory.free(self._area)

    # How it stands.

    @property
    def active(self) -> bool:
        """Whether the driver activated it."""
        return self.registers.active

    @property
    def mac(self) -> bytes:
        """Its present address."""
        return self.registers.mac

    def queue(self, direction: Direction, number: int) -> int:
        """Return the address of a queue's record, for the functions of `testing_rings`."""
        return self.registers.queue(direction, number).address

    def record(self, direction: Direction, number: int) -> np.void:
        """Return a queue's MODEL_QUEUE record."""
        return self.registers.queue(direction, number).record

    # By the rules.

    def deliver(self, frame: bytes, *, queue: int | None = None, damaged: bool = False) -> int | None:
        """Receive a frame from the wire; returns the queue it went to, None when it was filtered or lost.

        `queue` overrides RSS; `damaged` sets the completion's error and clears its CRC bit.
        """
        conf = self.registers
        if not conf.active or not self.passes(frame):
            return None
        word0, word1 = 0, TYPE_RX << RCD_TYPE.shift
        stripped, tag = strip_tag(frame)
        if tag is not None and conf.features & F_RXVLAN:
            frame = stripped
            word1 |= RCD_TS.mask | RCD_TCI.put(0, tag)
        found = parse(frame)
        if conf.features & F_RXCSUM and found.version:
            word1 |= completion_word(found)
        else:
            word0 |= RCD_CNC.mask
        if conf.features & F_RSS and conf.rss is not None and conf.rss.func == HASH_TOEPLITZ:
            kind, hashed = hash_of(found, frame, conf.rss.key, conf.rss.types, conf.rss_fields)
            word0 |= RCD_RSS_TYPE.put(0, kind) | RCD_HASH.put(0, hashed)
            if queue is None and kind:
                queue = conf.rss.table[hashed % len(conf.rss.table)]
        word1 |= RCD_ERR.mask if damaged else RCD_FCS.mask
        return self._give(queue or 0, frame, word0, word1)

    def deliver_coalesced(self, frame: bytes, packets: int, size: int, *, queue: int = 0) -> int | None:
        """Receive a frame that the device made of `packets` TCP segments of `size` bytes (LRO); size 0: untold.

        Raises ValueError when the driver has not asked for LRO.
        """
        if not self.registers.features & F_LRO:
            raise ValueError("the driver did not ask for LRO")
        word1 = TYPE_RX_LRO << RCD_TYPE.shift | RCD_MSS.put(0, size) | completion_word(parse(frame))
        return self._give(queue, frame, RCD_SEGCNT.put(0, packets), word1)

    def _give(self, queue: int, frame: bytes, word0: int, word1: int) -> int | None:
        ctypes.memmove(self._area.address, frame, len(frame))
        given = rings.give(self.queue("rx", queue), self._area.address, len(frame), signed(word0), signed(word1))
        if given == 1:
            kind = "broadcast" if frame[:6] == BROADCAST else "multicast" if frame[0] & 1 else "unicast"
            counts = self.registers.queue("rx", queue).counts
            counts[f"{kind}_packets"] += 1
            counts[f"{kind}_bytes"] += len(frame)
        self.registers.check_queues()
        return queue if given == 1 else None

    def passes(self, frame: bytes) -> bool:
        """Return whether the filters let a frame through: address by mode and table, VLAN by table."""
        conf, to = self.registers, frame[:6]
        if conf.rx_mode & RXM_PROMISC:
            return True
        if to == BROADCAST:
            address = conf.rx_mode & RXM_BCAST
        elif to[0] & 1:
            address = conf.rx_mode & RXM_ALL_MULTI or (conf.rx_mode & RXM_MCAST and to in conf.multicast)
        else:
            address = conf.rx_mode & RXM_UCAST and to == conf.mac
        _, tag = strip_tag(frame)
        vlan = (tag or 0) & 0xFFF
        return bool(address) and bool(conf.vlans[vlan // 32] >> vlan % 32 & 1)

    def collect(self, queue: int | None = None) -> list[Sent]:
        """Take what the driver sent by a queue, or by all, and complete it."""
        sent = []
        for number in range(self.registers.tx_queues) if queue is None else [queue]:
            record = self.record("tx", number)
            while (length := rings.take(self.queue("tx", number), self._area.address, MAX_FRAME)) >= 0:
                data = ctypes.string_at(self._area.address, length)
                word = int(record["word"])
                sent.append(Sent(number, int(record["segments"]), word, self._segmented(number, data, word)))
        self.registers.check_queues()
        return sent

    def _segmented(self, queue: int, data: bytes, word: int) -> list[bytes]:
        counts = self.registers.queue("tx", queue).counts
        try:
            frames = segments(data, word)
        except ValueError:
            counts["error_packets"] += 1
            return []
        kind = "broadcast" if data[:6] == BROADCAST else "multicast" if data[0] & 1 else "unicast"
        counts[f"{kind}_packets"] += len(frames)
        counts[f"{kind}_bytes"] += sum(map(len, frames))
        return frames

    def set_link(self, up: bool) -> None:
        """Take the link up or down: an event, and its interrupt."""
        self.registers.link_up = up
        self.registers.raise_event(ECR_LINK)

    # For measuring.

    def flood(self, frame: bytes, count: int, queue: int = 0) -> int:
        """Receive a frame up to `count` times, as it is; returns how often there was a buffer."""
        ctypes.memmove(self._area.address, frame, len(frame))
        word1 = TYPE_RX << RCD_TYPE.shift | RCD_FCS.mask
        return rings.flood(self.queue("rx", queue), self._area.address, len(frame), count, RCD_CNC.mask, word1)

    def drain(self, count: int = MAX_FRAME, queue: int = 0) -> int:
        """Take up to `count` sent packets without looking at them; returns how many."""
        return rings.drain(self.queue("tx", queue), count, MAX_FRAME)

    def forward(self, tx_queue: int, other: Model, rx_queue: int, limit: int = 1 << 12) -> int:
        """Give what a queue sent to another model's driver; returns how many packets."""
        word1 = TYPE_RX << RCD_TYPE.shift | RCD_FCS.mask
        source, target = self.queue("tx", tx_queue), other.queue("rx", rx_queue)
        return rings.forward(source, target, self._area.address, MAX_FRAME, limit, word1)

    # Against the rules.

    def complete(self, direction: Direction, queue: int, word0: int, word1: int) -> int:
        """Write a completion, whatever it says, with the generation that makes it seen; returns its slot."""
        return rings.complete(self.queue(direction, queue), signed(word0), signed(word1))

    def stop_queue(self, direction: Direction, queue: int, error: int) -> None:
        """Stop a queue for a reason (ERR_*): an event, and its interrupt."""
        self.registers.queue(direction, queue).record["error"] = error
        self.registers.check_queues()

    def refuse(self, command: int, answer: int = 1) -> None:
        """Answer a command with `answer` from now on, and do nothing for it."""
        self.registers.refused[command] = answer

    def on_command(self, callback: Callable[[int], None] | None) -> None:
        """Call `callback(command)` before each command, from the driver's own thread."""
        self.registers.on_command = callback


def signed(word: int) -> int:
    """Return a 64-bit word as compiled code takes it."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word
