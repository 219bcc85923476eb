# SPDX-License-Identifier: BSD-3-Clause
"""net_af_packet, ours and DPDK's, on two interfaces that are joined in a network namespace of this process's own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side.programs import DPDK, OURS, rates, running

CLONE_NEWNET = 0x40000000
INTERFACES = ("va", "vb")


@contextlib.contextmanager
def namespace() -> Iterator[None]:
    """Be in a network namespace with the two interfaces; it ends with the block. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "a network namespace needs root")
        try:
            # IPv6 would talk of its own accord, and an io port forward it for ever.
            with contextlib.suppress(OSError):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            commands = [f"link add {INTERFACES[0]} type veth peer name {INTERFACES[1]}"]
            commands += [f"link set {name} up" for name in INTERFACES]
            for command in commands:
                subprocess.run(["ip", *command.split()], check=True)
            yield
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot leave the network namespace")


@dataclass(frozen=True)
class AfPacket:
    """One direction: "tx" to the kernel, "rx" from DPDK's testpmd on the other core, "io" between both interfaces."""

    direction: str
    frame: int
    cpus: tuple[int, int]  # the peer's, and the measured program's
    options: tuple[str, ...]
    unit = "Mpps"

    def __str__(self) -> str:
        return f"af_packet, {self.direction}, {self.frame} B"

    def measure(self, program: Sequence[str], seconds: int) -> dict[str, list[float]]:
        """Run `program` once and return its rate: the kernel's work leaves the placement of the CPUs without effect."""
        return {"kernel": [self._rate(program, seconds)]}

    def _rate(self, program: Sequence[str], seconds: int) -> float:
        with namespace():
            if self.direction == "io":
                return self._io(program, seconds)
            if self.direction == "tx":
                with running(self._argv(program, "va", self.cpus[1], "--forward-mode=txonly")) as sender:
                    return rates(sender, 1, seconds)[1]
            with running(self._argv(program, "va", self.cpus[1], "--forward-mode=rxonly")) as receiver:
                receiver.wait_for("Tx-pps")
                with running(self._argv(DPDK, "vb", self.cpus[0], "--forward-mode=txonly")) as sender:
                    sender.wait_for("Tx-pps")
                    seen = len(receiver.pages())
                    receiver.wait_for("Tx-pps", seen + seconds + 2)
                    pages = receiver.pages()[seen + 1 : seen + 1 + seconds]
                    return sorted(page[1] for page in pages)[len(pages) // 2]

    def _argv(self, program: Sequence[str], interface: str, cpu: int, mode: str) -> list[str]:
        devices = ["--vdev", f"net_af_packet0,iface={interface}"]
        return [*program, *self._eal(interface, cpu), *devices, "--", *self.options, mode, "--stats-period", "1"]

    def _eal(self, name: str, cpu: int) -> list[str]:
        words = ["--lcores", f"0@{self.cpus[0]},1@{cpu}", "--in-memory", "--no-pci", "-m", "128"]
        return [*words, "--file-prefix", f"{name}{os.getpid()}"]

    def _io(self, program: Sequence[str], seconds: int) -> float:
        devices = [word for n, name in enumerate(INTERFACES) for word in ("--vdev", f"net_af_packet{n},iface={name}")]
        argv = [*program, *self._eal("io", self.cpus[1]), *devices, "--", *self.options]
        if program is OURS:
            with running([*argv, "--tx-first=4", "--stats-period", "1"]) as ours:
                return rates(ours, 2, seconds)[0]
        with running([*argv, "-i"], "set fwd io\nstart tx_first 4\n") as theirs:
            theirs.wait_for("packet forwarding")
            for _ in range(seconds + 3):
                theirs.say("show port stats all\n")
                time.sleep(1.0)
            return rates(theirs, 2, seconds)[0]


def scenarios(cpus: tuple[int, int], options: Sequence[str]) -> list[AfPacket]:
    """Return what is measured, with `frame` bytes a packet, CRC included."""
    return [
        AfPacket(direction, frame, cpus, (*options, f"--txpkts={frame - 4}"))
        for direction, frame in (("tx", 64), ("rx", 64), ("io", 64), ("io", 1518))
    ]
