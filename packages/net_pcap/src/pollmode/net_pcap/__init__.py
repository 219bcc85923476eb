# SPDX-License-Identifier: BSD-3-Clause
"""Driver of a port on capture files."""

from .device import PcapDevice, PcapOptions

__all__ = ["PcapDevice", "PcapOptions"]
