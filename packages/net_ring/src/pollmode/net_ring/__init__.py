# SPDX-License-Identifier: BSD-3-Clause
"""Driver of a port on rings in memory."""

from .device import RingDevice
from .driver import NodeAction
from .rings import RingSet

__all__ = ["NodeAction", "RingDevice", "RingSet"]
