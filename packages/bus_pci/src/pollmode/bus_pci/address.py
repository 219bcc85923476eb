# SPDX-License-Identifier: BSD-3-Clause
"""Where a PCI device is, and what it says it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pollmode.eal.errors import ConfigError

__all__ = ["PciAddress", "PciId"]

_FORM = re.compile(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7])")


@dataclass(frozen=True, order=True)
class PciAddress:
    """Domain, bus, device and function of a PCI device; as text "0000:03:00.0"."""

    domain: int
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """Read "0000:03:00.0" or, in domain 0, "03:00.0". Raises ConfigError."""
        found = _FORM.fullmatch(text)
        if found is None or int(found[3], 16) > 0x1F:
            raise ConfigError(f"{text!r} is no PCI address; write domain:bus:device.function, for example 0000:03:00.0")
        return cls(int(found[1] or "0", 16), int(found[2], 16), int(found[3], 16), int(found[4]))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"


@dataclass(frozen=True)
class PciId:
    """What a device says it is; `class_code` has 24 bits: class, subclass, programming interface.

    As text "15ad:07b0".
    """

    vendor: int
    device: int
    subsystem_vendor: int = 0
    subsystem_device: int = 0
    class_code: int = 0

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"
