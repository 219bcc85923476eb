# SPDX-License-Identifier: BSD-3-Clause
"""A session of testpmd: the environment, its ports, what was asked of them, and what forwards now.

The run without a prompt and the prompt's commands work on this one object. `options` are those of the command line as
commands have changed them since; what forwards is worked out from them at each start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pollmode.bus_pci import PciBus
from pollmode.bus_vdev import VdevBus
from pollmode.eal.environment import Environment
from pollmode.eal.probing import Buses
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Port, Ports, State, open_ports
from pollmode.testpmd.bringup import Bringup, burst_size
from pollmode.testpmd.forwarding import Forwarding
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import Plan, check_mode, plan_streams
from pollmode.testpmd.report import (
    PortSample,
    PortSummary,
    Summary,
    forward_config,
    forward_statistics,
    queue_config,
)
from pollmode.testpmd.secondary import give_queues_back, take_queues
from pollmode.testpmd.selection import Selection
from pollmode.testpmd.tell import warn
from pollmode.testpmd.verbose import Verbose

__all__ = ["Session"]


class Session:
    """What a run works on. `over` ends the prompt; `running` tells whether packets are being forwarded.

    `samples` are the statistics that were shown last, by port; `loading` counts the files of commands being run.
    """

    def __init__(self, environment: Environment, options: Options, stopper: Stopper) -> None:
        self.environment = environment
        self.options = options
        self.stopper = stopper
        self.ports: Ports = open_ports(environment)
        pci = PciBus(environment, self.ports)
        environment.on_close(self.ports.close)
        self.bus = VdevBus(environment, self.ports)
        self.buses = Buses({"pci": pci, "vdev": self.bus})
        self.verbose = Verbose(environment.memory)
        self.samples: dict[int, PortSample] = {}
        self.hide_zero_xstats = False
        self.over = False
        self.running = False
        self.loading = 0
        self.bringup: Bringup
        self.selection: Selection
        self._forwarding: Forwarding | None = None
        self._told_odd = False

    def set_up(self) -> None:
        """Choose what forwards and make the pool, for the ports that there are. Raises ConfigError."""
        available = self.ports.available()
        self.selection = Selection(self.options, self.environment.lcores, [port.id for port in available])
        burst_size(self.options, [self.ports[port] for port in self.selection.ports] if available else [])
        self.bringup = Bringup(self.environment, available, self.options)

    def change(self, **fields: Any) -> None:
        """Change fields of the options."""
        self.options = replace(self.options, **fields)

    def burst(self) -> int:
        """Return the packets of a burst. Raises ConfigError when it is the drivers' choice and they have none."""
        return burst_size(self.options, [self.ports[port] for port in self.selection.forwarding_ports])

    def plan(self) -> Plan:
        """Return who forwards what, by the present options."""
        chosen, mode = self.selection.forwarding_ports, self.options.forward_mode
        if self.options.port_topology == "paired" and len(chosen) % 2 and not self._told_odd:
            self._told_odd = True
            warn("\nWarning! port-topology=paired and odd forward ports number, the last port will pair with itself.\n")
        return plan_streams(self.options, chosen, self.selection.forwarding_cores, to_sender=mode == "icmpecho")

    @property
    def forwarding_plan(self) -> Plan | None:
        """Who forwards what, or did when it was stopped; None before the first start."""
        return self._forwarding.plan if self._forwarding is not None else None

    def forwards(self, port: Port) -> bool:
        """Tell whether packets are being forwarded from or to a port."""
        return self.running and self._forwarding is not None and port.id in self._forwarding.plan.ports

    def start(self, tx_first: int = 0) -> None:
        """Begin to forward by the present options, after `tx_first` bursts on every stream."""
        available = self.ports.available()
        if any(port.state is not State.STARTED for port in available):
            warn("Not all ports were started")
            return
        if self.running:
            warn("Packet forwarding already started")
            return
        check_mode(self.options)
        plan, burst = self.plan(), self.burst()
        self._close_forwarding()
        if self.environment.primary is not None:
            take_queues(self, plan)
        options = replace(self.options, tx_offloads=self._common_offloads(plan))
        self._forwarding = Forwarding(self.environment, self.ports, self.bringup.pool, options, plan, burst)
        print(forward_config(self.options, plan))
        print(self.queue_config(burst), flush=True)
        self._forwarding.start(tx_first)
        self.running = True

    def _common_offloads(self, plan: Plan) -> int:
        """Return the transmit offloads that all ports have: the engine is one for all, and right for each."""
        common = -1
        for port in plan.ports:
            common &= int(self.ports[port].config.tx_offloads)
        return max(common, 0)

    def stop(self) -> None:
        """End forwarding and print what was counted."""
        if not self.running or self._forwarding is None:
            warn("Packet forwarding not started")
            return
        print("Telling cores to stop...")
        self._forwarding.halt()
        print("Waiting for lcores to finish...", flush=True)
        self._forwarding.wait()
        self.running = False
        if self.environment.primary is not None:
            give_queues_back(self, self._forwarding.plan)
        print(forward_statistics(self._forwarding.summary()))
        print("\nDone.", flush=True)

    def queue_config(self, burst: int) -> str:
        """Return how all ports and queues are configured."""
        selection = self.selection
        described = [self.bringup.describe(port) for port in self.ports.available()]
        return queue_config(self.options, burst, selection.nb_cores, selection.nb_ports, described)

    def forward_summary(self) -> Summary:
        """Return what was counted since forwarding was started last; before that, what the ports counted."""
        if self._forwarding is not None:
            return self._forwarding.summary()
        counted = []
        for number in self.selection.forwarding_ports:
            now = self.ports[number].stats()
            fields = ("ipackets", "imissed", "ierrors", "rx_nombuf", "opackets")
            counted.append(PortSummary(number, **{field: getattr(now, field) for field in fields}))
        return Summary(self.options.forward_mode, tuple(counted), ())

    def reset_forward_summary(self) -> None:
        """Count forwarded packets from here."""
        if self._forwarding is not None:
            self._forwarding.reset()

    def count_from_here(self, port: Port) -> None:
        """Take note that a port's counters were set to zero."""
        self.samples.pop(port.id, None)
        if self._forwarding is not None:
            self._forwarding.port_cleared(port)

    def renew_setups(self) -> None:
        """Set every port up as the options say, from its next start on."""
        for port in self.ports.available():
            self.bringup.renew(port, self.options)

    def port_attached(self, port: Port) -> None:
        """Make a new port one of those that forward; it is not started."""
        self.bringup.renew(port, self.options)
        self.selection.add_port(port.id)

    def port_gone(self, port: Port) -> None:
        """Drop what was kept for a port that was closed."""
        self.bringup.forget(port)
        if self._forwarding is not None:
            self._forwarding.port_gone(port)
        self.selection.remove_port(port.id)
        self.samples.pop(port.id, None)

    def close(self) -> None:
        """Give back forwarding's records and the pool; the ports are closed."""
        self.verbose.close()
        self._close_forwarding()
        if self.environment.primary is None:
            self.bringup.pool.free()

    def _close_forwarding(self) -> None:
        if self._forwarding is not None:
            self._forwarding.close()
            self._forwarding = None
