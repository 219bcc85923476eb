# SPDX-License-Identifier: BSD-3-Clause
"""What ports are: info, summary, addresses, offloads, packet types, devices."""

from __future__ import annotations

from pollmode.ethdev import RxOffload, TxOffload
from pollmode.ethdev.offloads import offload_names
from pollmode.testpmd.commands.chosen import chosen_ports, one_port
from pollmode.testpmd.describe import device_info, port_info, port_summary, port_summary_header
from pollmode.testpmd.prompt.grammar import Commands
from pollmode.testpmd.report import mac_text
from pollmode.testpmd.session import Session
from pollmode.testpmd.tell import warn

__all__ = ["commands"]

commands = Commands("display")

LAYERS = ("L2", "L3", "L4", "Tunnel", "Inner L2", "Inner L3", "Inner L4")


@commands.add("show port info {ports:port|all}")
def show_port_info(session: Session, ports: int | str) -> None:
    """Show what ports are and can do."""
    for port in chosen_ports(session, ports, list_valid=True):
        print(port_info(port))


@commands.add("show port summary {ports:port|all}")
def show_port_summary(session: Session, ports: int | str) -> None:
    """Show ports in a line each."""
    print(port_summary_header(len(session.ports.available())), flush=True)
    for port in chosen_ports(session, ports, list_valid=True):
        print(port_summary(port))


@commands.add("show port {port} macs")
def show_macs(session: Session, port: int) -> None:
    """Show the addresses that a port receives frames for."""
    chosen = one_port(session, port)
    if chosen is not None:
        print(f"Number of MAC address added: {len(chosen.macs)}")
        for mac in chosen.macs:
            print(f"  {mac_text(mac)}")


@commands.add("show port {port} mcast_macs")
def show_multicast_macs(session: Session, port: int) -> None:
    """Show the multicast addresses that were added to a port."""
    chosen = one_port(session, port)
    if chosen is not None:
        print(f"Number of Multicast MAC address added: {len(chosen.multicast)}")
        for mac in chosen.multicast:
            print(f"  {mac_text(mac)}")


@commands.add("show port {port} ptypes")
def show_ptypes(session: Session, port: int) -> None:
    """Show the packet types that a driver finds out (none here does: testpmd parses packets itself)."""
    if one_port(session, port) is not None:
        for layer in LAYERS:
            print(f"{layer} ptypes unsupported")


@commands.add("show port {port} {way:rx_offload|tx_offload} capabilities")
def show_offload_capabilities(session: Session, port: int, way: str) -> None:
    """Show the offloads that a port has, for single queues and for the whole port."""
    chosen = one_port(session, port, "{} info")
    if chosen is None:
        return
    info = chosen.info()
    kind: type[RxOffload] | type[TxOffload] = RxOffload if way == "rx_offload" else TxOffload
    whole = info.rx_offload_capa if way == "rx_offload" else info.tx_offload_capa
    single = info.rx_queue_offload_capa if way == "rx_offload" else info.tx_queue_offload_capa
    print(f"{way[:2].capitalize()} Offloading Capabilities of port {port} :")
    print(f"  Per Queue :{_named(kind, single)}\n  Per Port  :{_named(kind, whole ^ single)}\n")


@commands.add("show port {port} {way:rx_offload|tx_offload} configuration")
def show_offload_configuration(session: Session, port: int, way: str) -> None:
    """Show the offloads that are in use, for the port and queue by queue."""
    chosen = one_port(session, port, "configuration {}")
    if chosen is None:
        return
    setup = session.bringup[chosen]
    kind: type[RxOffload] | type[TxOffload] = RxOffload if way == "rx_offload" else TxOffload
    configured = chosen.config.rx_offloads if way == "rx_offload" else chosen.config.tx_offloads
    queues = setup.rx if way == "rx_offload" else setup.tx
    count = chosen.rx_queues if way == "rx_offload" else chosen.tx_queues
    print(f"{way[:2].capitalize()} Offloading Configuration of port {port} :")
    print(f"  Port :{_named(kind, configured)}")
    for number, queue in enumerate(queues[:count]):
        print(f"  Queue[{number:2}] :{_named(kind, queue.offloads | configured)}")
    print()


def _named(kind: type[RxOffload] | type[TxOffload], word: int) -> str:
    return "".join(f" {name}" for name in offload_names(kind, int(word)))


@commands.add("show device info {device:word}")
def show_device_info(session: Session, device: str) -> None:
    """Show a device by its name, or all devices."""
    name = device.partition(",")[0].removeprefix("vdev:")
    found = [port for port in session.ports.available() if name in ("all", port.name)]
    if not found and name != "all":
        warn("cannot parse identifier", f"there is no device {name}; show device info all lists them")
    for port in found:
        print(device_info(port))
