# SPDX-License-Identifier: BSD-3-Clause
"""Micro-benchmarks: rings, pools, mbufs, checksums."""
