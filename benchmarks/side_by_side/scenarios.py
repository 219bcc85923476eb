# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: each scenario gives one rate of one program, ours or DPDK's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side import af_packet
from benchmarks.side_by_side.programs import DPDK, OURS, Testpmd, rates, running
from benchmarks.side_by_side.windows import rates_by_placement

Rates = dict[str, list[float]]
"""Rates of one run, by placement of the CPUs: "one core" where it means nothing, "moved" where it changed."""

FORWARDING_CPU = 1
PEER_CPU = 0
COMMON = (
    "--no-mlockall",
    "--disable-link-check",
    "--total-num-mbufs=16384",
    "--rxd=1024",
    "--txd=1024",
    "--nb-cores=1",
)


def eal(name: str, *vdevs: str, cpu: int) -> list[str]:
    """Return EAL options: the main lcore beside, the forwarding lcore on `cpu`."""
    options = ["--lcores", f"0@{PEER_CPU},1@{cpu}", "--in-memory", "--no-pci", "--file-prefix", name]
    options += ["--single-file-segments", "-m", "256"]
    return options + [word for vdev in vdevs for word in ("--vdev", vdev)]


@dataclass(frozen=True)
class OneCore:
    """net_vhost and net_virtio_user in one process, one forwarding core, io, rings of 1024."""

    frame: int
    mergeable: int
    unit = "Mpps received by both ports"

    def __str__(self) -> str:
        return f"one core, io, {self.frame} B, {'mergeable' if self.mergeable else 'non-mergeable'}"

    def measure(self, program: Sequence[str], seconds: int) -> Rates:
        """Run `program` once and return its rate."""
        return {"one core": [self._rate(program, seconds)]}

    def _rate(self, program: Sequence[str], seconds: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vhost"
            vhost = f"net_vhost0,iface={path},queues=1"
            virtio = f"net_virtio_user0,path={path},queue_size=1024,mrg_rxbuf={self.mergeable}"
            app = [*COMMON, f"--txpkts={self.frame - 4}"]
            if program is OURS:
                begin = ["--tx-first=8", "--stats-period", "1"]
                with running([*program, *eal("one", vhost, virtio, cpu=FORWARDING_CPU), "--", *app, *begin]) as ours:
                    return rates(ours, 2, seconds)[0]
            argv = [*program, *eal("one", vhost, cpu=FORWARDING_CPU), "--", "-i", "--mask-event=all", *app]
            with running(argv, f"port attach {virtio},in_order=0\n") as theirs:
                theirs.wait_for("Now total ports is 2")
                theirs.say(f"port start all\nset txpkts {self.frame - 4}\nset fwd io\nstart tx_first 8\n")
                return self._rates_by_hand(theirs, seconds)

    @staticmethod
    def _rates_by_hand(program: Testpmd, seconds: int) -> float:
        for _ in range(seconds + 2):
            program.say("show port stats all\n")
            time.sleep(1.0)
        program.say("show port stats all\n")
        return rates(program, 2, seconds)[0]


@dataclass(frozen=True)
class TwoCores:
    """One of our drivers, or DPDK's in its place, against DPDK's peer on the other core."""

    driver: str
    direction: str
    frame: int = 64
    mergeable: int = 1
    unit = "Mpps"

    def __str__(self) -> str:
        return f"two cores, {self.driver} {self.direction}, {self.frame} B"

    def measure(self, program: Sequence[str], seconds: int) -> Rates:
        """Run `program` once against a fresh peer and return its rates by placement."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vhost"
            vhost = f"net_vhost0,iface={path},queues=1"
            virtio = f"net_virtio_user0,path={path},queue_size=1024,mrg_rxbuf={self.mergeable}"
            ours, theirs = (virtio, vhost) if self.driver == "virtio" else (vhost, virtio + ",in_order=0")
            if program is DPDK and self.driver == "virtio":
                ours += ",in_order=0"
            modes = ("rxonly", "txonly") if self.direction == "rx" else ("txonly", "rxonly")
            app = [*COMMON, f"--txpkts={self.frame - 4}", "--stats-period", "1"]
            tested = [*program, *eal("tested", ours, cpu=FORWARDING_CPU), "--", *app, f"--forward-mode={modes[0]}"]
            peer = [*DPDK, *eal("peer", theirs, cpu=PEER_CPU), "--", *app, f"--forward-mode={modes[1]}"]
            first, second = (peer, tested) if self.driver == "virtio" else (tested, peer)
            with running(first) as server:
                server.wait_for("Tx-pps")
                with running(second) as client:
                    client.wait_for("Tx-pps", 2)
                    field = "ipackets" if self.direction == "rx" else "opackets"
                    cpus = (PEER_CPU, FORWARDING_CPU)
                    return rates_by_placement("tested", field, (server, client), cpus, seconds)


@dataclass(frozen=True)
class Null:
    """net_null, io, one core."""

    unit = "Mpps received"

    def __str__(self) -> str:
        return "net_null, io, 64 B"

    def measure(self, program: Sequence[str], seconds: int) -> Rates:
        """Run `program` once and return its rate."""
        argv = [*program, *eal("null", "net_null0", "net_null1", cpu=FORWARDING_CPU), "--", *COMMON]
        with running([*argv, "--stats-period", "1"]) as program_:
            return {"one core": [rates(program_, 2, seconds)[0]]}


SCENARIOS = {
    "onecore": [OneCore(frame, mergeable) for frame in (64, 1518) for mergeable in (1, 0)],
    "twocores": [TwoCores(driver, direction) for driver in ("virtio", "vhost") for direction in ("rx", "tx")],
    "null": [Null()],
    "af_packet": af_packet.scenarios((PEER_CPU, FORWARDING_CPU), COMMON),
}
