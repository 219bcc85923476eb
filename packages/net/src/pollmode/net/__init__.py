# SPDX-License-Identifier: BSD-3-Clause
"""Packet headers, addresses as text, checksums, packet types, capture files; one module a format.

Text forms (`mac`, `address`) are plain Python. The header modules declare the wire format once and give accessors for
compiled code, which take the address of the header. A module is imported at first use, so that reading a MAC address
from a command line does not load the compiler.
"""

from importlib import import_module
from types import ModuleType

__all__ = [
    "address",
    "arp",
    "checksum",
    "ethernet",
    "icmp",
    "ipv4",
    "ipv6",
    "mac",
    "pcap",
    "pcapng",
    "ptype",
    "tcp",
    "udp",
    "vlan",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
