# SPDX-License-Identifier: BSD-3-Clause
"""What is asked of several devices: refusals, order, ownership of VFIO groups, and advice. Texts begin as DPDK's do."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pollmode.devbind.changing import attach, detach, put_back, undisturbed
from pollmode.devbind.inventory import Entry, Inventory
from pollmode.eal.errors import ConfigError, HostError, PollmodeError, nearest
from pollmode.host_report import Host
from pollmode.host_report.kernel_modules import driver_there
from pollmode.host_report.mending import DEVBIND, load_module
from pollmode.host_report.passthrough import iommu
from pollmode.host_report.pci_devices import (
    NO_IOMMU,
    PCI,
    VFIO,
    driver_of,
    group_file,
    has_iommu,
    holding_group,
)

__all__ = ["Request", "bind", "unbind"]

PCI_DRIVERS = "/sys/bus/pci/drivers"


@dataclass(frozen=True)
class Request:
    """How to bind: -1 leaves a group's owner as it is."""

    force: bool = False
    no_iommu: bool = False
    uid: int = -1
    gid: int = -1


def say(kind: str, text: str) -> None:
    """Print a line on standard error: Notice, Warning and Error are DPDK's, a Hint is ours."""
    print(f"{kind}: {text}", file=sys.stderr)


def unbind(inventory: Inventory, words: Sequence[str], request: Request) -> int:
    """Take devices from their drivers; `dpdk` is all that have a DPDK-compatible one. Return the exit code."""
    if words[0] == "dpdk" and len(words) > 1:
        raise ConfigError(f"'dpdk' stands for all devices of such drivers; say it alone, without {words[1]}")
    if words[0] == "dpdk":
        chosen = [entry for entry in inventory.entries.values() if entry.device.driver in inventory.passthrough]
    else:
        chosen = inventory.chosen(words)
    done = [_unbind_one(inventory.host, entry, request) for entry in chosen]
    return int(not all(done))


def _unbind_one(host: Host, entry: Entry, request: Request) -> bool:
    device = entry.device
    if not device.driver:
        names = ",".join(device.interfaces)
        say("Notice", f"{device.address} {entry.name} {names} is not currently managed by any driver")
    elif entry.active and not request.force:
        say("Warning", f"{_active(entry)} Skipping unbind{_forced(entry)}")
    else:
        try:
            with undisturbed():
                detach(host, device.address, device.driver)
        except HostError as error:
            say("Error", f"unbind failed for {device.address} - {error}")
            return False
    return True


def _active(entry: Entry) -> str:
    return f"routing table indicates that interface {entry.device.address} is active."


def _forced(entry: Entry) -> str:
    return f": routes go over {entry.active}; --force does it all the same"


def bind(inventory: Inventory, words: Sequence[str], driver: str, request: Request) -> int:
    """Bind devices to a driver and return the exit code. Raises ConfigError and HostError before anything changed."""
    host = inventory.host
    _check_driver(inventory, driver)
    chosen = inventory.chosen(words)
    if (request.uid, request.gid) != (-1, -1) and driver != VFIO:
        say("Hint", f"--uid and --gid are for {VFIO}: driver {driver} has no groups to own")
    enabled = driver == VFIO and not has_iommu(host) and _enable_no_iommu(host, request)
    done = [_bind_one(host, entry, driver, request) for entry in chosen]
    if enabled and not any(driver_of(host, entry.device.address) == VFIO for entry in chosen):
        host.put(NO_IOMMU, "N")
    elif driver == VFIO:
        _tell_of_groups(host, chosen, request)
    return int(not all(done))


def _check_driver(inventory: Inventory, driver: str) -> None:
    """Raise ConfigError when the driver is a device, HostError when it is not loaded."""
    if inventory.address(driver):
        question = "Did you forget to specify the driver to bind devices to?"
        way_out = f"pollmode-devbind --bind {(*inventory.passthrough, VFIO)[0]} {driver}"
        raise ConfigError(f"Driver '{driver}' does not look like a valid driver. {question} {way_out}")
    if not driver_there(inventory.host, driver):
        raise HostError(f"Driver '{driver}' is not loaded. Run: {load_module(inventory.host, driver)}")
    drivers = inventory.host.names(PCI_DRIVERS)
    if driver not in drivers:
        raise ConfigError(f"Module '{driver}' is loaded and is no driver of PCI devices{nearest(driver, drivers)}")


