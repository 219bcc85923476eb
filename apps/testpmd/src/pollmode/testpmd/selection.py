# SPDX-License-Identifier: BSD-3-Clause
"""Which ports and which lcores forward, and how many of them: what set portlist, nbport, corelist, nbcore change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import forwarding_cores, forwarding_ports
from pollmode.testpmd.tell import warn

if TYPE_CHECKING:
    from pollmode.eal.lcore import Lcores

__all__ = ["Selection"]


class Selection:
    """The configured ports and lcores, in order; the first `nb_ports` and `nb_cores` of them forward."""

    def __init__(self, options: Options, lcores: Lcores, available: Sequence[int]) -> None:
        workers = [lcore.id for lcore in lcores.workers]
        self.main = lcores.main.id
        self.enabled = tuple(workers) or (self.main,)
        self.known = {lcore.id for lcore in lcores.all}
        cores = forwarding_cores(options, self.main, workers)
        self.cores = list(cores if options.coremask is not None else self.enabled)
        self.nb_cores = len(cores)
        self.ports = list(forwarding_ports(options, available))
        self.nb_ports = len(self.ports)

    @property
    def forwarding_ports(self) -> tuple[int, ...]:
        """The ports that forward."""
        return tuple(self.ports[: self.nb_ports])

    @property
    def forwarding_cores(self) -> tuple[int, ...]:
        """The lcores that forward."""
        return tuple(self.cores[: self.nb_cores])

    def reset(self, available: Sequence[int]) -> None:
        """Let everything forward that can (DPDK's set_def_fwd_config): all ports, on one lcore."""
        self.cores, self.nb_cores = list(self.enabled), 1
        self.ports = list(available)
        self.nb_ports = len(self.ports)

    def add_port(self, port: int) -> None:
        """Let a new port forward too."""
        self.ports.append(port)
        self.nb_ports = len(self.ports)

    def remove_port(self, port: int) -> None:
        """Take a port that is gone out."""
        if port in self.ports:
            self.ports.remove(port)
            self.nb_ports = len(self.ports)

    def set_ports(self, ports: Sequence[int], available: Sequence[int]) -> bool:
        """Choose the ports and their order; tell whether they are there."""
        for port in ports:
            if port not in available:
                warn(f"Invalid port {port}")
                return False
        self.ports = list(ports)
        if self.nb_ports != len(ports):
            print(
                f"previous number of forwarding ports {self.nb_ports} - changed to number of configured ports "
                f"{len(ports)}"
            )
            self.nb_ports = len(ports)
        return True

    def set_cores(self, cores: Sequence[int]) -> bool:
        """Choose the lcores and their order; tell whether they can forward."""
        for core in cores:
            if core not in self.known:
                warn(f"lcore {core} not enabled")
                return False
            if core not in self.enabled:
                warn(
                    f"lcore {core} cannot be masked on for running packet forwarding, "
                    "which is the main lcore and reserved for command line parsing only"
                )
                return False
        self.cores = list(cores)
        if self.nb_cores != len(cores):
            print(
                f"previous number of forwarding cores {self.nb_cores} - changed to number of configured cores "
                f"{len(cores)}"
            )
            self.nb_cores = len(cores)
        return True
