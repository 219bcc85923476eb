# SPDX-License-Identifier: BSD-3-Clause
"""Reserves, shows and mounts hugepages, as dpdk-hugepages.py does."""
