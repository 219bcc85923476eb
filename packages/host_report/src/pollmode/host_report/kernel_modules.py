# SPDX-License-Identifier: BSD-3-Clause
"""Kernel modules: which are loaded or built in, and which one drives a device."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pollmode.host_report.host import Host

__all__ = ["PASSTHROUGH", "DeviceModules", "builtin", "driver_there", "passthrough_drivers"]

PASSTHROUGH = ("igb_uio", "vfio-pci", "uio_pci_generic")
"""Drivers that hand a device to a program, in the order in which DPDK's devbind lists them."""
VENDOR_END = len("pci:v00008086")
"""Characters of a device's alias up to the end of its vendor (linux/scripts/mod/file2alias.c)."""


def driver_there(host: Host, driver: str) -> bool:
    """Whether a driver is loaded or built in: its module may bear the name with underscores."""
    name = _module_name(driver)
    return host.module(name) or host.exists(f"/sys/bus/pci/drivers/{driver}") or name in builtin(host)


def passthrough_drivers(host: Host) -> list[str]:
    """Return those of PASSTHROUGH that are there."""
    return [name for name in PASSTHROUGH if driver_there(host, name)]


def builtin(host: Host) -> frozenset[str]:
    """Return the names of the modules that are built into the kernel."""
    paths = host.text(f"{_folder(host)}/modules.builtin").split()
    return frozenset(_module_name(path.rpartition("/")[2].removesuffix(".ko")) for path in paths)


class DeviceModules:
    """The installed modules by the alias of the PCI devices that they drive."""

    def __init__(self, host: Host) -> None:
        lines = host.text(f"{_folder(host)}/modules.alias").splitlines()
        self._loadable = [line.split(maxsplit=2)[1:] for line in lines if line.startswith("alias pci:")]
        words = host.text(f"{_folder(host)}/modules.builtin.modinfo").split("\0")  # "vmxnet3.alias=pci:v000015AD..."
        pairs = [word.partition(".alias=")[::2] for word in words if ".alias=pci:" in word]
        self._builtin = [[pattern, module] for module, pattern in pairs]

    def of(self, modalias: str) -> str:
        """Return the module for the alias in a device's sysfs folder, "" when there is none.

        Of several it is the last one, as DPDK's devbind shows it; what is built in counts where no module fits.
        """
        vendor = modalias[:VENDOR_END]
        for table in (self._loadable, self._builtin):
            found = ""
            for pattern, module in table:
                if pattern.startswith((vendor, "pci:v*")) and fnmatchcase(modalias, pattern):
                    found = module
            if found:
                return found
        return ""


def _folder(host: Host) -> str:
    return f"/lib/modules/{host.system[1]}"


def _module_name(driver: str) -> str:
    return driver.replace("-", "_")
