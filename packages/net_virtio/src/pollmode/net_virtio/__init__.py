# SPDX-License-Identifier: BSD-3-Clause
"""Driver for virtio network devices (virtio-user)."""

from .driver import DRIVER

__all__ = ["DRIVER"]
