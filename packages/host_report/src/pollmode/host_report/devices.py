# SPDX-License-Identifier: BSD-3-Clause
"""Network devices of this machine, and why each is no port."""

from __future__ import annotations

from collections.abc import Iterator

from pollmode.host_report.finding import Finding, green, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.mending import AS_ROOT
from pollmode.host_report.pci_devices import NET, PciDevice, pci_devices
from pollmode.host_report.pci_ports import pci_findings
from pollmode.host_report.permissions import has_capability

__all__ = ["interfaces", "pci", "why_no_ports"]

INTERFACES = "/sys/class/net"
ETHERNET, LOOPBACK = 1, 772  # linux/if_arp.h
AF_PACKET = "net_af_packet"
SURE_PORT = "testpmd --vdev net_null0 ..."
"""A command that has a port on every machine."""


def _usable(host: Host) -> list[str]:
    """Return the interfaces that packet sockets can serve: Ethernet and loopback, those that are up first."""
    names = [
        name for name in host.names(INTERFACES) if host.number(f"{INTERFACES}/{name}/type") in (ETHERNET, LOOPBACK)
    ]
    return sorted(names, key=lambda name: (not _is_up(host, name), name == "lo", name))


def _is_up(host: Host, name: str) -> bool:
    return bool((host.number(f"{INTERFACES}/{name}/flags") or 0) & 1)  # linux/if.h: IFF_UP


def _instead(host: Host, device: PciDevice) -> str:
    """Return the command that has a port in the place of a device."""
    if device.interfaces and AF_PACKET in host.vdev_drivers():
        return _port_of(host, device.interfaces[0])
    return SURE_PORT


def _port_of(host: Host, interface: str) -> str:
    program = "testpmd" if has_capability(host, "net_raw") else f"sudo {AS_ROOT}"
    return f"{program} --vdev {AF_PACKET}0,iface={interface} ..."


def _pci_findings(host: Host) -> list[Finding]:
    return pci_findings(host, {device.address: _instead(host, device) for device in pci_devices(host, NET)})


def pci(host: Host) -> Iterator[Finding]:
    """Say of each network device on the PCI bus whether it can be a port, and if not why."""
    yield from _pci_findings(host) or [green("no network device on the PCI bus")]


def interfaces(host: Host) -> Iterator[Finding]:
    """Say which of the kernel's interfaces can be ports through net_af_packet."""
    usable = _usable(host)
    told = ", ".join(name if _is_up(host, name) else f"{name} (down)" for name in usable)
    if not usable:
        yield green("none that a packet socket could serve")
    elif AF_PACKET not in host.vdev_drivers():
        yield yellow(f"{told}: not taken, {AF_PACKET} is not installed", SURE_PORT)
    elif not has_capability(host, "net_raw"):
        yield yellow(f"{told}: {AF_PACKET} needs the capability net_raw", _port_of(host, usable[0]))
    else:
        yield green(f"{told}: ports by --vdev {AF_PACKET}0,iface={usable[0]}")


def why_no_ports(host: Host | None = None) -> list[str]:
    """Return what an application without a port tells: of each device why it was not taken, and how to get a port.

    Each text is one line; without `host` it is about this machine.
    """
    there = host or Host()
    lines = [finding.text for finding in _pci_findings(there)]
    lines += [finding.text for finding in interfaces(there)]
    drivers = ", ".join(there.vdev_drivers()) or "none is installed"
    lines += [f"virtual devices are made when --vdev names them: {drivers}"]
    lines += [f"for a port: {SURE_PORT}; the command doctor looks at the whole machine"]
    return lines
