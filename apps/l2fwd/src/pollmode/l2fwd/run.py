# SPDX-License-Identifier: BSD-3-Clause
"""The application from start to end. Imported when the options are known to be right: it brings the compiler along."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence

from pollmode.bus_pci import PciBus
from pollmode.bus_vdev import VdevBus
from pollmode.eal import logs
from pollmode.eal.environment import Environment
from pollmode.eal.errors import PollmodeError
from pollmode.eal.jit import on_compile
from pollmode.eal.probing import Buses
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Port, Ports, State
from pollmode.l2fwd.forwarder import Forwarder
from pollmode.l2fwd.options import Options
from pollmode.l2fwd.plan import Plan, make_plan
from pollmode.l2fwd.ports import await_links, make_pool, start_port
from pollmode.l2fwd.statistics import CLEAR, page

__all__ = ["heal", "run"]

log = logs.get("user.l2fwd")

HEALTH_INTERVAL = 0.5
"""Seconds between two looks for queues whose other side broke the protocol."""


def run(eal: Sequence[str], options: Options) -> int:
    """Start everything, forward until a signal comes, end everything; returns the exit code 0.

    Raises PollmodeError when something cannot be started; nothing is left behind then.
    """
    with Stopper() as stopper, Environment.start(eal) as environment:
        environment.on_close(on_compile(_tell_compiling))
        ports = Ports(environment)
        pci = PciBus(environment, ports)
        environment.on_close(ports.close)
        Buses({"pci": pci, "vdev": VdevBus(environment, ports)}).probe_all()
        print(f"MAC updating {'enabled' if options.mac_updating else 'disabled'}")
        plan = make_plan(
            options, [port.id for port in ports.available()], [lcore.id for lcore in environment.lcores.all]
        )
        _tell(plan)
        active = _start_ports(environment, ports, plan, options)
        forwarder = Forwarder(environment, ports, plan, mac_updating=options.mac_updating)
        await_links(active, stopper.wait)
        if not stopper.requested:
            _forward(environment, forwarder, plan)
            _watch(active, forwarder, stopper, options.period)
        _end(active, forwarder, stopper)
    print("Bye...", flush=True)
    return 0


def _tell_compiling(name: str) -> None:
    print(f"compiling {name} ...", file=sys.stderr, flush=True)


def _tell(plan: Plan) -> None:
    """Tell the plan as DPDK's l2fwd tells it."""
    if plan.odd:
        print("Notice: odd number of ports in portmask.")
    for lcore, mine in plan.lcores.items():
        for port in mine:
            print(f"Lcore {lcore}: RX port {port} TX port {plan.destinations[port]}")


def _start_ports(environment: Environment, ports: Ports, plan: Plan, options: Options) -> list[Port]:
    pool = make_pool(environment.memory, len(plan.destinations), len(environment.lcores.all))
    active = []
    for port in ports.available():
        if port.id in plan.destinations:
            start_port(port, pool, promiscuous=options.promiscuous)
            active.append(port)
        else:
            print(f"Skipping disabled port {port.id}")
    return active


def _forward(environment: Environment, forwarder: Forwarder, plan: Plan) -> None:
    for lcore in environment.lcores.all:
        mine = plan.lcores.get(lcore.id, ())
        log.info(f"entering main loop on lcore {lcore.id}" if mine else f"lcore {lcore.id} has nothing to do")
        for port in mine:
            log.info(f" -- lcoreid={lcore.id} portid={port}")
    environment.on_close(forwarder.stop)
    forwarder.start()


def _watch(ports: Sequence[Port], forwarder: Forwarder, stopper: Stopper, period: int) -> None:
    """Print statistics and mend ports until the application is to end."""
    next_page = time.monotonic() + period
    while not stopper.requested:
        until = HEALTH_INTERVAL
        if period:
            until = min(until, next_page - time.monotonic())
        if stopper.wait(max(until, 0)):
            break
        heal(ports)
        if period and time.monotonic() >= next_page:
            print(CLEAR + page(forwarder.counts()), end="", flush=True)
            next_page += period


def heal(ports: Sequence[Port]) -> None:
    """Reset ports whose other side broke the protocol: here is nobody who could do it by hand."""
    for port in ports:
        port.poll()
        if port.faults and port.state is State.STARTED:
            try:
                port.reset()
                log.warning(f"port {port.id} was reset")
            except PollmodeError as error:
                log.error(f"port {port.id} stays stopped: {error}")


def _end(ports: Sequence[Port], forwarder: Forwarder, stopper: Stopper) -> None:
    """Stop forwarding, print the last statistics, and close the ports."""
    number = stopper.signal or signal.SIGINT
    print(f"\n\nSignal {number} received, preparing to exit...")
    forwarder.stop()
    print(page(forwarder.counts()), end="")
    for port in ports:
        print(f"Closing port {port.id}...", end="", flush=True)
        if port.state is State.STARTED:
            port.stop()
        port.close()
        print(" Done")