def _enable_no_iommu(host: Host, request: Request) -> bool:
    """Let VFIO go without an IOMMU and return whether that was changed now. Raises HostError."""
    if not host.exists(NO_IOMMU):
        gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), NO_IOMMU)
        way_out = f"there is no IOMMU, and this kernel's VFIO needs one: {_get_iommu(host)}"
        raise HostError(f"failed to check unsafe noiommu mode - Cannot open {NO_IOMMU}: {gone}", mend=way_out)
    if host.text(NO_IOMMU)[:1] in ("1", "y", "Y"):
        return False
    if not request.no_iommu:
        told = "IOMMU support is disabled, use --noiommu-mode for binding in noiommu mode"
        raise HostError(told, mend=f"the device then reaches all memory; with an IOMMU it does not: {_get_iommu(host)}")
    try:
        host.put(NO_IOMMU, "1")
    except OSError as error:
        told = f"failed to enable unsafe noiommu mode - Cannot open {NO_IOMMU}: {error}"
        raise HostError(told, mend="run it as root", errno=error.errno) from None
    print("Warning: enabling unsafe no IOMMU mode for VFIO drivers", flush=True)
    return True


def _get_iommu(host: Host) -> str:
    if host.virtual:
        return "give the virtual machine one (QEMU: -device intel-iommu,intremap=on), or bind to uio_pci_generic"
    return next(iter(iommu(host))).mend


def _bind_one(host: Host, entry: Entry, driver: str, request: Request) -> bool:
    device = entry.device
    if entry.active and not request.force:
        say("Warning", f"{_active(entry)} Not modifying{_forced(entry)}")
        return True
    with undisturbed():
        try:
            if device.driver == driver:
                say("Notice", f"{device.address} already bound to driver {driver}, skipping")
            else:
                if device.driver:
                    detach(host, device.address, device.driver)
                attach(host, device.address, driver)
            if driver == VFIO:
                _own_group(host, device.address, request)
        except PollmodeError as error:
            outcome = put_back(host, device.address, device.driver)
            text = f"bind failed for {device.address} - {error}"
            say("Error", f"{text}; {outcome}; {_way_out(entry, driver, error)}")
            return False
    return True


def _way_out(entry: Entry, driver: str, error: PollmodeError) -> str:
    device = entry.device
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{DEVBIND} --bind {driver} {device.address}"
    if error.errno == errno.ENODEV and driver == "uio_pci_generic":
        return f"the device has no legacy interrupt, which {driver} needs: bind it to {VFIO}"
    if error.errno == errno.ENODEV and driver != VFIO:
        others = ", ".join(name for name in (device.driver, *entry.unused) if name and name != driver)
        return f"{driver} may not know {device.ids}: these may do: {others or 'none is loaded'}"
    if error.errno == errno.EINVAL and driver == VFIO and not device.group:
        return "the device is in no IOMMU group: switch the IOMMU on, or bind to uio_pci_generic"
    return "the kernel's reason: dmesg | tail"


def _own_group(host: Host, address: str, request: Request) -> None:
    """Give the file of a device's VFIO group to a user or group of users. Raises HostError."""
    if (request.uid, request.gid) == (-1, -1):
        return
    path = group_file(host, address)
    try:
        os.chown(host.at(path), request.uid, request.gid)
    except OSError as error:
        raise HostError(f"failed to set IOMMU group ownership for {address}: {error}", errno=error.errno) from None


def _tell_of_groups(host: Host, chosen: Sequence[Entry], request: Request) -> None:
    """Say what still keeps programs from opening the groups of the devices that are bound now."""
    bound = [entry.device.address for entry in chosen if driver_of(host, entry.device.address) == VFIO]
    for group in sorted({host.link(f"{PCI}/{address}/iommu_group") for address in bound} - {""}):
        others = [f"{address} ({driver_of(host, address)})" for address in holding_group(host, group)]
        if others:
            told = f"group {group} also holds {', '.join(others)}: VFIO gives it to programs when these are unbound too"
            say("Hint", told)
    user = os.environ.get("SUDO_USER", "root")
    if bound and user != "root" and request.uid == -1:
        say("Hint", f"only root may open {group_file(host, bound[0])}: --uid {user} gives it to {user}")
