# SPDX-License-Identifier: BSD-3-Clause
"""A run of testpmd from the first port to the last line; DPDK's order and words."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence

from pollmode.eal import jit
from pollmode.eal.environment import Environment
from pollmode.eal.errors import ConfigError, DeviceFault
from pollmode.eal.stopper import Stopper
from pollmode.ethdev import Event, Port
from pollmode.testpmd.dashboard import terminal as dashboard
from pollmode.testpmd.lifecycle import close_ports, receive_everything, start_ports, stop_ports
from pollmode.testpmd.live import watch
from pollmode.testpmd.options import Options, check_shares
from pollmode.testpmd.secondary import adopt, check_primary
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import explain, warn

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
    """Run the prompt, or forward until a signal, the enter key or, if not 0, `seconds` have passed.

    Returns the exit code. Raises PollmodeError for what cannot be done.
    """
    if options.tx_first and options.lsc_interrupt:
        warn("Warning: lsc_interrupt needs to be off when using tx_first. Disabling.")
    if options.tui:
        dashboard.check_terminal()
    with Stopper() as stopper, Environment.start(eal_words) as environment:
        end_telling = jit.on_compile(lambda name: print(f"compiling {name} ...", file=sys.stderr, flush=True))
        session = Session(environment, options, stopper)
        if environment.primary is not None:
            environment.primary.on_gone(stopper.stop)
        try:
            _announce_events(session)
            session.buses.probe_all()
            _begin(session)
            _run(session, seconds)
            _end(session)
        finally:
            end_telling()
            check_primary(environment)
    print("\nBye...", flush=True)
    return 0


def _begin(session: Session) -> None:
    options = session.options
    available = session.ports.available()
    if options.interactive:
        print("Interactive-mode selected", flush=True)
    if not available:
        warn("testpmd: No probed ethernet devices")
        _explain_no_ports()
    if options.tx_first:
        # With --tx-first DPDK's testpmd polls the links once and goes on.
        session.change(lsc_interrupt=False)
        print("Ports to start sending a burst of packets first")
    if options.forward_mode != "io":
        print(f"Set {options.forward_mode} packet forwarding mode")
    if session.environment.primary is not None:
        adopt(session)
    else:
        check_shares(options)
    session.set_up()
    if options.device_start and available and session.environment.primary is None:
        start_ports(session, available, strict=True)
    if session.environment.primary is None:
        receive_everything(available)
    session.ports.watch()


def _explain_no_ports() -> None:
    from pollmode.host_report import why_no_ports  # only who needs it pays for the look at the machine

    for reason in why_no_ports():
        explain(reason)


def _run(session: Session, seconds: float) -> None:
    options = session.options
    if options.interactive or options.command_files:
        from pollmode.testpmd.prompt import shell

        shell.run_files(session, options.command_files)
        if options.interactive:
            if options.auto_start and not session.over:
                print("Start automatic packet forwarding", flush=True)
                session.start()
            shell.interact(session)
            return
    if session.over or session.stopper.requested:
        return
    if session.environment.primary is None or options.num_procs > 1:
        print("No commandline core given, start packet forwarding")
        session.start(options.tx_first)
    _wait([session.ports[port] for port in session.selection.forwarding_ports], session, seconds)


def _end(session: Session) -> None:
    environment = session.environment
    if session.running and (environment.primary is None or environment.primary.gone is None):
        session.stop()
    if environment.primary is not None:
        session.close()
        return
    if environment.secondaries is not None:
        environment.secondaries.send_away()
    ports = session.ports.available()
    for port in ports:
        print(f"\nStopping port {port.id}...", flush=True)
        stop_ports(session, [port], look=False)
    for port in ports:
        print(f"\nShutting down port {port.id}...", flush=True)
        close_ports(session, [port])
    session.close()


def _announce_events(session: Session) -> None:
    def tell(port: Port, event: Event, detail: object) -> None:
        name, text = _EVENT_NAMES[event]
        if name in session.options.events:
            print(f"\nPort {port.id}: {text} event", flush=True)
            if isinstance(detail, DeviceFault):
                mend = f"stop, port stop {port.id}, port reset {port.id}, port start {port.id}, start"
                print(f"Port {port.id}: {detail}; heal it with: {mend}", flush=True)

    session.ports.on(None, tell)


def _wait(ports: Sequence[Port], session: Session, seconds: float) -> None:
    options, stopper = session.options, session.stopper
    deadline = time.monotonic() + seconds if seconds else float("inf")

    def over(period: float) -> bool:
        left = deadline - time.monotonic()
        return stopper.wait(max(0.0, min(period, left))) or left <= period

    if options.tui:
        dashboard.show(session, seconds)
    elif options.stats_period:
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
