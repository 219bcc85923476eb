# SPDX-License-Identifier: BSD-3-Clause
"""Faults for any port: packets dropped, duplicated, reordered, corrupted and delayed, by chance and repeatably."""

from .device import FaultDevice
from .options import FaultOptions, Rates

__all__ = ["FaultDevice", "FaultOptions", "Rates"]
