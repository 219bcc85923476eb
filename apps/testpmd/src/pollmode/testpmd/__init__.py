# SPDX-License-Identifier: BSD-3-Clause
"""Forwards, makes and counts packets between ports, as DPDK's testpmd does."""
