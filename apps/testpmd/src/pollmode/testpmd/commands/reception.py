# SPDX-License-Identifier: BSD-3-Clause
"""What ports receive: modes, addresses, the link. A port that cannot answers with DPDK's words, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from pollmode.eal.errors import PollmodeError, UnsupportedError
from pollmode.ethdev import Port
from pollmode.testpmd.commands.chosen import chosen_ports, one_port
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.report import mac_text
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("config")


@commands.add("set promisc {ports:port|all} {state:on|off}")
def set_promiscuous(session: Session, ports: int | str, state: str) -> None:
    """Let ports receive frames for any address, or not."""
    _switch(session, ports, state, "promiscuous", lambda port, on: port.set_promiscuous(on))


@commands.add("set allmulti {ports:port|all} {state:on|off}")
def set_allmulticast(session: Session, ports: int | str, state: str) -> None:
    """Let ports receive every multicast frame, or not."""
    _switch(session, ports, state, "all-multicast", lambda port, on: port.set_allmulticast(on))


def _switch(session: Session, ports: int | str, state: str, mode: str, switch: Callable[[Port, bool], None]) -> None:
    doing = "enabling" if state == "on" else "disabling"
    if ports != "all" and ports not in {port.id for port in session.ports.available()}:
        warn(f"Error during {doing} {mode} mode for port {ports}: No such device")
        return
    for port in chosen_ports(session, ports):
        try:
            switch(port, state == "on")
        except PollmodeError as error:
            warn(f"Error during {doing} {mode} mode for port {port.id}: {os.strerror(error.errno)}", error)


@commands.add("mac_addr {action:add|remove|set} {port} {mac}")
def change_mac(session: Session, action: str, port: int, mac: bytes) -> None:
    """Add or remove an address that a port receives frames for, or set its own."""
    chosen = next((known for known in session.ports.available() if known.id == port), None)
    if chosen is None:
        warn("mac_addr_cmd error: (No such device)", f"there is no port {port}")
        return
    if action != "set" and chosen.info().max_mac_addrs <= 1 and session.environment.primary is None:
        warn("mac_addr_cmd error: (Operation not supported)", f"driver {chosen.device.driver_name} has one address")
        return
    change = {"add": chosen.add_mac, "remove": chosen.remove_mac, "set": chosen.set_mac}[action]
    try:
        change(mac)
    except PollmodeError as error:
        warn(f"mac_addr_cmd error: ({os.strerror(error.errno)})", error)


@commands.add("mcast_addr {action:add|remove} {port} {mac}")
def change_multicast(session: Session, action: str, port: int, mac: bytes) -> None:
    """Add a multicast address that a port receives frames for, or remove it."""
    chosen = one_port(session, port)
    if chosen is None:
        return
    there = mac in chosen.multicast
    if not mac[0] & 1:
        warn(f"Invalid multicast addr {mac_text(mac)}")
    elif action == "add" and there:
        warn(f"multicast address already filtered by port {port}")
    elif action == "remove" and not there:
        warn(f"multicast address not filtered by port {port}")
    else:
        _filter_multicast(chosen, [*chosen.multicast, mac] if action == "add" else set(chosen.multicast) - {mac})


def _filter_multicast(port: Port, macs: Collection[bytes]) -> None:
    try:
        port.set_multicast(macs)
    except PollmodeError as error:
        way_out = f"; set allmulti {port.id} on receives them all" if isinstance(error, UnsupportedError) else ""
        failed = f"rte_eth_dev_set_mc_addr_list(port={port.id}, nb={len(macs)}) failed. diag=-{error.errno}"
        warn(failed, f"{error}{way_out}")


@commands.add("mcast_addr flush {port}")
def flush_multicast(session: Session, port: int) -> None:
    """Remove all multicast addresses that were added."""
    chosen = one_port(session, port)
    if chosen is not None and chosen.multicast:
        _filter_multicast(chosen, [])


@commands.add("set {way:link-up|link-down} port {port}")
def set_link(session: Session, way: str, port: int) -> None:
    """Take a port's link up or down."""
    up = way == "link-up"
    failed = f"\nSet link {'up' if up else 'down'} fail."
    chosen = next((known for known in session.ports.available() if known.id == port), None)
    if chosen is None:
        warn(failed, f"there is no port {port}")
        return
    try:
        chosen.set_link(up)
    except PollmodeError as error:
        warn(failed, error)
