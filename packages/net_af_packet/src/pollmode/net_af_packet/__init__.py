# SPDX-License-Identifier: BSD-3-Clause
"""Driver of a port on a Linux network interface."""

from .device import AfPacketDevice, AfPacketOptions
from .sockets import Geometry

__all__ = ["AfPacketDevice", "AfPacketOptions", "Geometry"]
