# SPDX-License-Identifier: BSD-3-Clause
"""Ringing a doorbell from compiled code, whatever is between it and the device.

A doorbell is a register that a driver writes at every burst. In memory it is a store; elsewhere it is a call of the
kernel, and a record in the EAL's memory says which: `pwrite` (ports), an eventfd, or a line of text on a socket (QEMU).
The record is written by `PciDevice.doorbell`.

Refused: a word that a thread of the host polls and forwards. It takes a core, adds a wake-up to every doorbell, and
loses the order between doorbells and the control plane's writes; a `send` from the lcore has none of that.
"""

from __future__ import annotations

from pollmode.bus_pci.layout import (
    DOORBELL_DIGITS,
    DOORBELL_ERRORS,
    DOORBELL_EVENT,
    DOORBELL_FD,
    DOORBELL_KIND,
    DOORBELL_LENGTH,
    DOORBELL_SCRATCH,
    DOORBELL_STORE,
    DOORBELL_TARGET,
    DOORBELL_TEXT,
    DOORBELL_WIDTH,
    DOORBELL_WRITE,
)
from pollmode.eal.jit import (
    compiled,
    inlined,
    load64,
    send_bytes,
    store8,
    store64,
    store_release16,
    store_release32,
    store_release64,
    write_bytes_at,
    write_eventfd,
)

__all__ = ["ring_doorbell"]

MSG_NOSIGNAL = 0x4000  # linux/socket.h
ZERO, BEFORE_A = ord("0"), ord("a") - 10


@inlined
def ring_doorbell(doorbell: int, value: int) -> None:
    """Write `value` to the register that the record at `doorbell` names; every store before it is seen before it."""
    if load64(doorbell + DOORBELL_KIND) != DOORBELL_STORE:
        ring_through_kernel(doorbell, value)
        return
    target, size = load64(doorbell + DOORBELL_TARGET), load64(doorbell + DOORBELL_WIDTH)
    if size == 4:
        store_release32(target, value)
    elif size == 2:
        store_release16(target, value)
    elif size == 8:
        store_release64(target, value)
    else:
        store8(target, value)


@compiled
def ring_through_kernel(doorbell: int, value: int) -> int:
    """Have the kernel write the register; 1 when it did. A device that is gone is not this function's to tell."""
    kind, fd = load64(doorbell + DOORBELL_KIND), load64(doorbell + DOORBELL_FD)
    if kind == DOORBELL_WRITE:
        size = load64(doorbell + DOORBELL_WIDTH)
        store64(doorbell + DOORBELL_SCRATCH, value)
        done = write_bytes_at(fd, doorbell + DOORBELL_SCRATCH, size, load64(doorbell + DOORBELL_TARGET)) == size
    elif kind == DOORBELL_EVENT:
        done = write_eventfd(fd) == 8
    else:
        length = load64(doorbell + DOORBELL_LENGTH)
        write_digits(doorbell + DOORBELL_TEXT + load64(doorbell + DOORBELL_DIGITS), value)
        done = send_bytes(fd, doorbell + DOORBELL_TEXT, length, MSG_NOSIGNAL) == length
    if done:
        return 1
    store64(doorbell + DOORBELL_ERRORS, load64(doorbell + DOORBELL_ERRORS) + 1)
    return 0


@inlined
def write_digits(address: int, value: int) -> None:
    """Write the low 32 bits of `value` as eight hexadecimal digits."""
    for place in range(8):
        digit = value >> 4 * (7 - place) & 15
        store8(address + place, digit + (ZERO if digit < 10 else BEFORE_A))
