# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's command line: a PC whose memory is ours, whose CPU halts at its first instructions, and the NICs.

`accel=qtest` would need no CPU and is in no distribution; `-S` would stop the devices too. So the CPU runs a ROM that
halts it, and QEMU's test channel reads and writes ports and memory in its place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.bus_pci.qemu.specification import QemuNic
from pollmode.eal.errors import ConfigError, HostError
from pollmode.eal.memory import Region

__all__ = ["BELL_SLOT", "FIRST_SLOT", "PROGRAM", "VECTORS", "Handles", "command", "halting_rom"]

PROGRAM = "qemu-system-x86_64"
FIRST_SLOT, BELL_SLOT = 1, 0x1E  # the host bridge is 0, the chipset 0x1F
VECTORS = 64
"""Most interrupts of one device."""
MOST_MEMORY = 0xB0000000
"""QEMU 7.2, hw/i386/pc_q35.c: a PC with as much has a part of it above 4 GiB."""
_ROM_SIZE = 64 << 10
_RESET_VECTOR = 0xFFF0
_HALT = bytes.fromhex("fa f4 eb fd")  # cli; hlt; jmp back to hlt


@dataclass(frozen=True)
class Handles:
    """The descriptors QEMU inherits: test channel, control channel (QMP), interrupts' server, the CPU's program."""

    test: int
    control: int
    bells: int
    rom: int


def halting_rom() -> int:
    """Return the descriptor of a file whose program halts the CPU."""
    image = bytearray(_ROM_SIZE)
    image[_RESET_VECTOR : _RESET_VECTOR + len(_HALT)] = _HALT
    fd = os.memfd_create("pollmode-halt", os.MFD_CLOEXEC)
    os.write(fd, image)
    return fd


def command(nics: Sequence[QemuNic], region: Region, handles: Handles) -> list[str]:
    """Return the words that start QEMU. Raises HostError and ConfigError when that cannot work."""
    if len(nics) > BELL_SLOT - FIRST_SLOT:
        raise ConfigError(f"--pci-host=qemu: {len(nics)} devices, at most {BELL_SLOT - FIRST_SLOT} fit")
    if region.size >= MOST_MEMORY:
        told = f"--pci-host=qemu: the memory of {region.size >> 20} MiB is larger than a PC has in one piece"
        raise ConfigError(f"{told}; start with -m {(MOST_MEMORY >> 20) - 1} or less")
    # The kernel ends QEMU with the thread that started it, however that ends.
    words = [_find("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", _find(PROGRAM, "qemu-system-x86")]
    words += ["-machine", "q35,accel=tcg,memory-backend=ram,pit=off,hpet=off", "-m", f"{region.size >> 10}K"]
    words += ["-object", f"memory-backend-file,id=ram,size={region.size},mem-path={_path(region.fd)},share=on"]
    words += ["-bios", _path(handles.rom), "-display", "none", "-nodefaults", "-no-user-config", "-vga", "none"]
    words += ["-chardev", f"socket,id=test,fd={handles.test}", "-object", "qtest,id=qtest,chardev=test,log=/dev/null"]
    words += ["-chardev", f"socket,id=control,fd={handles.control}", "-mon", "chardev=control,mode=control"]
    words += ["-chardev", f"socket,id=bells,fd={handles.bells}"]
    words += ["-device", f"ivshmem-doorbell,chardev=bells,vectors={VECTORS},bus=pcie.0,addr={BELL_SLOT:#x}"]
    for number, nic in enumerate(nics):
        words += _nic(number, nic)
    return words


def _nic(number: int, nic: QemuNic) -> list[str]:
    properties = {"romfile": "", **dict(nic.properties)}
    device = f"{nic.model},id=nic{number},bus=pcie.0,addr={FIRST_SLOT + number:#x}"
    device += "".join(f",{key}={value}" for key, value in properties.items())
    if nic.netdev is None:
        return ["-device", device]
    return ["-netdev", f"{nic.netdev},id=net{number}", "-device", f"{device},netdev=net{number}"]


def _path(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _find(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise HostError(f"--pci-host=qemu: {program} is not installed", mend=f"run: sudo apt-get install {package}")
    return found
