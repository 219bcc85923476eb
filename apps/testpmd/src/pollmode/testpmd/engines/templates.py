# SPDX-License-Identifier: BSD-3-Clause
"""The headers of generated packets, written once a stream."""

from __future__ import annotations

import ctypes

from pollmode.eal.jit import compiled
from pollmode.net import mac
from pollmode.net.checksum import ipv4_checksum
from pollmode.net.ethernet import ETHERNET_SIZE, TYPE_IPV4, write_ethernet
from pollmode.net.ipv4 import IPV4_SIZE, PROTOCOL_UDP, set_ipv4_checksum_field, write_ipv4
from pollmode.net.udp import write_udp
from pollmode.testpmd.layout import TEMPLATE_SIZE
from pollmode.testpmd.options import Options

__all__ = ["write_template"]

TTL = 64  # IPDEFTTL

# What DPDK's flowgen sends: from 10.254.0.0 port 1000 to 10.253.0.0 and following, port 1001.
FLOWGEN_SOURCE, FLOWGEN_DESTINATION = 0x0AFE0000, 0x0AFD0000
FLOWGEN_PORTS = (1000, 1001)
FLOWGEN_MACS = (bytes.fromhex("000102030400"), bytes.fromhex("000102030401"))


@compiled
def _write(
    frame: int, length: int, to_mac: int, from_mac: int, source: int, destination: int, from_port: int, to_port: int
) -> None:
    ip = frame + ETHERNET_SIZE
    write_ethernet(frame, to_mac, from_mac, TYPE_IPV4)
    write_ipv4(ip, length - ETHERNET_SIZE, PROTOCOL_UDP, TTL, source, destination)
    set_ipv4_checksum_field(ip, ipv4_checksum(ip, IPV4_SIZE))
    write_udp(ip + IPV4_SIZE, from_port, to_port, length - ETHERNET_SIZE - IPV4_SIZE)


def write_template(options: Options, peer: bytes, own: bytes) -> tuple[int, bytes]:
    """Return the address that generated packets vary, and the 64 bytes that each starts with.

    The IPv4 checksum is right for that address; UDP says that it has none, as DPDK's does.
    """
    if options.forward_mode == "flowgen":
        (source, destination), ports = (FLOWGEN_SOURCE, FLOWGEN_DESTINATION), FLOWGEN_PORTS
        own, peer = FLOWGEN_MACS
        varied = destination
    else:
        (source, destination), ports = options.tx_ip, options.tx_udp
        varied = source
    memory = ctypes.create_string_buffer(TEMPLATE_SIZE)
    addresses = (mac.word(peer), mac.word(own), source, destination)
    _write(ctypes.addressof(memory), options.packet_length, *addresses, *ports)
    return varied, memory.raw
