# SPDX-License-Identifier: BSD-3-Clause
"""Offloads of stopped ports: by name, and those of forward mode csum."""

from __future__ import annotations

from pollmode.ethdev import Port, RxOffload, TxOffload
from pollmode.testpmd.commands.chosen import stopped_port
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import explain, warn

__all__ = ["commands"]

commands = Commands("config")

RX_NAMES = "|".join(str(flag.name).lower() for flag in RxOffload)
TX_NAMES = "|".join(str(flag.name).lower() for flag in TxOffload)
CHECKSUMS = {
    "ip": (TxOffload.IPV4_CKSUM, "IP"),
    "udp": (TxOffload.UDP_CKSUM, "UDP"),
    "tcp": (TxOffload.TCP_CKSUM, "TCP"),
    "sctp": (TxOffload.SCTP_CKSUM, "SCTP"),
    "outer-ip": (TxOffload.OUTER_IPV4_CKSUM, "Outer IP"),
    "outer-udp": (TxOffload.OUTER_UDP_CKSUM, "Outer UDP"),
}
SHOWN = {"outer-ip": "Outer-Ip", "outer-udp": "Outer-Udp"}


@commands.add(f"port config {{port}} rx_offload {{offload:{RX_NAMES}}} {{state:on|off}}")
def config_rx_offload(session: Session, port: int, offload: str, state: str) -> None:
    """Switch a receive offload of a stopped port."""
    chosen = _may_change(session, port)
    if chosen is not None:
        setup = session.bringup[chosen]
        setup.rx_offloads = _switched(setup.rx_offloads, RxOffload[offload.upper()], state)
        setup.reconfigure = True


@commands.add(f"port config {{port}} tx_offload {{offload:{TX_NAMES}}} {{state:on|off}}")
def config_tx_offload(session: Session, port: int, offload: str, state: str) -> None:
    """Switch a transmit offload of a stopped port."""
    chosen = _may_change(session, port)
    if chosen is not None:
        setup = session.bringup[chosen]
        setup.tx_offloads = _switched(setup.tx_offloads, TxOffload[offload.upper()], state)
        setup.reconfigure = True


@commands.add(f"port {{port}} rxq {{queue}} rx_offload {{offload:{RX_NAMES}}} {{state:on|off}}")
def config_rx_queue_offload(session: Session, port: int, queue: int, offload: str, state: str) -> None:
    """Switch a receive offload of one queue of a stopped port."""
    _config_queue(session, port, "rx", queue, RxOffload[offload.upper()], state)


@commands.add(f"port {{port}} txq {{queue}} tx_offload {{offload:{TX_NAMES}}} {{state:on|off}}")
def config_tx_queue_offload(session: Session, port: int, queue: int, offload: str, state: str) -> None:
    """Switch a transmit offload of one queue of a stopped port."""
    _config_queue(session, port, "tx", queue, TxOffload[offload.upper()], state)


def _config_queue(session: Session, port: int, way: str, queue: int, offload: int, state: str) -> None:
    chosen = _may_change(session, port)
    if chosen is None:
        return
    setup = session.bringup[chosen]
    queues = setup.rx if way == "rx" else setup.tx
    if queue >= len(queues):
        warn(f"Error: input queue_id should be 0 ... {len(queues) - 1}")
        return
    queues[queue].offloads = _switched(queues[queue].offloads, offload, state)
    setup.reconfigure = True


def _may_change(session: Session, port: int) -> Port | None:
    return stopped_port(session, port, "Error: Can't config offload when Port {} is not stopped")


def _switched(word: int, offload: int, state: str) -> int:
    return int(word | offload) if state == "on" else int(word) & ~int(offload)


@commands.add(f"csum set {{what:{'|'.join(CHECKSUMS)}}} {{where:hw|sw}} {{port}}")
def csum_set(session: Session, what: str, where: str, port: int) -> None:
    """Choose who computes a checksum in forward mode csum: the stopped port or testpmd."""
    chosen = stopped_port(session, port)
    if chosen is None:
        return
    offload, name = CHECKSUMS[what]
    setup = session.bringup[chosen]
    if where == "hw" and not chosen.info().tx_offload_capa & offload:
        warn(f"{name} checksum offload is not supported by port {port}")
    else:
        setup.tx_offloads = _switched(setup.tx_offloads, offload, "on" if where == "hw" else "off")
        setup.reconfigure = True
    _csum_show(session, chosen)


@commands.add("csum show {port}")
def csum_show(session: Session, port: int) -> None:
    """Show who computes checksums in forward mode csum."""
    chosen = stopped_port(session, port)
    if chosen is not None:
        _csum_show(session, chosen)


def _csum_show(session: Session, port: Port) -> None:
    asked, capable = session.bringup[port].tx_offloads, port.info().tx_offload_capa
    print("Parse tunnel is off")
    for what, (offload, name) in CHECKSUMS.items():
        print(f"{SHOWN.get(what, name)} checksum offload is {'hw' if asked & offload else 'sw'}")
    for offload, name in CHECKSUMS.values():
        if asked & offload and not capable & offload:
            told = name.replace("Outer", "outer")
            warn(f"Warning: hardware {told} checksum enabled but not supported by port {port.id}")


@commands.add("tso set {size:u16} {port}")
def tso_set(session: Session, size: int, port: int) -> None:
    """Set the TCP payload of a segment that a port makes in forward mode csum; 0 switches it off."""
    chosen = stopped_port(session, port)
    if chosen is None:
        return
    if size == 0:
        print("TSO for non-tunneled packets is disabled")
        return
    warn(f"Error: TSO is not supported by port {port}")
    if chosen.info().tx_offload_capa & TxOffload.TCP_TSO:
        explain("the port can segment; forward mode csum does not ask for it yet")


@commands.add("tso show {port}")
def tso_show(session: Session, port: int) -> None:
    """Show the segment size of forward mode csum."""
    if stopped_port(session, port) is not None:
        print("TSO for non-tunneled packets is disabled")
