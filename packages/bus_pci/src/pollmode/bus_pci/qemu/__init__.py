# SPDX-License-Identifier: BSD-3-Clause
"""PCI devices of a stock QEMU whose CPU never runs: somebody else's NIC models, with no guest, no root, no hardware.

Reading order: `specification` (the text of --pci-host), `command` (QEMU's command line), `channel` (words with it),
`bells` (interrupts as eventfds), `bus` (configuration space), `device`, `host`.
"""

from .host import QemuHost
from .specification import QemuNic

__all__ = ["QemuHost", "QemuNic"]
