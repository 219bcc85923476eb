# SPDX-License-Identifier: BSD-3-Clause
"""What hands a PCI device to a program: IOMMU, VFIO and UIO."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pollmode.host_report.finding import Finding, counted, green, yellow
from pollmode.host_report.host import Host
from pollmode.host_report.kernel_modules import driver_there
from pollmode.host_report.mending import kernel_argument, load_module
from pollmode.host_report.pci_devices import NO_IOMMU

__all__ = ["iommu", "uio", "vfio"]

ONLY_PCI = "only PCI devices need it"


def iommu(host: Host) -> Iterator[Finding]:
    """Say whether the kernel can keep a device to the memory it was given."""
    groups = host.names("/sys/kernel/iommu_groups")
    words = [word for word in host.text("/proc/cmdline").split() if word.partition("=")[0].endswith("iommu")]
    asked = f" (kernel command line: {' '.join(words)})" if words else ""
    if groups:
        yield green(f"{counted(len(groups), 'group')}{asked}")
    elif host.virtual:
        yield yellow(f"this virtual machine has none{asked}: {ONLY_PCI}", _without_iommu(host))
    elif words:
        told = f"asked for{asked} and not there: switch VT-d or AMD-Vi on in the firmware"
        yield yellow(told, "sudo systemctl reboot --firmware-setup")
    else:
        intel = host.fields("/proc/cpuinfo").get("vendor_id") == "GenuineIntel"
        wanted = "intel_iommu=on iommu=pt" if intel else "amd_iommu=on iommu=pt"
        yield yellow(f"off: {ONLY_PCI}", kernel_argument(host, wanted))


def _without_iommu(host: Host) -> str:
    """Return the command for no-IOMMU mode: the device then reaches all memory."""
    if host.exists(NO_IOMMU):
        return f"echo 1 | sudo tee {NO_IOMMU}"
    command = load_module(host, "vfio")
    return f"{command} enable_unsafe_noiommu_mode=1" if command.startswith("sudo") else command


def vfio(host: Host) -> Iterator[Finding]:
    """Say whether VFIO is there and which of its groups this process may open."""
    if not driver_there(host, "vfio-pci"):
        yield yellow(f"vfio-pci is not loaded: {ONLY_PCI}", load_module(host, "vfio-pci"))
        return
    unsafe = host.text(NO_IOMMU) in ("Y", "1")
    groups = [name for name in host.names("/dev/vfio") if name != "vfio" and not name.startswith("devices")]
    mode = ", no-IOMMU mode: devices reach all memory" if unsafe else ""
    yield green(f"vfio-pci is loaded, {counted(len(groups), 'group')} bound{mode}")
    for group in groups:
        if not host.may(f"/dev/vfio/{group}", os.R_OK | os.W_OK):
            yield yellow(f"group {group} is not yours to open", f"sudo chown $(id -u) /dev/vfio/{group}")


def uio(host: Host) -> Iterator[Finding]:
    """Say whether UIO, the older way, is there."""
    loaded = [name for name in ("uio_pci_generic", "igb_uio") if driver_there(host, name)]
    devices = [name for name in host.names("/dev") if name.startswith("uio")]
    if loaded:
        yield green(f"{', '.join(loaded)} loaded, devices: {', '.join(devices) or 'none'}")
    elif driver_there(host, "vfio-pci"):
        yield green("not loaded, VFIO is there")
    else:
        yield yellow(f"neither uio_pci_generic nor igb_uio is loaded: {ONLY_PCI}", load_module(host, "uio_pci_generic"))
    for name in devices:
        if not host.may(f"/dev/{name}", os.R_OK | os.W_OK):
            yield yellow(f"/dev/{name} is not yours to open", f"sudo chown $(id -u) /dev/{name}")
