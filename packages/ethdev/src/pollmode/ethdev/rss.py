# SPDX-License-Identifier: BSD-3-Clause
"""Flow types that packets are hashed by, with DPDK's names and bits."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["RssType"]


class RssType(IntFlag):
    """Flow types: RTE_ETH_RSS_<name>; those a driver here knows."""

    IPV4 = 1 << 2
    FRAG_IPV4 = 1 << 3
    NONFRAG_IPV4_TCP = 1 << 4
    NONFRAG_IPV4_UDP = 1 << 5
    NONFRAG_IPV4_SCTP = 1 << 6
    NONFRAG_IPV4_OTHER = 1 << 7
    IPV6 = 1 << 8
    FRAG_IPV6 = 1 << 9
    NONFRAG_IPV6_TCP = 1 << 10
    NONFRAG_IPV6_UDP = 1 << 11
    NONFRAG_IPV6_SCTP = 1 << 12
    NONFRAG_IPV6_OTHER = 1 << 13
    IPV6_EX = 1 << 15
    IPV6_TCP_EX = 1 << 16
    IPV6_UDP_EX = 1 << 17
    ESP = 1 << 27
