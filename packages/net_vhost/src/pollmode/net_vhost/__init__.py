# SPDX-License-Identifier: BSD-3-Clause
"""The driver that is the vhost-user back end of a virtio front end: `--vdev net_vhost0,iface=SOCKET`."""

from .driver import DRIVER

__all__ = ["DRIVER"]
