# SPDX-License-Identifier: BSD-3-Clause
"""Who has a device of this machine, by which way it can be opened, and if not why."""

from __future__ import annotations

import os
from pathlib import Path

from pollmode.bus_pci.kernel.sysfs import SysfsDevice

__all__ = ["UIO_DRIVERS", "VFIO_DRIVER", "group_of", "held_by", "uio_node", "why_not"]

VFIO_DRIVER = "vfio-pci"
UIO_DRIVERS = ("uio_pci_generic", "igb_uio")
_ROOT = Path("/")


def held_by(device: SysfsDevice) -> str:
    """Return who has a device, for people."""
    interfaces = ", ".join(device.interfaces())
    driver = device.driver or "no driver"
    return f"{driver}, interface {interfaces}" if interfaces else driver


def group_of(device: SysfsDevice, root: Path = _ROOT) -> str:
    """Return the name of a device's VFIO group below /dev/vfio, "" when it has none."""
    number = device.link("iommu_group")
    unsafe = f"noiommu-{number}"
    return unsafe if number and (root / "dev/vfio" / unsafe).exists() else number


def uio_node(device: SysfsDevice, root: Path = _ROOT) -> str:
    """Return the path of a device's /dev/uioN, "" when it has none."""
    folder = device.folder / "uio"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return str(root / "dev" / names[0]) if names else ""


def why_not(device: SysfsDevice, root: Path = _ROOT) -> str:
    """Return why a device cannot be opened and what to do, "" when it can be; `root` is the folder that holds /dev."""
    driver = device.driver
    bind = f"run: sudo pollmode-devbind --bind vfio-pci {device.address}"
    if driver == VFIO_DRIVER:
        group = group_of(device, root)
        return _locked(root / "dev/vfio" / group) if group else "vfio-pci has it and it is in no IOMMU group"
    if driver in UIO_DRIVERS:
        node = uio_node(device, root)
        if not node:
            return f"{driver} has it and made no /dev/uio for it"
        return _locked(Path(node)) or _locked(device.folder / "config", "run as root")
    if not driver:
        return f"no driver has it that hands it to a program; {bind}"
    return f"the kernel's driver {driver} has it; {bind}"


def _locked(path: Path, mend: str = "") -> str:
    if not path.exists():
        return f"{path} is not there"
    if os.access(path, os.R_OK | os.W_OK):
        return ""
    return f"{path} is not yours to open; {mend or f'run: sudo chown $(id -u) {path}'}"
