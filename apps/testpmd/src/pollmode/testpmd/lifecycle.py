# SPDX-License-Identifier: BSD-3-Clause
"""Starting, stopping and closing ports, with DPDK's words; at the beginning and the end of a run and at the prompt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Port, State
from pollmode.testpmd.report import mac_text
from pollmode.testpmd.tell import warn

if TYPE_CHECKING:
    from pollmode.testpmd.session import Session

__all__ = ["check_links", "close_ports", "receive_everything", "start_ports", "stop_ports"]

LINK_CHECKS, LINK_CHECK_SECONDS = 90, 0.1


def start_ports(session: Session, ports: Sequence[Port], *, strict: bool = False) -> None:
    """Start ports with what their set-ups say. A port that runs already, or refuses, is told of.

    With `strict` what a port refuses is raised.
    """
    started = 0
    for port in ports:
        if port.state is State.STARTED:
            warn(f"Port {port.id} is now not stopped")
            continue
        try:
            session.bringup.apply(port)
            port.start()
        except PollmodeError as error:
            if strict:
                raise
            warn(f"Fail to {session.bringup.doing}", error)
            return
        session.verbose.follow(port)
        print(f"Port {port.id}: {mac_text(port.mac)}", flush=True)
        started += 1
    if started:
        check_links(session, session.ports.available())
    elif ports:
        warn("Please stop the ports first")
    print("Done", flush=True)


def receive_everything(ports: Sequence[Port]) -> None:
    """Make ports promiscuous, as DPDK's testpmd does with every new one; a port that refuses is told of."""
    for port in ports:
        try:
            port.set_promiscuous(True)
        except PollmodeError as error:
            why = os.strerror(error.errno)
            warn(f"Error during enabling promiscuous mode for port {port.id}: {why} - ignore", error)


def stop_ports(session: Session, ports: Sequence[Port], *, look: bool = True) -> None:
    """Stop ports that do not forward; `look` says whether the links are looked at afterwards."""
    print("Stopping ports...", flush=True)
    stopped = False
    for port in ports:
        if session.forwards(port):
            warn(f"Please remove port {port.id} from forwarding configuration.")
        elif port.state is State.STARTED:
            port.stop()
            stopped = True
    if stopped and look:
        check_links(session, session.ports.available())
    print("Done", flush=True)


def close_ports(session: Session, ports: Sequence[Port]) -> None:
    """Close ports that do not forward; a port that is started is stopped first."""
    print("Closing ports...", flush=True)
    for port in ports:
        if session.forwards(port):
            warn(f"Please remove port {port.id} from forwarding configuration.")
            continue
        if port.state is State.STARTED:
            port.stop()
        session.verbose.leave(port)
        port.close()
        print(f"Port {port.id} is closed", flush=True)
        session.port_gone(port)
    print("Done", flush=True)


def check_links(session: Session, ports: Sequence[Port]) -> None:
    """Look at the links: with interrupts once at the prompt, else until all are up, nine seconds at most."""
    options = session.options
    if not options.link_check:
        return
    print("Checking link statuses...", flush=True)
    checks = 1 if options.interactive and options.lsc_interrupt else LINK_CHECKS
    for _ in range(checks):
        if all(port.link().up for port in ports) or session.stopper.wait(LINK_CHECK_SECONDS):
            break
    if not options.lsc_interrupt:
        for port in ports:
            print(f"Port {port.id} {port.link()}", flush=True)
