# SPDX-License-Identifier: BSD-3-Clause
"""A run of testpmd from the first port to the last line; DPDK's order and words."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from pollmode.bus_vdev import VdevBus
from pollmode.eal import jit
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Event, Port, Ports
from pollmode.testpmd.bringup import LINK_CHECK_SECONDS, LINK_CHECKS, Bringup, burst_size
from pollmode.testpmd.forwarding import Forwarding
from pollmode.testpmd.live import watch
from pollmode.testpmd.options import Options
from pollmode.testpmd.plan import forwarding_cores, forwarding_ports, plan_streams
from pollmode.testpmd.report import forward_statistics, start_lines

__all__ = ["run"]

_EVENT_NAMES = {
    Event.INTR_LSC: ("intr_lsc", "link state change"),
    Event.QUEUE_STATE: ("queue_state", "queue state"),
    Event.INTR_RESET: ("intr_reset", "reset"),
    Event.INTR_RMV: ("intr_rmv", "device removal"),
    Event.NEW: ("dev_probed", "device probed"),
    Event.DESTROY: ("dev_released", "device released"),
    Event.ERR_RECOVERING: ("err_recovering", "error recovering"),
    Event.RECOVERY_SUCCESS: ("recovery_success", "error recovery successful"),
    Event.RECOVERY_FAILED: ("recovery_failed", "error recovery failed"),
}
_STDIN_SLICE = 0.1  # seconds between looks at the stop request while waiting for a key


def run(eal_words: Sequence[str], options: Options, *, seconds: float = 0) -> int:
    """Forward until a signal, the enter key or, if not 0, `seconds` have passed; return the exit code.

    Raises PollmodeError for what cannot be done.
    """
    with Stopper() as stopper, Environment.start(eal_words) as environment:
        end_telling = jit.on_compile(lambda name: print(f"compiling {name} ...", file=sys.stderr, flush=True))
        ports = Ports(environment)
        environment.on_close(ports.close)
        try:
            _announce_events(ports, options)
            VdevBus(environment, ports).probe_all()
            _forward(environment, ports, options, stopper, seconds)
        finally:
            end_telling()
    print("\nBye...", flush=True)
    return 0


def _forward(environment: Environment, ports: Ports, options: Options, stopper: Stopper, seconds: float) -> None:
    available = [port.id for port in ports.available()]
    if not available:
        print("testpmd: No probed ethernet devices", flush=True)
    if options.tx_first:
        options = _without_lsc(options)
        print("Ports to start sending a burst of packets first")
    if options.forward_mode != "io":
        print(f"Set {options.forward_mode} packet forwarding mode")
    lcores = environment.lcores
    chosen = forwarding_ports(options, available)
    cores = forwarding_cores(options, lcores.main.id, [lcore.id for lcore in lcores.workers])
    burst = burst_size(options, [ports[port] for port in chosen])
    bringup = Bringup(environment, ports, options)
    if options.port_topology == "paired" and len(chosen) % 2:
        print("\nWarning! port-topology=paired and odd forward ports number, the last port will pair with itself.\n")
    plan = plan_streams(options, chosen, cores, to_sender=options.forward_mode == "icmpecho")
    bringup.start()
    ports.watch()
    if options.link_check:
        _check_links(bringup.ports, options, stopper)
    forwarding = Forwarding(environment, ports, bringup.pool, options, plan, burst)
    print("No commandline core given, start packet forwarding")
    described = [bringup.describe(ports[port]) for port in chosen]
    print(start_lines(options.forward_mode, options, burst, plan, described), flush=True)
    if not stopper.requested:
        forwarding.start(options.tx_first)
        _wait([ports[port] for port in chosen], options, stopper, seconds)
    _end(forwarding, bringup)


def _without_lsc(options: Options) -> Options:
    """Leave link state interrupts out: with --tx-first DPDK's testpmd polls the links once and goes on."""
    if options.lsc_interrupt:
        print("Warning: lsc_interrupt needs to be off when using tx_first. Disabling.")
    return replace(options, lsc_interrupt=False)


def _end(forwarding: Forwarding, bringup: Bringup) -> None:
    print("Telling cores to stop...")
    forwarding.halt()
    print("Waiting for lcores to finish...", flush=True)
    forwarding.wait()
    print(forward_statistics(forwarding.summary()))
    print("\nDone.", flush=True)
    forwarding.close()
    bringup.stop()


def _announce_events(ports: Ports, options: Options) -> None:
    def tell(port: Port, event: Event, detail: object) -> None:
        name, text = _EVENT_NAMES[event]
        if name in options.events:
            print(f"\nPort {port.id}: {text} event", flush=True)

    ports.on(None, tell)


def _check_links(ports: Sequence[Port], options: Options, stopper: Stopper) -> None:
    """Wait up to nine seconds for every link, as DPDK's testpmd does."""
    print("Checking link statuses...", flush=True)
    for _ in range(LINK_CHECKS):
        if all(port.link().up for port in ports) or stopper.wait(LINK_CHECK_SECONDS):
            break
    if not options.lsc_interrupt:
        for port in ports:
            print(f"Port {port.id} {port.link()}")
    print("Done", flush=True)


def _wait(ports: Sequence[Port], options: Options, stopper: Stopper, seconds: float) -> None:
    deadline = time.monotonic() + seconds if seconds else float("inf")

    def over(period: float) -> bool:
        left = deadline - time.monotonic()
        return stopper.wait(max(0.0, min(period, left))) or left <= period

    if options.stats_period:
        watch(ports, options.stats_period, options.display_xstats, over)
    elif seconds:
        stopper.wait(seconds)
    else:
        print("Press enter to exit", flush=True)
        _wait_for_key(stopper)


def _wait_for_key(stopper: Stopper) -> None:
    """Wait for the enter key; an input that has ended leaves the signals."""
    try:
        stdin = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        stopper.wait()
        return
    while not stopper.requested:
        try:
            readable = select.select([stdin], [], [], _STDIN_SLICE)[0]
        except OSError as error:
            raise ConfigError(f"Select failed: {error.strerror}") from None
        if readable:
            if sys.stdin.readline() == "":
                stopper.wait()
            return
