# SPDX-License-Identifier: BSD-3-Clause
"""VLANs: which ones a port receives, and what is done with tags. A port that cannot answers with DPDK's words."""

from __future__ import annotations

import errno

from pollmode.eal.errors import PollmodeError
from pollmode.ethdev import Port, RxOffload, TxOffload
from pollmode.testpmd.commands.chosen import one_port, stopped_port
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("config")

VLANS = 4096
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


@commands.add("vlan set {what:strip|filter|qinq_strip|extend} {state:on|off} {port}")
def set_vlan_offload(session: Session, what: str, state: str, port: int) -> None:
    """Switch a VLAN offload of a port, also while it runs."""
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
    try:
        chosen.set_vlan_offload(offload, on)
    except PollmodeError as error:
        way = f"port stop {port}, port config {port} rx_offload {str(offload.name).lower()} {state}, port start {port}"
        warn(f"{failed}-{error.errno}", f"{error}; it can be chosen when the port is configured: {way}")
        return
    session.bringup[chosen].rx_offloads = int(chosen.config.rx_offloads)


@commands.add("rx_vlan {action:add|rm} {vlan:u16} {port}")
def filter_vlan(session: Session, action: str, vlan: int, port: int) -> None:
    """Let a port that filters VLANs receive one, or no more."""
    if (chosen := one_port(session, port)) is not None:
        _filter(chosen, vlan, action == "add")


@commands.add("rx_vlan {action:add|rm} all {port}")
def filter_all_vlans(session: Session, action: str, port: int) -> None:
    """Let a port that filters VLANs receive every one, or none."""
    if (chosen := one_port(session, port)) is not None:
        all(_filter(chosen, vlan, action == "add") for vlan in range(VLANS))


def _filter(port: Port, vlan: int, on: bool) -> bool:
    """Tell whether it was done."""
    if vlan >= VLANS:
        warn(f"Invalid vlan_id {vlan} (must be < {VLANS})")
        return False
    try:
        port.set_vlan_filter(vlan, on)
    except PollmodeError as error:
        disabled = (
            "" if port.config.rx_offloads & RxOffload.VLAN_FILTER else f"Port {port.id}: VLAN-filtering disabled\n"
        )
        done = f"rte_eth_dev_vlan_filter(port_pi={port.id}, vlan_id={vlan}, on={int(on)}) failed diag=-{error.errno}"
        warn(disabled + done, error)
        return False
    return True


@commands.add("tx_vlan set {port} {vlan:u16}")
def insert_vlan(session: Session, port: int, vlan: int) -> None:
    """Let a stopped port insert a VLAN tag into what is sent (no forward mode here asks for a tag)."""
    chosen = stopped_port(session, port)
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
    stopped_port(session, port)
