# SPDX-License-Identifier: BSD-3-Clause
"""Choosing the host that --pci-host names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pollmode.bus_pci.host import PciHost
from pollmode.bus_pci.kernel import KernelHost
from pollmode.bus_pci.qemu import QemuHost, QemuNic
from pollmode.eal.errors import ConfigError

if TYPE_CHECKING:
    from pollmode.eal.environment import Environment

__all__ = ["choose_host"]


def choose_host(environment: Environment) -> PciHost:
    """Return the host of the command line, the kernel without one. Raises PollmodeError."""
    texts = environment.options.pci_hosts
    if not texts or texts == ("kernel",):
        return KernelHost(environment)
    if "kernel" in texts:
        raise ConfigError("--pci-host: kernel stands alone: devices of the kernel and of QEMU reach memory differently")
    nics = [QemuNic.parse(text.removeprefix("qemu:")) for text in texts]
    return QemuHost(nics, environment.memory)
