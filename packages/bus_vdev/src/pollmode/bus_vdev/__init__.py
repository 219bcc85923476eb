# SPDX-License-Identifier: BSD-3-Clause
"""The virtual device bus: devices named by --vdev."""

from .driver import ProbeContext, VdevDriver

__all__ = ["ProbeContext", "VdevDriver"]
