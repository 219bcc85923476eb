# SPDX-License-Identifier: BSD-3-Clause
"""Starting, stopping, closing and resetting ports; devices that come and go."""

from __future__ import annotations

from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Port, State
from pollmode.testpmd.commands.chosen import chosen_ports, one_port
from pollmode.testpmd.lifecycle import close_ports, receive_everything, start_ports, stop_ports
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("ports")


@commands.add("port start {ports:port|all}")
def port_start(session: Session, ports: int | str) -> None:
    """Start ports, configured as was asked since they were stopped."""
    if ports == "all" or chosen_ports(session, ports):
        start_ports(session, chosen_ports(session, ports))


@commands.add("port stop {ports:port|all}")
def port_stop(session: Session, ports: int | str) -> None:
    """Stop ports that do not forward."""
    if chosen := chosen_ports(session, ports):
        stop_ports(session, chosen)


@commands.add("port close {ports:port|all}")
def port_close(session: Session, ports: int | str) -> None:
    """Close ports that do not forward; a closed port can only be detached."""
    if chosen := chosen_ports(session, ports):
        close_ports(session, chosen)


@commands.add("port reset {ports:port|all}")
def port_reset(session: Session, ports: int | str) -> None:
    """Reset stopped ports: broken queues are healed, and the next start configures the port anew."""
    chosen = chosen_ports(session, ports)
    if not chosen:
        return
    if any(port.state is State.STARTED for port in chosen):
        warn("Can not reset port(s), please stop port(s) first.")
        return
    print("Resetting ports...")
    for port in chosen:
        try:
            port.reset()
        except PollmodeError as error:
            warn(f"Failed to reset port {port.id}. diag={-error.errno}", error)
            continue
        session.bringup[port].reconfigure = True
    print("Done")


@commands.add("port attach {device:rest}")
def port_attach(session: Session, device: str) -> None:
    """Make a device, given as behind --vdev or -a, a port: net_null2,size=128."""
    print("Attaching a new port...", flush=True)
    try:
        port = session.buses.attach(device)
    except PollmodeError as error:
        warn(f"testpmd: Failed to attach port {device}", error)
        return
    if session.bus.is_around(device.partition(",")[0].removeprefix("vdev:")):
        print(f"It is around port {port.id}, which goes on. Now total ports is {len(session.ports.available())}\nDone")
        return
    session.port_attached(port)
    receive_everything([port])
    print(f"Port {port.id} is attached. Now total ports is {len(session.ports.available())}\nDone")


@commands.add("port detach {port}")
def port_detach(session: Session, port: int) -> None:
    """Take the device of a stopped or closed port away."""
    chosen = one_port(session, port)
    if chosen is None:
        return
    if chosen.state is State.STARTED:
        warn("Port not stopped")
        return
    warn("Port was not closed")
    print("Removing a device...", flush=True)
    if _remove(session, chosen):
        print(f"Device is detached\nNow total ports is {len(session.ports.available())}\nDone")


@commands.add("device detach {device:rest}")
def device_detach(session: Session, device: str) -> None:
    """Take a device away by its name; its port must be stopped."""
    print("Removing a device...", flush=True)
    name = device.partition(",")[0].removeprefix("vdev:")
    if session.bus.is_around(name):
        session.bus.take_off(name)
        print(f"Device {device} is detached\nNow total ports is {len(session.ports.available())}\nDone")
        return
    found = [port for port in session.ports if port.name == name]
    if not found:
        warn(f"testpmd: Failed to detach device {device}(vdev)", "there is no such device")
        return
    if found[0].state is State.STARTED:
        warn(f"Port {found[0].id} not stopped")
        return
    if _remove(session, found[0]):
        print(f"Device {device} is detached\nNow total ports is {len(session.ports.available())}\nDone")


def _remove(session: Session, port: Port) -> bool:
    there = port.state is not State.CLOSED
    session.verbose.leave(port)
    try:
        session.buses.detach(port)
    except PollmodeError as error:
        warn(f"testpmd: Failed to detach device {port.name}", error)
        return False
    if there:
        print(f"Port {port.id} is closed")
    session.port_gone(port)
    return True
