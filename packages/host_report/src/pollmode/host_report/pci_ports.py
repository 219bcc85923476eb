# SPDX-License-Identifier: BSD-3-Clause
"""Network devices on the PCI bus: which are ports, and of each other one why it is none and what makes it one."""

from __future__ import annotations

import os

from pollmode.host_report.finding import Finding, green, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.kernel_modules import PASSTHROUGH, driver_there
from pollmode.host_report.mending import AS_ROOT, DEVBIND, load_module
from pollmode.host_report.pci_devices import (
    NET,
    NO_IOMMU,
    VFIO,
    PciDevice,
    driver_of,
    group_file,
    has_iommu,
    holding_group,
    pci_devices,
)
from pollmode.host_report.permissions import has_capability

__all__ = ["bind_command", "pci_findings"]

UIO = "uio_pci_generic"


def pci_findings(host: Host, instead: dict[str, str]) -> list[Finding]:
    """Return what is to be said of each network device; `instead` is a command with a port in its place, by address."""
    return [_finding(host, device, instead[device.address]) for device in pci_devices(host, NET)]


def _finding(host: Host, device: PciDevice, instead: str) -> Finding:
    driver = host.pci_drivers().get(device.ids)
    if driver is None:
        known = ", ".join(f"{name} ({ids})" for ids, name in sorted(host.pci_drivers().items())) or "none"
        return yellow(f"{device}: not taken, no installed driver knows {device.ids}; the drivers are {known}", instead)
    if device.driver == VFIO:
        return _at_vfio(host, device, driver)
    if device.driver in PASSTHROUGH:
        return _at_uio(host, device, driver)
    holder = f"the kernel's driver {device.driver} has it" if device.driver else "no driver hands it to a program"
    routed = sorted(host.routed_interfaces().intersection(device.interfaces))
    if routed:
        return yellow(f"{device}: not taken, {holder} and routes go over {routed[0]}; {driver} could", instead)
    return yellow(f"{device}: not taken, {holder}; {driver} could", bind_command(host, device.address))


def _at_vfio(host: Host, device: PciDevice, driver: str) -> Finding:
    path = group_file(host, device.address)
    if not path:
        return yellow(f"{device}: not taken, it is in no IOMMU group", f"{DEVBIND} --bind {UIO} {device.address}")
    if others := holding_group(host, device.group):
        told = ", ".join(f"{address} ({driver_of(host, address)})" for address in others)
        return yellow(
            f"{device}: not taken, {told} of its IOMMU group {device.group} must leave the kernel too",
            f"{DEVBIND} --bind {VFIO} {' '.join(others)}",
        )
    if not host.may(path, os.R_OK | os.W_OK):
        return yellow(f"{device}: not taken, {path} is not yours to open", f"sudo chown $(id -u) {path}")
    return _taken(device, driver)


def _at_uio(host: Host, device: PciDevice, driver: str) -> Finding:
    """UIO needs the right to write configuration space and to read physical addresses (proc(5), pagemap)."""
    if not has_capability(host, "sys_admin"):
        run = f"sudo {AS_ROOT} -a {device.address} ..."
        return yellow(f"{device}: not taken, {device.driver} needs root", run)
    return _taken(device, driver)


def _taken(device: PciDevice, driver: str) -> Finding:
    return green(f"{device}: a port of {driver} by -a {device.address}")


def bind_command(host: Host, address: str) -> str:
    """Return the command that binds a device to the best passthrough driver that this machine can have."""
    unsafe = host.text(NO_IOMMU)[:1] in ("1", "y", "Y")
    if has_iommu(host) or host.exists(NO_IOMMU) or not host.virtual:
        option = "" if has_iommu(host) or unsafe else "--noiommu-mode "
        return f"{_load(host, VFIO)}{DEVBIND} --bind {VFIO} {option}{address}"
    return f"{_load(host, UIO)}{DEVBIND} --bind {UIO} {address}"


def _load(host: Host, driver: str) -> str:
    """Return the beginning of a command that loads a driver, "" where it is there."""
    if driver_there(host, driver):
        return ""
    command = load_module(host, driver)
    return f"{command} && " if command.startswith("sudo") else f"{command}; then: "
