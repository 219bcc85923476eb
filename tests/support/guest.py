# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest under a stock QEMU, its NICs at vhost-user sockets, its console ours. Needs neither root nor KVM."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.initramfs import DONE, PROGRAMS, READY, find_program, make_initramfs
from support.program import Program

QEMU = "qemu-system-x86_64"
KERNEL = Path(os.environ.get("POLLMODE_GUEST_KERNEL", Path(__file__).parents[2] / ".peers" / "kernel"))
INSTALL = "apt-get install qemu-system-x86 busybox-static ethtool pciutils kmod && .ci/guest-kernel"

MEMORY = 192  # MiB
PATIENCE = 240.0
"""Seconds for anything to come. An emulated CPU boots in 5 s, and in a minute where others want the cores."""


def require_guest(*programs: str) -> None:
    """Skip the test where a guest with these programs can't be made, or fail it where peers are required."""
    missing = [name for name in (QEMU, *PROGRAMS, *programs) if find_program(name) is None]
    missing += [] if list(KERNEL.glob("boot/vmlinuz-*")) else [f"a kernel in {KERNEL}"]
    if not missing:
        return
    text = f"not installed: {', '.join(missing)}: {INSTALL}"
    if os.environ.get("POLLMODE_REQUIRE_PEERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def write_initramfs(folder: Path, **contents: Any) -> Path:
    """Make the guest's file system in `folder`; `contents` are make_initramfs's."""
    path = folder / "initramfs"
    path.write_bytes(make_initramfs(KERNEL, **contents))
    return path


@dataclass(frozen=True)
class Nic:
    """A virtio-net-pci of the guest whose back end is at `path`; `options` are QEMU's for it, such as `mrg_rxbuf=off`.

    `server`: QEMU listens at the path instead of connecting. Either way it waits for the back end, also for its return.
    """

    path: str
    queues: int = 1
    server: bool = False
    options: str = ""

    def arguments(self, number: int) -> list[str]:
        """Return QEMU's command line for the NIC that the guest calls eth`number`."""
        way = "server=on" if self.server else "reconnect=1"
        # QEMU 7.2 without KVM dies of MSI-X with any vhost-user back end: without vectors the guest takes INTx.
        device = f"virtio-net-pci,netdev=net{number},mac=52:54:00:00:00:{number + 1:02x},vectors=0,romfile="
        device += ",mq=on" if self.queues > 1 else ""
        device += f",{self.options}" if self.options else ""
        return [
            *("-chardev", f"socket,id=char{number},path={self.path},{way}"),
            *("-netdev", f"vhost-user,id=net{number},chardev=char{number},queues={self.queues}"),
            *("-device", device),
        ]


class Guest(Program):
    """A guest that boots from `initramfs` and has these NICs. Wait for it with `wait_for_boot`."""

    def __init__(
        self,
        initramfs: Path,
        *nics: Nic,
        cpus: int = 1,
        options: Sequence[str] = (),
        memory: int = MEMORY,
        append: str = "",
    ) -> None:
        kernel = next(KERNEL.glob("boot/vmlinuz-*"))
        machine = ["-machine", "q35,accel=tcg,memory-backend=ram", "-smp", str(cpus)]
        # A back end maps the guest's memory: it must be a file, and shared.
        ram = ["-m", str(memory), "-object", f"memory-backend-memfd,id=ram,size={memory}M,share=on"]
        words = f"console=ttyS0 quiet mitigations=off {append}"
        boot = ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", words]
        bare = ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]
        ends = [word for number, nic in enumerate(nics) for word in nic.arguments(number)]
        super().__init__([QEMU, *machine, *ram, *boot, *bare, *ends, *options], keyboard=True)
        self._read_to = 0

    def wait_for_boot(self) -> None:
        """Wait until it has booted, or booted again, and takes commands."""
        self._read_to = self.wait_for(rf"{READY}\r?\n", after=self._read_to, seconds=PATIENCE).end()

    def ask(self, command: str, *, seconds: float = PATIENCE) -> tuple[int, str]:
        """Run a line of shell in the guest; return its exit status and what it printed."""
        begin = self._read_to
        self.type(command)
        found = self.wait_for(rf"{DONE} (\d+)\r?\n", after=begin, seconds=seconds)
        self._read_to = found.end()
        return int(found[1]), self.output()[begin : found.start()].replace("\r", "")

    def run(self, command: str, *, seconds: float = PATIENCE) -> str:
        """Run a line of shell in the guest and return what it printed. Raises AssertionError when it fails."""
        status, output = self.ask(command, seconds=seconds)
        assert status == 0, f"the guest's {command!r} failed with {status}:\n{output}"
        return output

    def reboot(self) -> None:
        """Reset the machine from inside, with all devices at work, and wait until it is back."""
        self.type("reboot -f")
        self.wait_for_boot()

    def isolate(self, nic: int) -> None:
        """Give a NIC a network of its own: two NICs of one guest then talk over the wire, not inside the kernel."""
        self.run(f"unshare -n sh -c 'touch /tmp/net{nic}; exec sleep 1000000' & net{nic}=$!")
        self.run(f"until [ -e /tmp/net{nic} ]; do usleep 10000; done; ip link set eth{nic} netns $net{nic}")

    def within(self, nic: int, command: str) -> str:
        """Return the line of shell that runs `command` in the network of an isolated NIC."""
        return f"nsenter -t $net{nic} -n sh -c {shlex.quote(command)}"
