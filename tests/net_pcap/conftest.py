# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of net_pcap's tests."""

from support.vdev_ports import attach, pool, ports

__all__ = ["attach", "pool", "ports"]
