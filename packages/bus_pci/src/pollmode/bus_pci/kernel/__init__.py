# SPDX-License-Identifier: BSD-3-Clause
"""PCI devices of this machine, through its kernel.

Reading order: `sysfs` (what is there), `host`.
"""

from .host import KernelHost

__all__ = ["KernelHost"]
