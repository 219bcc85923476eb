# SPDX-License-Identifier: BSD-3-Clause
"""Driver of a port that makes and swallows packets."""

from .device import NullDevice, NullOptions

__all__ = ["NullDevice", "NullOptions"]
