# SPDX-License-Identifier: BSD-3-Clause
"""What ports receive: modes, addresses, VLANs, the link. A port that cannot answers with DPDK's words, and why."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Port, RxOffload, State, TxOffload
from pollmode.testpmd.commands.chosen import chosen_ports, one_port
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.report import mac_text
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("config")

VLANS = 4096
NO_VLAN_API = "no driver of this release filters or strips VLAN tags at a port's command"
VLAN_OFFLOADS = {
    "strip": (RxOffload.VLAN_STRIP, 0x1),
    "filter": (RxOffload.VLAN_FILTER, 0x200),
    "qinq_strip": (RxOffload.QINQ_STRIP, 0x20),
    "extend": (RxOffload.VLAN_EXTEND, 0x400),
}
VLAN_FUNCTIONS = {
    "strip": "rx_vlan_strip_set",
    "filter": "rx_vlan_filter_set",
    "qinq_strip": "rx_vlan_qinq_strip_set",
    "extend": "rx_vlan_extend_set",
}


@commands.add("set promisc {ports:port|all} {state:on|off}")
def set_promiscuous(session: Session, ports: int | str, state: str) -> None:
    """Let ports receive frames for any address, or not."""
    _switch(session, ports, state, "promiscuous", Port.set_promiscuous)


@commands.add("set allmulti {ports:port|all} {state:on|off}")
def set_allmulticast(session: Session, ports: int | str, state: str) -> None:
    """Let ports receive every multicast frame, or not."""
    _switch(session, ports, state, "all-multicast", Port.set_allmulticast)


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
    if action != "set" and chosen.info().max_mac_addrs <= 1:
        warn("mac_addr_cmd error: (Operation not supported)", f"driver {chosen.device.driver_name} has one address")
        return
    change = {"add": chosen.add_mac, "remove": chosen.remove_mac, "set": chosen.set_mac}[action]
    try:
        change(mac)
    except PollmodeError as error:
        warn(f"mac_addr_cmd error: ({os.strerror(error.errno)})", error)


@commands.add("mcast_addr {action:add|remove} {port} {mac}")
def change_multicast(session: Session, action: str, port: int, mac: bytes) -> None:
    """Add or remove a multicast address (no driver here has a list of them: set allmulti receives them all)."""
    if one_port(session, port) is None:
        return
    if not mac[0] & 1:
        warn(f"Invalid multicast addr {mac_text(mac)}")
    elif action == "remove":
        warn(f"multicast address not filtered by port {port}")
    else:
        warn(
            f"rte_eth_dev_set_mc_addr_list(port={port}, nb=1) failed. diag=-{errno.EOPNOTSUPP}",
            f"the driver has no list of multicast addresses; set allmulti {port} on receives them all",
        )


@commands.add("mcast_addr flush {port}")
def flush_multicast(session: Session, port: int) -> None:
    """Remove all multicast addresses that were added."""
    one_port(session, port)


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


@commands.add("vlan set {what:strip|filter|qinq_strip|extend} {state:on|off} {port}")
def set_vlan_offload(session: Session, what: str, state: str, port: int) -> None:
    """Switch a VLAN offload of a port while it runs (no driver here can; --enable-hw-vlan asks at the start)."""
    chosen = one_port(session, port)
    if chosen is None:
        return
    on, (offload, bit) = state == "on", VLAN_OFFLOADS[what]
    if bool(chosen.config.rx_offloads & offload) == on:
        return
    capable = int(chosen.info().rx_offload_capa)
    failed = f"{VLAN_FUNCTIONS[what]}(port_pi={port}, on={int(on)}) failed diag="
    if not capable & bit:
        warn(
            f"Ethdev port_id={port} requested new added VLAN offloads {bit:#x} must be within Rx offloads capabilities "
            f"{capable:#x} in rte_eth_dev_set_vlan_offload()\n{failed}-{errno.EINVAL}"
        )
        return
    warn(
        f"{failed}-{errno.EOPNOTSUPP}",
        f"it is chosen when the port is configured: port stop {port}, port config {port} rx_offload "
        f"{str(offload.name).lower()} {state}, port start {port}",
    )


@commands.add("rx_vlan {action:add|rm} {vlan:u16} {port}")
def filter_vlan(session: Session, action: str, vlan: int, port: int) -> None:
    """Let a port receive a VLAN, or no more (no driver here filters VLANs)."""
    if one_port(session, port) is not None:
        _filter(port, vlan, action == "add")


@commands.add("rx_vlan {action:add|rm} all {port}")
def filter_all_vlans(session: Session, action: str, port: int) -> None:
    """Let a port receive every VLAN, or none (no driver here filters VLANs)."""
    if one_port(session, port) is not None:
        _filter(port, 0, action == "add")


def _filter(port: int, vlan: int, on: bool) -> None:
    if vlan >= VLANS:
        warn(f"Invalid vlan_id {vlan} (must be < {VLANS})")
        return
    warn(
        f"Port {port}: VLAN-filtering disabled\n"
        f"rte_eth_dev_vlan_filter(port_pi={port}, vlan_id={vlan}, on={int(on)}) failed diag=-{errno.ENOSYS}",
        NO_VLAN_API,
    )


@commands.add("tx_vlan set {port} {vlan:u16}")
def insert_vlan(session: Session, port: int, vlan: int) -> None:
    """Let a stopped port insert a VLAN tag into what is sent (no forward mode here asks for a tag)."""
    chosen = _stopped(session, port)
    if chosen is None:
        return
    if vlan >= VLANS:
        warn(f"Invalid vlan_id {vlan} (must be < {VLANS})")
    elif not chosen.info().tx_offload_capa & TxOffload.VLAN_INSERT:
        warn(f"Error: vlan insert is not supported by port {port}")
    else:
        warn(f"Error: vlan insert is not supported by port {port}", "forward modes do not ask for a tag yet")


@commands.add("tx_vlan reset {port}")
def insert_no_vlan(session: Session, port: int) -> None:
    """Let a stopped port insert no VLAN tag."""
    _stopped(session, port)


def _stopped(session: Session, port: int) -> Port | None:
    chosen = one_port(session, port)
    if chosen is not None and chosen.state is State.STARTED:
        warn(f"Please stop port {port} first")
        return None
    return chosen
