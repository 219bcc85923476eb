# SPDX-License-Identifier: BSD-3-Clause
"""Showing and clearing the statistics of ports and of forwarding; showing the configuration."""

from __future__ import annotations

from pollmode.ethdev import Port
from pollmode.testpmd.commands.chosen import chosen_ports
from pollmode.testpmd.live import sample
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.report import forward_statistics, port_statistics
from pollmode.testpmd.session import Session

__all__ = ["commands"]

commands = Commands("display")


@commands.add("show port stats {ports:port|all}")
def show_port_stats(session: Session, ports: int | str) -> None:
    """Show what ports received and sent, and their rates since they were shown last."""
    for port in chosen_ports(session, ports, list_valid=True):
        now = sample(port)
        print(port_statistics(port.id, now, session.samples.get(port.id)))
        session.samples[port.id] = now


@commands.add("show port xstats {ports:port|all}")
def show_port_xstats(session: Session, ports: int | str) -> None:
    """Show every counter of ports by name."""
    for port in chosen_ports(session, ports, list_valid=True):
        print(f"###### NIC extended statistics for port {port.id:<2}")
        for name, value in port.xstats().items():
            if value or not session.hide_zero_xstats:
                print(f"{name}: {value}")


@commands.add("clear port stats {ports:port|all}")
def clear_port_stats(session: Session, ports: int | str) -> None:
    """Count what ports receive and send from zero."""
    for port in chosen_ports(session, ports, list_valid=True):
        _clear(session, port)
        print(f"\n  NIC statistics for port {port.id} cleared")


@commands.add("clear port xstats {ports:port|all}")
def clear_port_xstats(session: Session, ports: int | str) -> None:
    """Set every counter of ports to zero."""
    for port in chosen_ports(session, ports, list_valid=True):
        _clear(session, port)


def _clear(session: Session, port: Port) -> None:
    port.reset_stats()
    session.count_from_here(port)


@commands.add("show fwd stats all")
def show_fwd_stats(session: Session) -> None:
    """Show what was forwarded since forwarding was started."""
    print(forward_statistics(session.forward_summary()))


@commands.add("clear fwd stats all")
def clear_fwd_stats(session: Session) -> None:
    """Count what is forwarded from zero."""
    session.reset_forward_summary()
