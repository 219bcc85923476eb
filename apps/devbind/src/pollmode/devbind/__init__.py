# SPDX-License-Identifier: BSD-3-Clause
"""Binds PCI devices to drivers and shows what they are bound to, as dpdk-devbind.py does."""
