# SPDX-License-Identifier: BSD-3-Clause
"""A program for the guest: drives a vmxnet3 that VFIO or UIO handed out, and prints what it saw, a line of JSON.

    kernel_device.py WHAT ADDRESS INTERFACE EAL-WORDS...

INTERFACE is the kernel's own NIC at the other end of the wire.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollmode.bus_pci import Interrupt, PciDevice, ring_doorbell
from pollmode.bus_pci.kernel import KernelHost
from pollmode.eal.environment import Environment

sys.path.insert(0, str(Path(__file__).parents[1]))
from bus_pci.wire import CAUSE, MAC, RX_DOORBELL, RX_VECTOR, TX_DOORBELL, TX_VECTOR, Wire

PATIENCE = 120.0
ETHERTYPE = 0x88B5
FRAME = b"\xff" * 6 + MAC + struct.pack(">H", ETHERTYPE) + bytes(range(100))


def main(what: str, address: str, interface: str, *words: str) -> None:
    """Do what is asked for."""
    words = ("--in-memory", "--no-telemetry", "--log-level=error", "-l", "0", *words)
    with Environment.start(words) as environment:
        host = KernelHost(environment)
        environment.on_close(host.close)
        found = next(found for found in host.scan() if str(found.address) == address)
        host.prepare([found])
        device = host.open(found)
        told = WHAT[what](device, interface, environment)
        if not device.gone:
            device.close()
    print(json.dumps(told))


def describe(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Tell what the device is."""
    bars = {index: [bar.size, bool(bar.mapped), bar.port] for index, bar in device.bars.items()}
    return {
        "id": str(device.id),
        "bars": bars,
        "interrupts": device.interrupt_limit,
        "revision": device.bar(1).read32(0),
    }


def exchange(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Send a frame and receive one, with their interrupts, hundred bytes of content each; then the same again."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as far:
        far.bind((interface, ETHERTYPE))
        far.settimeout(PATIENCE)
        rounds = [_round(device, far) for _ in range(2)]
    return {"iova": environment.memory.iova_mode, "rounds": rounds, "reset": device.reset()}


def _round(device: PciDevice, far: socket.socket) -> list[bool]:
    vectors = 3 if device.interrupt_limit > 1 else 1
    device.set_master(True)
    interrupts = device.interrupts(vectors)
    wire = Wire(device, vectors)
    ring_doorbell(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME))
    sent = far.recv(2048) == FRAME
    raised = _wait(device, interrupts[TX_VECTOR % vectors])
    interrupts[RX_VECTOR % vectors].mask()
    ring_doorbell(device.doorbell(0, RX_DOORBELL), wire.post())
    far.send(MAC + FRAME[6:])
    _until(lambda: wire.received() != b"")
    held = not select.select([interrupts[RX_VECTOR % vectors].fd], [], [], 0.2)[0]
    interrupts[RX_VECTOR % vectors].unmask()
    raised = raised and _wait(device, interrupts[RX_VECTOR % vectors])
    received = wire.received() == MAC + FRAME[6:]
    wire.close()
    device.interrupts(0)
    return [sent, received, raised, held]


def _wait(device: PciDevice, interrupt: Interrupt) -> bool:
    came = bool(select.select([interrupt.fd], [], [], PATIENCE)[0])
    device.bar(1).read32(CAUSE)
    return came and interrupt.acknowledge() >= 1


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def ports(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Reach the registers of an e1000e through its ports, by the control plane and by a doorbell."""
    select_register, data = 0x0, 0x4  # Intel 82574 manual, 10.1.1.2: I/O mapped registers
    status, ethertype = 0x8, 0x38
    registers, through = device.bar(0), device.bar(2)
    through.write32(select_register, status)
    same = through.read32(data) == registers.read32(status) != 0
    through.write32(select_register, ethertype)
    ring_doorbell(device.doorbell(2, data), 0x1234)
    return {"port": through.port, "mapped": through.mapped, "same": same, "rung": registers.read32(ethertype)}


def level(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Raise the INTx of an e1000 twice, and hold it back in between."""
    cause, raise_cause, enable = 0xC0, 0xC8, 0xD0  # Intel 8254x manual, 13.4
    registers = device.bar(0)
    (interrupt,) = device.interrupts(1)
    registers.write32(enable, 4)
    counts = []
    for held in (False, True):
        if held:
            interrupt.mask()
        registers.write32(raise_cause, 4)
        if held:
            counts.append(len(select.select([interrupt.fd], [], [], 0.2)[0]))
            interrupt.unmask()
        counts.append(len(select.select([interrupt.fd], [], [], 30)[0]))
        registers.read32(cause)
        interrupt.acknowledge()
    quiet = not select.select([interrupt.fd], [], [], 0.2)[0]
    return {"counts": counts, "quiet": quiet, "left": len(device.interrupts(0))}


def stray(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Have the device send from memory that was freed: the IOMMU must not let it read there."""
    device.set_master(True)
    wire = Wire(device)
    zone = device.memory.reserve("gone", 4 << 20, 2 << 20)
    device.memory.free(zone)
    ring_doorbell(device.doorbell(0, TX_DOORBELL), wire.fill(FRAME, at=zone.iova))
    device.bar(1).read32(CAUSE)
    wire.close()
    return {"gone": device.gone}


def unplug(device: PciDevice, interface: str, environment: Environment) -> dict[str, Any]:
    """Have the kernel take the device away, which waits until it was given back."""
    told = threading.Event()
    device.on_removed(told.set)
    remove = threading.Thread(target=_remove, args=(str(device),))
    remove.start()
    heard = told.wait(PATIENCE)
    answer = device.bar(1).read32(0)
    device.close()
    remove.join(PATIENCE)
    return {"heard": heard, "gone": device.gone, "answer": answer, "there": os.path.exists(_folder(str(device)))}


def _remove(address: str) -> None:
    Path(_folder(address), "remove").write_text("1")


def _folder(address: str) -> str:
    return f"/sys/bus/pci/devices/{address}"


WHAT: dict[str, Callable[[PciDevice, str, Environment], dict[str, Any]]] = {
    "describe": describe,
    "exchange": exchange,
    "level": level,
    "ports": ports,
    "stray": stray,
    "unplug": unplug,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
