# SPDX-License-Identifier: BSD-3-Clause
"""Offloads by DPDK's names and bits, and the check of what is asked against what a device can do."""

from __future__ import annotations

from enum import IntFlag

from pollmode.eal.errors import ConfigError

__all__ = ["RxOffload", "TxOffload", "check_offloads", "offload_names"]


class RxOffload(IntFlag):
    """Receive offloads: RTE_ETH_RX_OFFLOAD_<name>."""

    VLAN_STRIP = 1 << 0
    IPV4_CKSUM = 1 << 1
    UDP_CKSUM = 1 << 2
    TCP_CKSUM = 1 << 3
    TCP_LRO = 1 << 4
    QINQ_STRIP = 1 << 5
    OUTER_IPV4_CKSUM = 1 << 6
    MACSEC_STRIP = 1 << 7
    VLAN_FILTER = 1 << 9
    VLAN_EXTEND = 1 << 10
    SCATTER = 1 << 13
    TIMESTAMP = 1 << 14
    SECURITY = 1 << 15
    KEEP_CRC = 1 << 16
    SCTP_CKSUM = 1 << 17
    OUTER_UDP_CKSUM = 1 << 18
    RSS_HASH = 1 << 19
    BUFFER_SPLIT = 1 << 20
    CHECKSUM = IPV4_CKSUM | UDP_CKSUM | TCP_CKSUM
    VLAN = VLAN_STRIP | VLAN_FILTER | VLAN_EXTEND | QINQ_STRIP


class TxOffload(IntFlag):
    """Transmit offloads: RTE_ETH_TX_OFFLOAD_<name>."""

    VLAN_INSERT = 1 << 0
    IPV4_CKSUM = 1 << 1
    UDP_CKSUM = 1 << 2
    TCP_CKSUM = 1 << 3
    SCTP_CKSUM = 1 << 4
    TCP_TSO = 1 << 5
    UDP_TSO = 1 << 6
    OUTER_IPV4_CKSUM = 1 << 7
    QINQ_INSERT = 1 << 8
    VXLAN_TNL_TSO = 1 << 9
    GRE_TNL_TSO = 1 << 10
    IPIP_TNL_TSO = 1 << 11
    GENEVE_TNL_TSO = 1 << 12
    MACSEC_INSERT = 1 << 13
    MT_LOCKFREE = 1 << 14
    MULTI_SEGS = 1 << 15
    MBUF_FAST_FREE = 1 << 16
    SECURITY = 1 << 17
    UDP_TNL_TSO = 1 << 18
    IP_TNL_TSO = 1 << 19
    OUTER_UDP_CKSUM = 1 << 20
    SEND_ON_TIMESTAMP = 1 << 21


def check_offloads(where: str, direction: str, asked: int, capable: int) -> None:
    """Raise ConfigError naming every offload in `asked` that `capable` lacks.

    `direction` is "Rx" or "Tx"; `where` opens the message ("port 0", "port 0 Rx queue 1").
    """
    kind: type[RxOffload] | type[TxOffload] = RxOffload if direction == "Rx" else TxOffload
    missing = int(asked) & ~int(capable)  # inverting an IntFlag would drop the bits it has no name for
    if missing:
        raise ConfigError(
            f"{where}: {_names(kind, missing)} asked for (0x{asked:x}) but not among its {direction} offloads "
            f"0x{capable:x} ({_names(kind, capable) or 'none'}); leave it out"
        )


def offload_names(kind: type[RxOffload] | type[TxOffload], word: int) -> list[str]:
    """Return the names of the offloads in `word` by rising bit, "UNKNOWN" for a bit without one."""
    names = {flag.value: flag.name or "" for flag in kind}
    return [names.get(1 << bit, "UNKNOWN") for bit in range(word.bit_length()) if word >> bit & 1]


def _names(kind: type[RxOffload] | type[TxOffload], word: int) -> str:
    prefix = "RTE_ETH_RX_OFFLOAD_" if kind is RxOffload else "RTE_ETH_TX_OFFLOAD_"
    names = [f"{prefix}{flag.name}" for flag in kind if word & flag]
    unknown = word & ~sum(kind)
    return ", ".join(names + ([f"unknown bits 0x{unknown:x}"] if unknown else []))
