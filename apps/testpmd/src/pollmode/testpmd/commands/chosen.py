# SPDX-License-Identifier: BSD-3-Clause
"""What a command needs before it may act: the ports it names, forwarding stopped; else DPDK's words."""

from __future__ import annotations

from pollmode.ethdev import Port, State
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["chosen_ports", "chosen_queue", "one_port", "still_running", "stopped_port"]


def chosen_ports(session: Session, which: int | str, *, list_valid: bool = False) -> list[Port]:
    """Return the port of that number, or all for "all"; tells of a number that is no port and returns none then."""
    available = session.ports.available()
    if which == "all":
        return available
    found = [port for port in available if port.id == which]
    if not found:
        warn(f"Invalid port {which}")
        if list_valid:
            print(f"The valid ports array is [ {' '.join(str(port.id) for port in available)} ]")
    return found


def one_port(session: Session, number: int, reading: str = "") -> Port | None:
    """Return the port of that number; tells of a number that is no port, as of a failure of `reading` it, if given."""
    if reading and number not in {port.id for port in session.ports.available()}:
        warn(f"Error during getting device {reading.format(f'(port {number})')}: No such device")
        return None
    found = chosen_ports(session, number)
    return found[0] if found else None


def stopped_port(session: Session, number: int, told: str = "Please stop port {} first") -> Port | None:
    """Return the port of that number; tells of one that is started, and of a number that is no port."""
    chosen = one_port(session, number)
    if chosen is not None and chosen.state is State.STARTED:
        warn(told.format(number))
        return None
    return chosen


def chosen_queue(session: Session, way: str, queue: int) -> bool:
    """Tell whether "rxq" or "txq" number `queue` is configured; tells of one that is not."""
    count = session.options.rxq if way == "rxq" else session.options.txq
    if queue < count:
        return True
    warn(f"Invalid {way[:2].upper()} queue {queue} (must be < nb_{way}={count})")
    return False


def still_running(session: Session) -> bool:
    """Tell whether packets are forwarded; tells what to do about it."""
    if session.running:
        warn("Please stop forwarding first")
    return session.running
