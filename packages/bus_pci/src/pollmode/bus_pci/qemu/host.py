# SPDX-License-Identifier: BSD-3-Clause
"""The host `qemu`: one QEMU process with the devices of every `--pci-host=qemu:...`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pollmode.bus_pci.address import PciAddress
from pollmode.bus_pci.host import Found, PciHost
from pollmode.bus_pci.qemu.bells import Bells
from pollmode.bus_pci.qemu.bus import Addresses, place_bars
from pollmode.bus_pci.qemu.channel import PATIENCE, Channel, Ended
from pollmode.bus_pci.qemu.command import BELL_SLOT, FIRST_SLOT, Handles, command, halting_rom
from pollmode.bus_pci.qemu.device import QemuDevice, read_id
from pollmode.bus_pci.qemu.specification import QemuNic
from pollmode.eal.errors import ConfigError, HostError

if TYPE_CHECKING:
    from pollmode.eal.memory import Memory

__all__ = ["QemuHost"]


class QemuHost(PciHost):
    """A running QEMU. Device n of the command line is at 0000:00:(n + 1).0; QEMU calls it nic{n}, its peer net{n}.

    Raises ConfigError with QEMU's own words when it does not take its command line, and HostError.
    """

    name = "qemu"
    asked_for = True

    def __init__(self, nics: Sequence[QemuNic], memory: Memory) -> None:
        self._memory = memory
        self._nics = list(nics)
        self._devices: list[QemuDevice] = []
        self._places = Addresses()
        self._control, control = socket.socketpair()
        self._control_lines = self._control.makefile("rb")
        self._control_lock = threading.Lock()
        self._bells = Bells()
        ours, theirs = socket.socketpair()
        rom = halting_rom()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, rom)
            stack.callback(control.close)
            stack.callback(theirs.close)
            handles = Handles(theirs.fileno(), control.fileno(), self._bells.theirs.fileno(), rom)
            region = memory.regions()[0]
            words = command(self._nics, region, handles)
            fds = [region.fd, handles.test, handles.control, handles.bells, rom]
            fds += [_check_open(nic.fd) for nic in self._nics if nic.fd is not None]
            self.channel = Channel(words, fds, ours, theirs)
        memory.use_iova("offset")
        try:
            bell = place_bars(self.channel, PciAddress(0, 0, BELL_SLOT, 0), self._places.take)
            self._bells.place(bell[0].start)
        except (Ended, KeyError):
            self.close()
            raise HostError("QEMU's ivshmem-doorbell device is not there; this needs QEMU 7.2 or later") from None
        self.channel.on_end = self._ended

    def scan(self) -> list[Found]:
        """Return the devices of the command line."""
        found = []
        for number, nic in enumerate(self._nics):
            address = PciAddress(0, 0, FIRST_SLOT + number, 0)
            with contextlib.suppress(Ended):
                found.append(Found(address, read_id(self.channel, address), f"QEMU's {nic.model}"))
        return found

    def open(self, found: Found) -> QemuDevice:
        """Open a device that was found."""
        device = QemuDevice(found.address, self._memory, self.channel, self._bells, self._places)
        self._devices.append(device)
        return device

    def control(self, name: str, /, **arguments: Any) -> Any:
        """Run a command of QEMU's control protocol (QMP), such as set_link, and return its answer.

        Raises ConfigError with QEMU's words when it refuses, and HostError when it has ended.
        """
        with self._control_lock:
            try:
                self._control.settimeout(PATIENCE)
                if not hasattr(self, "_greeting"):
                    self._greeting = json.loads(self._control_lines.readline())
                    self._converse({"execute": "qmp_capabilities"})
                answer = self._converse({"execute": name, "arguments": arguments})
            except (OSError, ValueError) as error:
                raise HostError(f"QEMU does not answer {name}: {error}") from error
        if "error" in answer:
            raise ConfigError(f"QEMU refuses {name}: {answer['error'].get('desc')}")
        return answer["return"]

    def close(self) -> None:
        """Close the devices and end QEMU. Closing twice is no error."""
        self.channel.on_end = None
        for device in self._devices:
            device.close()
        self.channel.close()
        self._bells.close()
        self._control_lines.close()
        self._control.close()

    def _converse(self, question: dict[str, Any]) -> dict[str, Any]:
        self._control.sendall(json.dumps(question).encode() + b"\n")
        while True:
            answer = json.loads(self._control_lines.readline())
            if isinstance(answer, dict) and answer.keys() & {"return", "error"}:
                return answer

    def _ended(self) -> None:
        for device in self._devices:
            device.set_gone()


def _check_open(fd: int) -> int:
    try:
        os.fstat(fd)
    except OSError as error:
        raise ConfigError(f"--pci-host=qemu: netdev=fd:{fd}: this process has no such descriptor open") from error
    return fd
