# SPDX-License-Identifier: BSD-3-Clause
"""Driver for VMware's vmxnet3 network device."""

from .driver import DRIVER

__all__ = ["DRIVER"]
