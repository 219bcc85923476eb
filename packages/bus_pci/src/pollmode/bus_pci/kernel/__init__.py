# SPDX-License-Identifier: BSD-3-Clause
"""PCI devices of this machine, through its kernel.

Reading order: `sysfs` (what is there), `reasons`, `host`; `registers`, `uio`; `container`, `vfio`, `vfio_interrupts`;
`uevents`.
"""

from .host import KernelHost

__all__ = ["KernelHost"]
